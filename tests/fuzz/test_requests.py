"""What a caller asks for, and what earlier builds left in the cache."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from compiler import cache, profile, records, report, runtime, traffic
from compiler.checkpoint import adapter, resolve
from compiler.checkpoint.origins import FOLDER, Origin, _found
from compiler.compare import gates, sides
from compiler.errors import CompilerError, UsageError
from compiler.evaluate import data, probes, ratings
from compiler.records import Built, EngineOptions
from compiler.request import BuildRequest, ModelRequest, request
from tests import models as tiny
from tests.fuzz.mutate import VALUES, Cases, Dice, changed, cut, json_files
from tests.fuzz.reader import Reader

ASKED = {
    "task": "text-generation",
    "revision": "main",
    "adapters": ["a=x", "y"],
    "adapter_base": "base",
    "allow_pickle": False,
    "profile": "auto",
    "precision": "int8",
    "context": 128,
    "budget": {"min_cosine": 0.9, "max_perplexity_ratio": 1.1},
    "targets": ["sm89"],
    "traffic": "x.jsonl",
    "strict": True,
    "bench": False,
}
SOURCE = tiny.manifest("encoder", (), ()).source
BUILT = Built(
    engine="x", engine_version="1", model="model.onnx", files=("model.onnx",), options=EngineOptions(), placement=(),
    seconds=1.0,
)  # fmt: skip
KEPT = {"built.json": records.encode(BUILT), "model.onnx": b"x", "answer.txt": b""}


def _requests() -> Cases:
    written = json.dumps(ASKED)

    def build(dice: Dice) -> tuple[Any, Any]:
        tree = json.loads(written)
        if dice.below(2):
            tree[dice.one(list(tree))] = dice.one((*VALUES, np.float32(1), np.ones(2), b"x", object, Path("x"), {1}))
        else:
            tree = changed(tree, dice)
        return dice.one(("x", "x", "x", *VALUES, Path("x"), b"x")), tree

    return build


def _asked(_: Path) -> Callable[[tuple[Any, Any]], object]:
    def run(case: tuple[Any, Any]) -> object:
        model, tree = case
        choices = tree if isinstance(tree, dict) else {"context": tree}
        few = {name: value for name, value in choices.items() if name in ModelRequest.__struct_fields__}
        return request(ModelRequest, model, few), request(BuildRequest, model, choices)

    return run


def _kept(folder: Path) -> Callable[[tuple[str, bytes]], object]:
    """One file of an entry of the cache is another: it is taken or made again."""
    sealed = folder / "sealed"
    sealed.mkdir()
    for name, content in KEPT.items():
        (sealed / name).write_bytes(content)
    cache.seal(sealed)
    entry, answer = folder / "entry", folder / "answer.txt"
    origin = folder / FOLDER / f"{SOURCE.digest[:32]}.json"
    origin.parent.mkdir()

    def make(out: Path) -> Built:
        (out / "model.onnx").write_bytes(b"x")
        return BUILT

    def run(case: tuple[str, bytes]) -> object:
        name, content = case
        shutil.rmtree(entry, ignore_errors=True)
        shutil.copytree(sealed, entry)
        (entry / name).write_bytes(content)
        answer.write_bytes(content)
        origin.write_bytes(content)
        made = cache.artifact(entry, "built.json", Built, make, lambda _: None)
        assert made.record == BUILT
        assert (entry / "model.onnx").read_bytes() == b"x"
        assert cache.answer(answer, lambda: "found") in ("found", "kept")
        return _found(SOURCE, folder, "--reference PATH")

    return run


def _entries() -> Cases:
    index = json.dumps({"files": {name: {"size": 1, "sha256": "0" * 64} for name in KEPT}, "version": 1}).encode()
    forms = {
        "files.json": json_files(index),
        "built.json": json_files(KEPT["built.json"]),
        "model.onnx": json_files(msgspec.json.encode(Origin(location="/"))),
        "answer.txt": lambda dice: cut(b"kept\n" + b"0" * 64, dice, 1),
    }

    def build(dice: Dice) -> tuple[str, bytes]:
        name = dice.one(list(forms))
        return name, forms[name](dice)

    return build


READERS = (
    Reader("request", frozenset({2}), _requests(), _asked),
    Reader("cache", frozenset({4}), _entries(), _kept),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_what_cannot_be_is_refused(reader: Reader) -> None:
    reader.check()


def test_the_right_request_is_taken(tmp_path: Path) -> None:
    found: Any = _asked(tmp_path)(("x", ASKED))
    assert found[1].budget == ASKED["budget"]
    with pytest.raises(UsageError, match="context"):
        _asked(tmp_path)(("x", {"context": "long"}))


@pytest.mark.parametrize(
    "name", ["a" * 5000, f"x/{'b' * 300}", "zero\0byte", "\ud800"], ids=["long", "part", "zero", "half"]
)
def test_names_that_no_file_system_takes_are_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python's own paths raise an OSError for some, and a ValueError for others, where they are only asked."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    path = Path(name)
    readers: list[Callable[[], object]] = [
        lambda: resolve(name, cache=tmp_path),
        lambda: adapter.find([name]),
        lambda: adapter.find([f"x={name}"]),
        lambda: profile.load(name),
        lambda: traffic.read(path),
        lambda: list(data.read(path)),
        lambda: ratings.read(path),
        lambda: probes.read_secrets(path),
        lambda: gates.load(path),
        lambda: sides.read(name),
        lambda: report.read([path]),
        lambda: runtime.load(name),
    ]
    for read in readers:
        with pytest.raises(CompilerError):
            read()
