"""The settings of sentence-transformers beside its modules: used, harmless, or refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import sentence
from compiler.errors import CheckpointError
from compiler.records import Pooling
from tests.checkpoint.modules import MEAN, PLAIN, chain, put
from tests.sentence import bert

CHAT = {
    "modality_config": {**PLAIN, "message": {**PLAIN["text"], "format": "flat"}},
    "module_output_name": "token_embeddings",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("base") / "model")


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        sentence.pooling(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("name", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_the_length_counts_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / f"sentence_{name}_config.json", {"max_seq_length": 16, "do_lower_case": False})
    assert sentence.pooling(tmp_path).max_length == 16
    put(tmp_path / "sentence_bert_config.json", {"tokenizer_args": {"model_max_length": 9, "padding_side": "left"}})
    assert sentence.pooling(tmp_path).max_length == 9


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"transformer_task": "fill-mask"}, "fill-mask"),
        ({"transformer_task": "sequence-classification"}, "sequence-classification"),
        ({"modality_config": {**PLAIN, "message": {"method": "forward"}}}, "message"),
        ({**CHAT, "modality_config": {**PLAIN, "message": {**PLAIN["text"], "format": "auto"}}}, "auto"),
        (CHAT, "no chat template"),
        ({**CHAT, "processing_kwargs": {"chat_template": {"tools": []}}}, "tools"),
        ({**CHAT, "processing_kwargs": {"chat_template": {"add_generation_prompt": 1}}}, "add_generation_prompt"),
        ({**CHAT, "processing_kwargs": {"text": {"padding": "max_length"}}}, "max_length"),
        ({"modality_config": {"text": {**PLAIN["text"], "method_output_name": "pooler_output"}}}, "pooler_output"),
        ({"modality_config": PLAIN, "module_output_name": "sentence_embedding"}, "sentence_embedding"),
        ({"modality_config": {"image": PLAIN["text"]}}, "image"),
        ({"processing_kwargs": {"text": {"padding": "max_length"}}}, "max_length"),
        ({"query_length": 32}, "query_length"),
        ({"query_expansion": {"strategy": "fixed", "length": 32}}, "query_expansion"),
        ({"model_args": {"is_causal": False}}, "is_causal"),
        ({"tokenizer_args": {"truncation_side": "left"}}, "truncation_side"),
        ({"config_kwargs": {"num_hidden_layers": 2}}, "num_hidden_layers"),
        ({"max_seq_length": 0}, "max_seq_length"),
        ({"max_seq_length": "12"}, "max_seq_length"),
        ({"tokenizer_args": {"model_max_length": True}}, "max_seq_length"),
        ({"tokenizer_name_or_path": "other/model"}, "other/model"),
        ({"query_prefix": "q: "}, "query_prefix"),
    ],
)
def test_settings_that_change_answers_are_refused_by_name(tmp_path: Path, settings: Any, named: str) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / "sentence_bert_config.json", settings)
    refused(tmp_path, named)


def test_settings_that_change_no_answer_are_let_pass(tmp_path: Path) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    harmless = {"model_args": {"trust_remote_code": True, "torch_dtype": "bfloat16"}, "unpad_inputs": True}
    modalities = {"modality_config": {**PLAIN, "image": {}}, "module_output_name": "token_embeddings"}
    put(tmp_path / "sentence_bert_config.json", {**harmless, **modalities, "query_length": None})
    assert sentence.pooling(tmp_path) == Pooling()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"default_prompt_name": "missing", "prompts": {"q": "q: "}}, "missing"),
        ({"prompts": ["q: "]}, "prompts"),
        ({"prompts": {"q": 3}}, "prompts"),
        ({"truncate_dim": 0}, "truncate_dim"),
        ({"activation_fn": "torch.nn.Tanh"}, "activation_fn"),
        ({"model_type": "SparseEncoder"}, "SparseEncoder"),
        ({"model_type": "CrossEncoder"}, "CrossEncoder"),
        ({"pooling": "max"}, "pooling"),
    ],
)
def test_settings_of_the_model_are_refused_by_name(tmp_path: Path, settings: Any, named: str) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / "config_sentence_transformers.json", settings)
    refused(tmp_path, named)


def test_a_default_prompt_of_the_librarys_own_is_empty(tmp_path: Path) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / "config_sentence_transformers.json", {"default_prompt_name": "query"})
    found = sentence.pooling(tmp_path)
    assert (found.default_prompt, found.prompts.get("query", "")) == ("query", "")


@pytest.mark.parametrize("lower", [False, True])
def test_a_tokenizer_writes_small_letters_but_for_special_tokens(base: Path, tmp_path: Path, lower: bool) -> None:
    from transformers import AutoTokenizer

    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / "sentence_bert_config.json", {"do_lower_case": lower, "max_seq_length": 7})
    tokenizer = AutoTokenizer.from_pretrained(base)
    sentence.fit_tokenizer(tokenizer, tmp_path)
    assert tokenizer.model_max_length == 7
    first, last = ("a", "c") if lower else ("A", "C")
    assert tokenizer.tokenize("Ab <unk> C") == [first, "b", "Ġ", "<unk>", "Ġ", last]
