"""Bundles name their checkpoint, and where it lies is remembered on the machine that built them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from compiler.checkpoint.adapter import find
from compiler.checkpoint.join import attach
from compiler.checkpoint.origins import FOLDER, remember, reopen
from compiler.checkpoint.resolve import Checkpoint, resolve
from compiler.errors import CheckpointError
from compiler.records import Adapter, Manifest
from tests import peft_adapters
from tests.models import manifest


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, and `lora` for it."""
    folder = tmp_path_factory.mktemp("saved")
    peft_adapters.adapter(peft_adapters.llama(folder / "base"), folder / "lora", peft_adapters.lora("llama"))
    return folder


@pytest.fixture
def base(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may move."""
    return Path(shutil.copytree(saved / "base", tmp_path / "models" / "base"))


@pytest.fixture
def lora(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved / "lora", tmp_path / "tuned" / "lora"))


def built(base: Path, cache: Path, *adapters: str) -> tuple[Checkpoint, Manifest]:
    """A checkpoint, remembered, and the manifest of its bundle."""
    made = attach(resolve(str(base), cache=cache), find(adapters), None, cache)
    remember(made, cache)
    apart = tuple(Adapter(name=each.name, file="x", source=each.source, rank=2) for each in made.adapters)
    return made, msgspec.structs.replace(
        manifest("decoder", (), (), layout="shared"), source=made.source, adapters=apart
    )


def test_a_source_has_the_name_of_its_folder_and_no_path(base: Path, lora: Path, tmp_path: Path) -> None:
    made, _ = built(base, tmp_path / "cache", str(lora))
    assert made.source.adapter
    assert (made.source.name, made.source.adapter.name) == ("base", "lora")
    assert str(tmp_path).encode() not in msgspec.json.encode(made.source)


def test_two_places_of_one_checkpoint_are_one_source(base: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(base, tmp_path / "elsewhere" / "base"))
    assert built(base, tmp_path / "one")[0].source == built(other, tmp_path / "two")[0].source


@pytest.mark.parametrize("apart", [False, True])
def test_a_bundles_checkpoint_is_found_again(base: Path, lora: Path, tmp_path: Path, apart: bool) -> None:
    made, record = built(base, tmp_path / "cache", f"a={lora}" if apart else str(lora))
    again = reopen(record, None, (), tmp_path / "cache")
    assert replace(again, config=made.config) == made


def test_a_relative_path_is_remembered_from_anywhere(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base.parent)
    made, record = built(Path("base"), tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    assert reopen(record, None, (), tmp_path / "cache").folder == made.folder == base


def test_what_moved_is_named_by_the_user(base: Path, lora: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    _, record = built(base, cache, f"a={lora}")
    base, lora = base.rename(tmp_path / "base2"), lora.rename(tmp_path / "lora2")
    with pytest.raises(CheckpointError, match=r'(?s)"base": where.*--reference') as caught:
        reopen(record, None, (), cache)
    assert str(tmp_path / "models" / "base") in caught.value.found
    with pytest.raises(CheckpointError, match=r'(?s)"lora": where.*--adapter a=PATH'):
        reopen(record, str(base), (), cache)
    assert reopen(record, str(base), [f"a={lora}"], cache).adapters[0].folder == lora
    with pytest.raises(CheckpointError, match=r"(?s)no adapter of this bundle.*a=PATH"):
        reopen(record, str(base), [f"b={lora}"], cache)


@pytest.mark.parametrize("damage", [b"", b"\xff", b'{"location": 3}', b'{"location": "/nowhere"}', b"[" * 100_000])
def test_a_damaged_record_is_as_good_as_none(base: Path, tmp_path: Path, damage: bytes) -> None:
    _, record = built(base, tmp_path / "cache")
    for file in (tmp_path / "cache" / FOLDER).iterdir():
        file.write_bytes(damage)
    with pytest.raises(CheckpointError, match="--reference"):
        reopen(record, None, (), tmp_path / "cache")
    assert reopen(record, str(base), (), tmp_path / "cache").folder == base


def test_another_checkpoint_is_refused(base: Path, lora: Path, tmp_path: Path) -> None:
    _, record = built(base, tmp_path / "cache", f"a={lora}")
    (base / "config.json").write_bytes((base / "config.json").read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="not the checkpoint"):
        reopen(record, str(base), (), tmp_path / "cache")
