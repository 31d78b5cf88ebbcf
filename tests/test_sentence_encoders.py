"""Sentence encoders as sentence-transformers saves them, beside what the library itself answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling
from transformers import AutoTokenizer

import compiler
from compiler import bundle, pipeline
from compiler.checkpoint import sentence
from compiler.checkpoint.sentence.encoder import FLAGS
from compiler.checkpoint.sentence.read import Reader
from compiler.checkpoint.sentence.reference import Pooler
from compiler.runtime.tokenized import Tokenized
from tests.sentence import HIDDEN, TEXTS, bert, llama

LEAST = 0.99999  # cosine

Bases = dict[str, tuple[Path, Path]]


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Checkpoints without modules, and what they are compiled to."""
    root = tmp_path_factory.mktemp("bases")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRANSFORMER_COMPILER_CACHE", str(root / "cache"))
        for name, make in (("bert", bert), ("llama", llama)):
            folder = make(root / name)
            pipeline.build(str(folder), out=root / f"{name}-bundle", precision="float32", bench=False)
            made[name] = (folder, root / f"{name}-bundle")
    return made


def saved(base: Path, folder: Path, *modules: Any, text: Any = None, **settings: Any) -> Path:
    """What the library writes for these modules behind a model."""
    made = SentenceTransformer(modules=[Transformer(str(base), **(text or {})), *modules], device="cpu", **settings)
    made.save_pretrained(str(folder), create_model_card=False)
    return folder


def before_5_4(folder: Path, **text: Any) -> None:
    """Turn what the library writes today into what its version 3 wrote."""
    listed = json.loads((folder / "modules.json").read_text())
    for entry in listed:
        kind = entry["type"].split(".")[-1]
        entry["type"] = f"sentence_transformers.models.{kind}"
        path = folder / entry["path"] / "config.json"
        config = json.loads(path.read_text()) if path.exists() else {}
        if kind == "Pooling":
            mode = config["pooling_mode"]
            modes = [mode] if isinstance(mode, str) else mode
            flags = {name: each in modes for name, each in FLAGS.items()}
            width = {"word_embedding_dimension": config["embedding_dimension"]}
            path.write_text(json.dumps({**width, **flags, "include_prompt": config["include_prompt"]}))
        if kind == "Dense":
            kept = ("in_features", "out_features", "bias", "activation_function")
            path.write_text(json.dumps({name: config[name] for name in kept}))
        if kind == "Normalize":
            shutil.rmtree(folder / entry["path"])
    (folder / "modules.json").write_text(json.dumps(listed))
    (folder / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 64, "do_lower_case": False, **text})
    )


def compiled(base: Path, folder: Path, out: Path) -> Path:
    """The base's bundle with the modules of `folder`, which costs no export."""
    shutil.copytree(base, out)
    pooling = sentence.pooling(folder)
    sentence.write_weights(folder, pooling, out)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    sentence.fit_tokenizer(tokenizer, folder)
    tokenizer.save_pretrained(out)
    bundle.seal(out, msgspec.structs.replace(bundle.read(out), pooling=pooling))
    return out


def least_cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    lengths = np.linalg.norm(ours, axis=-1) * np.linalg.norm(theirs, axis=-1)
    return float(((ours * theirs).sum(axis=-1) / lengths).min())


def agrees(base: Path, folder: Path, out: Path, **arguments: Any) -> None:
    """Ours, the library's, and our reference's vectors of the same texts; lengths count too."""
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, **arguments)
    with compiler.load(compiled(base, folder, out)) as model:
        ours = model.embed(TEXTS, **arguments)
        assert ours.dtype == np.float32
        assert least_cosine(ours, theirs) >= LEAST
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
        if model.manifest.pooling and not model.manifest.pooling.prompts.get(
            model.manifest.pooling.default_prompt or ""
        ):
            np.testing.assert_allclose(referred(model, folder), theirs, rtol=1e-3, atol=1e-5)


def referred(model: compiler.Model, folder: Path) -> np.ndarray:
    """What the check's reference makes of the engine's token vectors, text by text."""
    pooler, rows = Pooler(folder, torch.float32), []
    for encoding in model._text.encode(TEXTS):
        tokens = np.array([encoding.ids], np.int64)
        known = {"input_ids": tokens, "attention_mask": np.ones_like(tokens), "token_type_ids": np.zeros_like(tokens)}
        states = model.run({tensor.name: known[tensor.name] for tensor in model.manifest.inputs})["last_hidden_state"]
        rows.append(pooler(states, np.ones_like(tokens)))
    return np.concatenate(rows)


def norm(width: int) -> LayerNorm:
    made = LayerNorm(width)
    torch.nn.init.normal_(made.norm.weight)
    torch.nn.init.normal_(made.norm.bias)
    return made


def dense(width: int, outputs: int, activation: str, **settings: Any) -> Dense:
    return Dense(width, outputs, activation_function=getattr(torch.nn, activation)(), **settings)


CHAINS: dict[str, Callable[[], list[Any]]] = {
    "mean": lambda: [Pooling(HIDDEN, "mean"), Normalize()],
    "cls": lambda: [Pooling(HIDDEN, "cls"), dense(HIDDEN, 8, "Tanh"), Normalize()],
    "max": lambda: [Pooling(HIDDEN, "max"), norm(HIDDEN)],
    "lasttoken": lambda: [Pooling(HIDDEN, "lasttoken"), dense(HIDDEN, 8, "GELU", bias=False)],
    "weightedmean": lambda: [Pooling(HIDDEN, "weightedmean"), dense(HIDDEN, 40, "ReLU"), dense(40, 4, "Identity")],
    "root": lambda: [Pooling(HIDDEN, "mean_sqrt_len_tokens"), Dropout(0.5), norm(HIDDEN), dense(HIDDEN, 6, "Sigmoid")],
    "several": lambda: [Pooling(HIDDEN, ("cls", "max", "mean")), Normalize(), dense(3 * HIDDEN, 5, "SiLU")],
}


@pytest.mark.parametrize("model", ["bert", "llama"])
@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_is_the_librarys(name: str, model: str, bases: Bases, tmp_path: Path) -> None:
    torch.manual_seed(2)
    checkpoint, base = bases[model]
    folder = saved(checkpoint, tmp_path / "model", *CHAINS[name]())
    agrees(base, folder, tmp_path / "now")
    before_5_4(folder)
    agrees(base, folder, tmp_path / "before")


@pytest.mark.parametrize("model", ["bert", "llama"])
@pytest.mark.parametrize("mode", ["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"])
@pytest.mark.parametrize("include", [True, False])
def test_prompts_count_as_the_checkpoint_says(
    mode: str, include: bool, model: str, bases: Bases, tmp_path: Path
) -> None:
    checkpoint, base = bases[model]
    prompts = {"query": "Query: ", "passage": "a passage:", "none": ""}
    pooling = Pooling(HIDDEN, mode, include_prompt=include)  # type: ignore[arg-type]
    folder = saved(checkpoint, tmp_path / "model", pooling, prompts=prompts, default_prompt_name="query")
    agrees(base, folder, tmp_path / "default")
    for index, arguments in enumerate(({"prompt_name": "passage"}, {"prompt_name": "none"}, {"prompt": "Any text."})):
        agrees(base, folder, tmp_path / str(index), **arguments)


@pytest.mark.parametrize("named", [True, False])
def test_a_prompt_that_ends_with_a_special_token(named: bool, bases: Bases, tmp_path: Path) -> None:
    """The library leaves one that is named out of the prompt, so that it counts as text; another one it does not."""
    checkpoint, base = bases["llama"]
    changed = Path(shutil.copytree(checkpoint, tmp_path / "changed"))
    tokenizer = json.loads((changed / "tokenizer.json").read_text())
    entry = {**tokenizer["added_tokens"][0], "id": tokenizer["model"]["vocab"]["Z"], "content": "Z", "special": True}
    tokenizer["added_tokens"].append(entry)
    (changed / "tokenizer.json").write_text(json.dumps(tokenizer))
    if named:
        settings = json.loads((changed / "tokenizer_config.json").read_text())
        (changed / "tokenizer_config.json").write_text(json.dumps({**settings, "extra_special_tokens": ["Z"]}))
    pooling = Pooling(HIDDEN, "mean", include_prompt=False)
    folder = saved(changed, tmp_path / "model", pooling, prompts={"query": "ask Z"}, default_prompt_name="query")
    agrees(base, folder, tmp_path / "out")


def test_small_letters_and_length(bases: Bases, tmp_path: Path) -> None:
    checkpoint, base = bases["bert"]
    folder = saved(checkpoint, tmp_path / "model", Pooling(HIDDEN, "mean"))
    before_5_4(folder, do_lower_case=True, max_seq_length=20)
    agrees(base, folder, tmp_path / "before")
    now = saved(
        checkpoint, tmp_path / "now", Pooling(HIDDEN, "mean"), text={"do_lower_case": True, "max_seq_length": 9}
    )
    agrees(base, now, tmp_path / "out")


FLAT = """{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}{% if task == 'query' %}?{% endif -%}
{% if add_generation_prompt %}<s>{{ mood | default('calm') }}:{% endif %}"""
PARTS = """{% for m in messages %}{{ m.role }}{% for part in m.content %}{% if part.type == 'text' %} {{ part.text }}
{% endif %}{% endfor %}{% endfor %}{{ bos_token }}"""
CHATS: dict[str, tuple[str, dict[str, Any]]] = {
    "flat": (FLAT, {}),
    "the answer's turn": (FLAT, {"chat_template": {"add_generation_prompt": True, "mood": "wild"}}),
    "cut ends": (FLAT, {"chat_template": {"restore_suffix": False}}),
    "structured": (PARTS, {}),
}


@pytest.mark.parametrize("name", CHATS)
def test_texts_in_a_chat_template(name: str, bases: Bases, tmp_path: Path) -> None:
    template, settings = CHATS[name]
    checkpoint, base = bases["llama"]
    chat = shutil.copytree(checkpoint, tmp_path / "chat")
    (chat / "chat_template.jinja").write_text(template)
    text = {"max_seq_length": 40, "do_lower_case": name == "flat", "processing_kwargs": settings or None}
    prompts = {"prompts": {"query": "Look for: ", "other": "Of it: "}, "default_prompt_name": "other"}
    modules = [Pooling(HIDDEN, ("mean", "lasttoken"), include_prompt=False), Normalize()]
    folder = saved(chat, tmp_path / "model", *modules, text=text, **prompts)
    theirs = SentenceTransformer(str(folder), device="cpu")
    with compiler.load(compiled(base, folder, tmp_path / "out")) as model:
        assert least_cosine(model.embed(TEXTS), theirs.encode(TEXTS)) >= LEAST
        assert least_cosine(model.embed(TEXTS, prompt=""), theirs.encode(TEXTS, prompt="")) >= LEAST
        assert least_cosine(model.embed_query(TEXTS), theirs.encode_query(TEXTS)) >= LEAST
        assert least_cosine(model.embed_document(TEXTS), theirs.encode_document(TEXTS)) >= LEAST
        tokenizer = AutoTokenizer.from_pretrained(folder)
        reader, ours = Reader(folder, tokenizer), Tokenized(model._files, model.manifest).rows(TEXTS)
        expected = [theirs.preprocess([text])["input_ids"][0].tolist() for text in TEXTS]
        assert [reader.ids(text, reader.length) for text in TEXTS] == [ids for ids, _ in ours] == expected
        assert reader.length == 40 == max(map(len, expected)) > min(map(len, expected))


PROMPTS: list[dict[str, Any]] = [
    {"prompts": {"query": "find: ", "document": "text: ", "passage": "p: "}, "default_prompt_name": "passage"},
    {"prompts": {"passage": "p: ", "corpus": "c: "}, "default_prompt_name": "corpus"},
    {},
]


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize("settings", PROMPTS, ids=["all", "others", "none"])
def test_queries_and_documents(settings: dict[str, Any], include: bool, bases: Bases, tmp_path: Path) -> None:
    for kind, modes in (("bert", ("mean", "cls", "lasttoken")), ("llama", ("weightedmean", "max"))):
        checkpoint, base = bases[kind]
        modules = [Pooling(HIDDEN, modes, include_prompt=include), Normalize()]
        folder = saved(checkpoint, tmp_path / kind, *modules, **settings)
        theirs = SentenceTransformer(str(folder), device="cpu")
        with compiler.load(compiled(base, folder, tmp_path / f"{kind}-out")) as model:
            assert least_cosine(model.embed_query(TEXTS), theirs.encode_query(TEXTS)) >= LEAST
            assert least_cosine(model.embed_document(TEXTS), theirs.encode_document(TEXTS)) >= LEAST
            assert least_cosine(model.embed(TEXTS), theirs.encode(TEXTS)) >= LEAST
            for name in ("query", "document", *settings.get("prompts", {})):
                assert (
                    least_cosine(model.embed(TEXTS, prompt_name=name), theirs.encode(TEXTS, prompt_name=name)) >= LEAST
                )
            assert least_cosine(model.embed(TEXTS, prompt="Of it: "), theirs.encode(TEXTS, prompt="Of it: ")) >= LEAST
            if "query" in settings.get("prompts", {}):
                assert least_cosine(model.embed_query(TEXTS), model.embed_document(TEXTS)) < LEAST


def test_some_of_the_numbers(bases: Bases, tmp_path: Path) -> None:
    checkpoint, base = bases["bert"]
    folder = saved(checkpoint, tmp_path / "model", Pooling(HIDDEN, "mean"), Normalize(), truncate_dim=5)
    agrees(base, folder, tmp_path / "out")


@pytest.mark.parametrize("outputs", [HIDDEN, 8])
def test_residuals(outputs: int, bases: Bases, tmp_path: Path) -> None:
    checkpoint, base = bases["bert"]
    residual = dense(HIDDEN, outputs, "Tanh", use_residual=True)
    agrees(base, saved(checkpoint, tmp_path / "model", Pooling(HIDDEN, "mean"), residual), tmp_path / "out")


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("own_cache")
def test_a_build_keeps_all_of_it(bases: Bases, tmp_path: Path) -> None:
    """From the folder that the library wrote to a bundle that is loaded: modules, prompts, letters, length, pickles."""
    torch.manual_seed(3)
    modules = [Pooling(HIDDEN, "cls"), dense(HIDDEN, 8, "Tanh"), norm(8), Normalize()]
    folder = saved(bases["bert"][0], tmp_path / "model", *modules, prompts={"q": "Q: "}, default_prompt_name="q")
    before_5_4(folder, do_lower_case=True, max_seq_length=20)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    weights = folder / "2_Dense" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    pipeline.build(str(folder), out=tmp_path / "out", allow_pickle=True, precision="float32", bench=False)
    with compiler.load(tmp_path / "out") as model:
        assert model.certificate.verdict == "pass"
        np.testing.assert_allclose(model.embed(TEXTS), theirs, rtol=1e-3, atol=1e-5)
        assert least_cosine(model.embed(TEXTS[0]), theirs[0]) >= LEAST
