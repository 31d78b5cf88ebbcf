"""Files of a sentence encoder that are missing, damaged, pickled, or still on the hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from compiler.checkpoint import resolve, sentence
from compiler.checkpoint.pickled import convert
from compiler.errors import CheckpointError
from compiler.pooling import FILE
from compiler.records import Dense, Pooling
from tests.checkpoint.modules import DENSE, MEAN, chain, copy, pickle_weights, put
from tests.sentence import bert


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bert(tmp_path_factory.mktemp("base") / "model")


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        sentence.pooling(folder)
    for word in words:
        assert word in str(caught.value)


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


def test_pickled_models_keep_their_modules(base: Path, tmp_path: Path) -> None:
    folder = copy(base, tmp_path / "model", ("Pooling", {**MEAN, "pooling_mode": "cls"}), ("Dense", DENSE))
    expected = sentence.pooling(folder)
    pickle_weights(folder)
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools }}")
    saved = convert(folder, "model", tmp_path / "saved")
    assert (saved / "additional_chat_templates" / "tool_use.jinja").read_text() == "{{ tools }}"
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
    with pytest.raises(CheckpointError, match=r"not a pickle that torch\.save wrote") as caught:
        resolve(str(folder), allow_pickle=True, cache=tmp_path / "cache")
    assert caught.value.subject.startswith(str(folder))


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

    from compiler.checkpoint.hub import hub

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
