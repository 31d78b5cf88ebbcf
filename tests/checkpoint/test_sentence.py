"""The files of sentence-transformers: what is understood, in the forms of all versions, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.checkpoint import resolve, sentence
from compiler.checkpoint.pickled import convert
from compiler.checkpoint.sentence.encoder import FLAGS, MODES
from compiler.errors import CheckpointError
from compiler.pooling import FILE
from compiler.records import Dense, LayerNorm, Normalize, Pooling, Truncate
from tests.sentence import HIDDEN, bert

MEAN = {"embedding_dimension": HIDDEN, "pooling_mode": "mean", "include_prompt": True}
DENSE = {"in_features": HIDDEN, "out_features": 4, "bias": True, "activation_function": "torch.nn.Tanh"}
PLAIN = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}

Written = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("base") / "model")


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def chain(folder: Path, *modules: Written, package: str = "sentence_transformers.models") -> None:
    """modules.json and each module's config.json; Dense and LayerNorm get weights that fit."""
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{package}.Transformer"}]
    for index, (kind, config) in enumerate(modules, start=1):
        place = folder / f"{index}_{kind}"
        place.mkdir(parents=True)
        listed.append({"idx": index, "name": str(index), "path": place.name, "type": f"{package}.{kind}"})
        if config:
            put(place / "config.json", config)
        if kind == "Dense":
            layer = torch.nn.Linear(config["in_features"], config["out_features"], config.get("bias", True))
            save_file(
                {f"linear.{name}": each for name, each in layer.state_dict().items()}, place / "model.safetensors"
            )
        if kind == "LayerNorm":
            width = config["dimension"]
            weights = {"norm.weight": torch.ones(width), "norm.bias": torch.zeros(width)}
            save_file(weights, place / "model.safetensors")
    put(folder / "modules.json", listed)


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        sentence.pooling(folder)
    for word in words:
        assert word in str(caught.value)


def test_a_folder_without_modules_gives_the_mean(tmp_path: Path) -> None:
    assert sentence.pooling(tmp_path) == Pooling(modes=("mean",))
    assert sentence.task_of(tmp_path) is None


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["flags", "name", "list"])
def test_every_pooling_in_every_form(tmp_path: Path, mode: str, form: str) -> None:
    named = {"pooling_mode": mode if form == "name" else [mode]}
    flags = {name: each == mode for name, each in FLAGS.items()}
    width = {"word_embedding_dimension" if form == "flags" else "embedding_dimension": HIDDEN}
    chain(tmp_path, ("Pooling", {**width, **(flags if form == "flags" else named)}), ("Normalize", {}))
    assert sentence.pooling(tmp_path) == Pooling(modes=(mode,), modules=(Normalize(),))  # type: ignore[arg-type]


def test_flags_are_joined_in_the_librarys_order_and_a_list_in_its_own(tmp_path: Path) -> None:
    on = {f"pooling_mode_{name}": True for name in ("lasttoken", "mean_tokens", "max_tokens", "cls_token")}
    chain(tmp_path / "flags", ("Pooling", on))
    assert sentence.pooling(tmp_path / "flags").modes == ("cls", "max", "mean", "lasttoken")
    chain(tmp_path / "list", ("Pooling", {"pooling_mode": ["lasttoken", "cls"]}))
    assert sentence.pooling(tmp_path / "list").modes == ("lasttoken", "cls")


def test_the_flags_names_are_the_librarys() -> None:
    from sentence_transformers.sentence_transformer.modules.pooling import _LEGACY_POOLING_MODE_KWARGS as THEIRS

    assert THEIRS == FLAGS
    assert list(THEIRS.values()) == list(MODES)


@pytest.mark.parametrize(
    "package",
    ["sentence_transformers.models", "sentence_transformers.base.modules.any", "sentence_transformers.x.modules.y"],
)
def test_a_chain_is_read_in_order(tmp_path: Path, package: str) -> None:
    dense = {**DENSE, "activation_function": "torch.nn.modules.activation.GELU"}
    modules = [("Pooling", MEAN), ("Dropout", {"dropout": 0.1}), ("Dense", dense), ("LayerNorm", {"dimension": 4})]
    chain(tmp_path, *modules, ("Normalize", {"module_input_name": "sentence_embedding"}), package=package)
    put(tmp_path / "sentence_bert_config.json", {"max_seq_length": 17, "do_lower_case": False})
    about = {"prompts": {"query": "q: ", "document": None}, "default_prompt_name": "query", "truncate_dim": 3}
    put(tmp_path / "config_sentence_transformers.json", {"__version__": {}, "similarity_fn_name": "dot", **about})
    assert sentence.pooling(tmp_path) == Pooling(
        modes=("mean",),
        modules=(
            Dense(inputs=HIDDEN, outputs=4, bias=True, activation="GELU"),
            LayerNorm(width=4),
            Normalize(),
            Truncate(width=3),
        ),
        max_length=17,
        prompts={"query": "q: ", "document": ""},
        default_prompt="query",
    )


@pytest.mark.parametrize("name", ["roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet"])
def test_the_length_counts_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    put(tmp_path / f"sentence_{name}_config.json", {"max_seq_length": 16, "do_lower_case": False})
    assert sentence.pooling(tmp_path).max_length == 16
    put(tmp_path / "sentence_bert_config.json", {"tokenizer_args": {"model_max_length": 9, "padding_side": "left"}})
    assert sentence.pooling(tmp_path).max_length == 9


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode": "median"}, "median"),
        ({"pooling_mode": ["mean", "mean"]}, "mean, mean"),
        ({"pooling_mode": []}, "none"),
        ({"pooling_mode_mean_tokens": False}, "none"),
        ({"pooling_mode_cls_token": True}, "pooling_mode_mean_tokens"),  # true before 5.4, false since
        ({"pooling_mode": "mean", "pooling_mode_attention": True}, "pooling_mode_attention"),
        ({"pooling_mode": 3}, "pooling_mode"),
    ],
)
def test_other_poolings_are_refused(tmp_path: Path, config: dict[str, Any], named: str) -> None:
    chain(tmp_path, ("Pooling", config))
    refused(tmp_path, named)


@pytest.mark.parametrize(
    "kinds",
    [
        [],
        ["Normalize"],
        ["WordWeights", "Pooling"],
        ["Pooling", "Pooling"],
        ["CNN", "Pooling"],
        ["Pooling", "WeightedLayerPooling"],
        ["SpladePooling"],
        ["Pooling", "Router"],
        ["Pooling", "MultiVectorMask"],
        ["Dense", "Pooling"],
    ],
)
def test_other_modules_are_refused_by_name(tmp_path: Path, kinds: list[str]) -> None:
    chain(tmp_path, *((kind, {"Pooling": MEAN, "Dense": DENSE}.get(kind, {})) for kind in kinds))
    strange = [kind for kind in kinds if kind not in ("Pooling", "Normalize", "Dense")] or kinds or ["Transformer"]
    refused(tmp_path, strange[0])


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        ({"type": "custom_st.Pooling"}, "custom_st"),
        ({"type": "os.system"}, "os.system"),
        ({"path": "../1_Pooling"}, "elsewhere"),
        ({"path": "/tmp"}, "elsewhere"),
        ({"kwargs": ["task"]}, "task"),
        ({"name": "0"}, "one name"),
        ({"when": "always"}, "when"),
        ({"path": 3}, "path"),
        ({"path": ""}, "place"),
    ],
)
def test_entries_that_say_more_are_refused(tmp_path: Path, entry: dict[str, Any], named: str) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    listed = json.loads((tmp_path / "modules.json").read_text())
    listed[1] |= entry
    put(tmp_path / "modules.json", listed)
    refused(tmp_path, named)


def test_a_transformer_in_a_folder_of_its_own_is_refused(tmp_path: Path) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    listed = json.loads((tmp_path / "modules.json").read_text())
    listed[0]["path"] = "0_Transformer"
    put(tmp_path / "modules.json", listed)
    refused(tmp_path, "0_Transformer")


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"transformer_task": "fill-mask"}, "fill-mask"),
        ({"transformer_task": "sequence-classification"}, "sequence-classification"),
        ({"modality_config": {**PLAIN, "message": {"method": "forward"}}}, "message"),
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"activation_function": "torch.nn.modules.activation.Softshrink"}, "Softshrink"),
        ({"activation_function": "os.system"}, "os.system"),
        ({"activation_function": None}, "activation_function"),
        ({"module_input_name": "token_embeddings"}, "token_embeddings"),
        ({"module_output_name": "scores"}, "scores"),
        ({"out_features": 5}, "not the weights"),
        ({"bias": False}, "not the weights"),
        ({"use_residual": True}, "not the weights"),
        ({"scale": 2.0}, "scale"),
    ],
)
def test_dense_layers_are_accounted_for(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    chain(tmp_path, ("Pooling", MEAN), ("Dense", DENSE))
    assert sentence.pooling(tmp_path).modules
    put(tmp_path / "2_Dense" / "config.json", {**DENSE, **change})
    refused(tmp_path, named)


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("1_Pooling/config.json", "1_Pooling"),
        ("2_Dense/config.json", "2_Dense"),
        ("2_Dense/model.safetensors", "weights of Dense"),
        ("3_LayerNorm/config.json", "3_LayerNorm"),
        ("3_LayerNorm/model.safetensors", "weights of LayerNorm"),
        ("modules.json", "1_Pooling/config.json"),
    ],
)
def test_what_was_not_downloaded_is_missed(tmp_path: Path, gone: str, named: str) -> None:
    chain(tmp_path, ("Pooling", MEAN), ("Dense", DENSE), ("LayerNorm", {"dimension": 4}))
    (tmp_path / gone).unlink()
    refused(tmp_path, named)


@pytest.mark.parametrize("name", ["config_sentence_transformers.json", "sentence_xlnet_config.json"])
def test_settings_without_a_list_of_modules_are_refused(tmp_path: Path, name: str) -> None:
    put(tmp_path / name, {})
    refused(tmp_path, "modules.json", name)


@pytest.mark.parametrize("content", [b"", b"[", b"{}", b'[{"type": 1}]', b"\xff", b"[[]]", b"null"])
@pytest.mark.parametrize("name", ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"])
def test_damaged_files_are_errors_of_the_checkpoint(tmp_path: Path, name: str, content: bytes) -> None:
    chain(tmp_path, ("Pooling", MEAN))
    (tmp_path / name).write_bytes(content)
    if content == b"{}" and name != "modules.json":
        assert sentence.pooling(tmp_path) == Pooling()
    else:
        refused(tmp_path, name.rsplit("/", maxsplit=1)[-1])


def test_modules_that_do_not_fit_the_model_are_refused() -> None:
    layer = Dense(inputs=32, outputs=4, bias=True, activation="Tanh")
    sentence.check_width(Pooling(modes=("cls", "mean"), modules=(layer,)), 16, "model")
    with pytest.raises(CheckpointError, match="do not fit"):
        sentence.check_width(Pooling(modules=(layer,)), 16, "model")


def test_weights_are_kept_in_one_file_and_are_finite(tmp_path: Path) -> None:
    chain(tmp_path, ("Pooling", MEAN), ("Dense", DENSE), ("LayerNorm", {"dimension": 4}))
    weights = load_file(tmp_path / "2_Dense" / "model.safetensors")
    half = {name: tensor.to(torch.bfloat16) for name, tensor in weights.items()}
    save_file(half, tmp_path / "2_Dense" / "model.safetensors")
    pooling = sentence.pooling(tmp_path)
    sentence.write_weights(tmp_path, pooling, tmp_path)
    expected = [
        half["linear.weight"].float().numpy().ravel(),
        half["linear.bias"].float().numpy(),
        np.ones(4),
        np.zeros(4),
    ]
    np.testing.assert_array_equal(np.fromfile(tmp_path / FILE, "<f4"), np.concatenate(expected))
    half["linear.bias"][1] = float("nan")
    save_file(half, tmp_path / "2_Dense" / "model.safetensors")
    with pytest.raises(CheckpointError, match="not finite"):
        sentence.write_weights(tmp_path, pooling, tmp_path)


def pickle_weights(folder: Path) -> None:
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def copy(base: Path, folder: Path, *modules: Written) -> Path:
    import shutil

    shutil.copytree(base, folder)
    chain(folder, *modules)
    return folder


def test_pickled_models_keep_their_modules(base: Path, tmp_path: Path) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", {**MEAN, "pooling_mode": "cls"}), ("Dense", DENSE))
    expected = sentence.pooling(folder)
    pickle_weights(folder)
    saved = convert(folder, "model", tmp_path / "saved")
    assert sentence.pooling(saved) == expected
    assert expected.modes == ("cls",)


@pytest.mark.parametrize("whole", [False, True])
def test_pickled_modules_need_leave_and_are_converted(base: Path, tmp_path: Path, whole: bool) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", MEAN), ("Dense", DENSE))
    expected = (folder / "2_Dense" / "model.safetensors").read_bytes()
    pickle_weights(folder / "2_Dense")
    if whole:
        pickle_weights(folder)
    with pytest.raises(CheckpointError, match="only pickle weights") as caught:
        resolve(str(folder), cache=tmp_path / "cache")
    assert "--allow-pickle" in caught.value.action
    for _ in range(2):  # the second time from the cache
        found = resolve(str(folder), allow_pickle=True, cache=tmp_path / "cache")
        assert sentence.pooling(found.folder).modules
        converted = load_file(found.folder / "2_Dense" / "model.safetensors")
        (tmp_path / "expected").write_bytes(expected)
        for name, tensor in load_file(tmp_path / "expected").items():
            assert torch.equal(converted[name], tensor)
    assert (folder / "2_Dense" / "pytorch_model.bin").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", b"cos\nsystem\n(S'true'\ntR."])
def test_a_modules_pickle_that_holds_something_else_is_refused(base: Path, tmp_path: Path, content: bytes) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", MEAN), ("Dense", DENSE))
    (folder / "2_Dense" / "model.safetensors").unlink()
    (folder / "2_Dense" / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match="not the tensors"):
        resolve(str(folder), allow_pickle=True, cache=tmp_path / "cache")


def test_a_module_counts_for_the_checkpoints_digest(base: Path, tmp_path: Path) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", MEAN), ("Dense", DENSE))
    before = resolve(str(folder), cache=tmp_path / "cache").source.digest
    weights = load_file(folder / "2_Dense" / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / "2_Dense" / "model.safetensors")
    assert resolve(str(folder), cache=tmp_path / "cache").source.digest != before


@pytest.mark.parametrize("allow_pickle", [False, True])
def test_the_hub_is_asked_for_the_modules_too(
    allow_pickle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import filter_repo_objects

    from compiler.checkpoint.resolve import hub

    names = ["1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "modules.json"]
    names += ["config_sentence_transformers.json", "sentence_bert_config.json"]
    names += ["2_Dense/pytorch_model.bin"] if allow_pickle else []
    fetched: list[str] = []

    def snapshot(_: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        fetched.extend(
            filter_repo_objects([*names, "2_Dense/pytorch_model.bin", "run.py"], allow_patterns=allow_patterns)
        )
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    hub("some-one/some-model", None, allow_pickle=allow_pickle)
    assert set(fetched) == set(names)


Config = dict[str, Any]
IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


def ranker(folder: Path, **about: Any) -> None:
    put(folder / "modules.json", [{"path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}])
    text = {"text": {"method": "forward", "method_output_name": "logits"}}
    task = {"transformer_task": "sequence-classification", "module_output_name": "scores"}
    put(folder / "sentence_bert_config.json", {**task, "modality_config": text})
    put(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", **about})


@pytest.mark.parametrize(
    ("labels", "declared", "config", "expected"),
    [
        (1, SIGMOID, {}, "sigmoid"),
        (1, IDENTITY, {}, "none"),
        (1, None, {}, "sigmoid"),
        (1, None, {"sbert_ce_default_activation_function": IDENTITY}, "none"),
        (1, SIGMOID, {"sentence_transformers": {"activation_fn": IDENTITY}}, "sigmoid"),
        (3, IDENTITY, {}, None),
        (3, None, {}, None),
        (3, SIGMOID, {}, "sigmoid"),
    ],
)
def test_a_rankers_activation(
    tmp_path: Path, labels: int, declared: str | None, config: Config, expected: str | None
) -> None:
    ranker(tmp_path, activation_fn=declared)
    names = {str(index): f"LABEL_{index}" for index in range(labels)}
    assert sentence.task_of(tmp_path) == "text-classification"
    assert sentence.activation(tmp_path, {**config, "id2label": names}) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, None),
        ({"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.0.1"}}, "none"),
        ({"sbert_ce_default_activation_function": SIGMOID}, "sigmoid"),
    ],
)
def test_an_activation_before_modules(tmp_path: Path, config: Config, expected: str | None) -> None:
    assert sentence.activation(tmp_path, {**config, "id2label": {"0": "LABEL_0"}}) == expected


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"activation_fn": "torch.nn.modules.activation.Tanh"}, "Tanh"),
        ({"activation_fn": "somewhere.Sigmoid"}, "somewhere"),
        ({"prompts": {"query": "q: "}, "default_prompt_name": "query"}, "q: "),
    ],
)
def test_a_ranker_that_does_more_is_refused(tmp_path: Path, change: Config, named: str) -> None:
    ranker(tmp_path, **change)
    with pytest.raises(CheckpointError) as caught:
        sentence.activation(tmp_path, {"id2label": {"0": "LABEL_0"}})
    assert named in str(caught.value)


def test_a_ranker_of_several_modules_is_refused(tmp_path: Path) -> None:
    ranker(tmp_path)
    listed = json.loads((tmp_path / "modules.json").read_text())
    put(tmp_path / "modules.json", [*listed, {"path": "1_L", "type": "sentence_transformers.x.LogitScore"}])
    with pytest.raises(CheckpointError, match="these modules"):
        sentence.activation(tmp_path, {})


@pytest.mark.parametrize("kind", ["SparseEncoder", "MultiVectorEncoder", "Something"])
def test_what_no_task_is_made_of_is_refused_by_name(base: Path, tmp_path: Path, kind: str) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", MEAN))
    put(folder / "config_sentence_transformers.json", {"model_type": kind})
    with pytest.raises(CheckpointError, match=kind):
        resolve(str(folder), cache=tmp_path / "cache")


def test_resolving_refuses_before_anything_is_exported(base: Path, tmp_path: Path) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", MEAN), ("LSTM", {}))
    for _ in range(2):
        with pytest.raises(CheckpointError, match="LSTM"):
            resolve(str(folder), cache=tmp_path / "cache")


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
