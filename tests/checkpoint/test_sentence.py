"""The modules of sentence-transformers: what is understood, in all forms, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import sentence
from compiler.checkpoint.sentence.encoder import FLAGS, MODES
from compiler.errors import CheckpointError
from compiler.records import Dense, LayerNorm, Normalize, Pooling, Truncate
from tests.checkpoint.modules import DENSE, MEAN, chain, put
from tests.sentence import HIDDEN


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
        ({"path": ".1_Pooling"}, "elsewhere"),  # digests leave hidden files out
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
