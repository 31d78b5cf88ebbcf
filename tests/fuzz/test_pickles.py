"""Pickles: weights of checkpoints and of their sentence encoders' modules, in both of PyTorch's forms."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler.checkpoint import sentence
from compiler.checkpoint.pickled import convert
from compiler.errors import CheckpointError
from compiler.storage import discard
from tests import models as tiny
from tests.fuzz.checkpoints import CONFIG, ENCODER, MODULES, NORM
from tests.fuzz.mutate import Cases, Dice, changed, json_files, raw, zip_files
from tests.fuzz.reader import LONGEST, Reader

PLACE = "tensor "  # in a tree: the tensor of this name
SHARD = "pytorch_model-00001-of-00001.bin"
INDEX = {"metadata": {"total_size": 40}, "weight_map": {"linear.weight": SHARD, "linear.bias": SHARD}}
TENSORS = {
    "linear.weight": torch.ones(3, 4),
    "linear.bias": torch.zeros(3),
    "whole": torch.ones(2, dtype=torch.int64),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "thin": torch.eye(2).to_sparse(),
    "one": torch.tensor(1.0),
    "none": torch.zeros(0, 3),
    "meta": torch.zeros(2, device="meta"),
    "repeated": torch.ones(1).expand(10**6, 10**6),
    "complex": torch.ones(2, dtype=torch.complex64),
}
DENSE = {name: TENSORS[name] for name in ("linear.weight", "linear.bias")}


def pickled(content: object, *, zipped: bool = True) -> bytes:
    """As torch.save writes it."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def trees() -> Cases:
    """Whole pickles of something else than a module's tensors by name."""
    base = json.dumps({name: f"{PLACE}{name}" for name in DENSE} | {"_metadata": {"": {"version": 1}}})

    def build(dice: Dice) -> bytes:
        tree = changed(json.loads(base), dice)
        name = dice.one(list(TENSORS))
        return pickled(_filled(tree, {**TENSORS, "linear.bias": TENSORS[name]}), zipped=bool(dice.below(4)))

    return build


def _filled(tree: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(tree, dict):
        return {name: _filled(each, tensors) for name, each in tree.items()}
    if isinstance(tree, list):
        return [_filled(each, tensors) for each in tree]
    return tensors.get(tree.removeprefix(PLACE), tree) if isinstance(tree, str) else tree


def _any_of(*cases: Cases) -> Cases:
    return lambda dice: dice.one(cases)(dice)


class _Call:
    """What runs code where it is unpickled without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("x",)


OTHERS = tuple(pickle.dumps(each, protocol=2) for each in (_Call(), {"a": _Call()}, {"a": 1}, [1], 5))
PICKLES = _any_of(zip_files(pickled(DENSE)), raw(pickled(DENSE, zipped=False), *OTHERS), trees())


def _weights(name: str) -> Callable[[Path], Callable[[bytes], object]]:
    def prepare(folder: Path) -> Callable[[bytes], object]:
        number = itertools.count()
        source = folder / "source"
        source.mkdir()
        (source / "config.json").write_text(json.dumps(CONFIG))
        (source / SHARD).write_bytes(pickled(DENSE))

        def run(content: bytes) -> object:
            (source / name).write_bytes(content)
            out = folder / f"out{next(number)}"
            try:
                return convert(source, "x", out)
            finally:
                discard(out)

        return run

    return prepare


def _module(folder: Path) -> Callable[[bytes], object]:
    """The sentence encoder whose Dense is a pickle, read as a build reads it: by its author's leave."""
    source, number = folder / "source", itertools.count()
    source.mkdir()
    tiny.write_tokenizer(source)
    (source / "config.json").write_text(json.dumps(CONFIG))
    for name, tree in ENCODER.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(json.dumps(tree))
    (source / "3_LayerNorm/model.safetensors").write_bytes(NORM)
    assert "2_Dense" in {each["path"] for each in MODULES}

    def run(content: bytes) -> object:
        (source / "2_Dense/pytorch_model.bin").write_bytes(content)
        cache = folder / f"cache{next(number)}"
        try:
            found = sentence.unpickled(source, "digest", True, cache, lambda: None)
            return sentence.pooling(found)
        finally:
            discard(cache)

    return run


CODES = frozenset({4})
READERS = (
    Reader("pickle", CODES, PICKLES, _weights("pytorch_model.bin"), cost=0.8),
    Reader(
        "pickle-index",
        CODES,
        json_files(json.dumps(INDEX).encode()),
        _weights("pytorch_model.bin.index.json"),
        cost=0.6,
    ),
    Reader("module-pickle", CODES, PICKLES, _module, cost=2),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_pickles_are_refused(reader: Reader) -> None:
    reader.check()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "plain"])
def test_right_pickles_are_read(zipped: bool, tmp_path: Path) -> None:
    for name, prepare in {"weights": _weights("pytorch_model.bin"), "module": _module}.items():
        (tmp_path / name).mkdir()
        prepare(tmp_path / name)(pickled(DENSE, zipped=zipped))


@pytest.mark.parametrize("content", OTHERS, ids=range(len(OTHERS)))
def test_a_pickle_of_something_else_runs_nothing(
    content: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, prepare in {"weights": _weights("pytorch_model.bin"), "module": _module}.items():
        (tmp_path / name).mkdir()
        with pytest.raises(CheckpointError):
            prepare(tmp_path / name)(content)
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "tensor",
    [TENSORS["thin"], TENSORS["meta"], TENSORS["repeated"]],
    ids=["sparse", "without numbers", "one number many times"],
)
def test_a_tensor_that_is_no_plain_one_is_refused(tensor: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not the weights of a model"):
        _weights("pytorch_model.bin")(tmp_path)(pickled({"linear.weight": tensor}))


def test_many_names_of_one_tensor_are_refused(tmp_path: Path) -> None:
    """A file of megabytes would be written out as gigabytes."""
    once = torch.zeros(1_000_000)
    read = _weights("pytorch_model.bin")(tmp_path)
    read(pickled({"a": once, "tied": once}))
    with pytest.raises(CheckpointError, match="larger than the file"):
        read(pickled({str(number): once for number in range(20)}))


def test_a_name_that_takes_hours_to_refuse_is_refused(tmp_path: Path) -> None:
    """PyTorch searches its own message in a time of the name's length squared: 5 s for 25 kB."""
    long = b"\x80\x02c__builtin__\nprint" + b'{"a":' * 200_000 + b"\n."
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", long)
    read = _weights("pytorch_model.bin")(tmp_path)
    for content in (long, pickle.dumps(1, 2) + long, zipped.getvalue()):
        began = time.process_time()
        with pytest.raises(CheckpointError, match=r"not a pickle that torch\.save wrote"):
            read(content)
        assert time.process_time() - began < LONGEST


def test_an_archive_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))
    with pytest.raises(CheckpointError, match="compressed"):
        _weights("pytorch_model.bin")(tmp_path)(packed.getvalue())
