"""GGUF files: the header alone, and whole ones as a build reads them and as its reference does."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler.checkpoint import resolve
from compiler.checkpoint.gguf import read_once, vetted
from compiler.checkpoint.original import open_original
from compiler.errors import CheckpointError
from compiler.storage import discard
from tests.fuzz import gguf_files
from tests.fuzz.mutate import Cases, Dice, changed, cut
from tests.fuzz.reader import Reader, at


def files() -> Cases:
    """The whole file with parts of its tree changed, then sometimes with bytes changed."""

    def build(dice: Dice) -> bytes:
        tree = gguf_files.whole()
        part = dice.one(("keys", "keys", "tensors", ""))
        if part:
            tree[part] = changed(tree[part], dice)
        else:
            tree = changed(tree, dice)
        return cut(gguf_files.write(tree), dice, max(0, dice.below(6) - 3))

    return build


def _header(path: Path) -> object:
    with read_once() as read:
        return vetted(path, read)


def _whole(folder: Path) -> Callable[[bytes], object]:
    path, number = folder / "m.gguf", itertools.count()

    def run(content: bytes) -> object:
        path.write_bytes(content)
        cache = folder / f"cache{next(number)}"
        try:
            found = resolve(str(path), cache=cache)
            return open_original(found.reference, found.task, "float32")
        finally:
            if cache.exists():
                discard(cache)

    run(gguf_files.write(gguf_files.whole()))  # no case waits for what is imported for the first
    return run


CODES = frozenset({4})
READERS = (
    Reader("gguf-header", CODES, files(), at("m.gguf", _header), cost=2),
    Reader("gguf", CODES | {2}, files(), _whole, cost=14, suite=200),
)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_broken_files_are_refused(reader: Reader) -> None:
    reader.check()


def test_the_right_file_is_read(tmp_path: Path) -> None:
    model = _whole(tmp_path)(gguf_files.write(gguf_files.whole()))
    assert type(model).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"llama.block_count": 13}, "block_count"),
        ({"llama.embedding_length": 2**40}, "embedding_length"),
        ({"llama.attention.head_count": [2**30]}, "head_count"),
        ({"llama.context_length": 2**40}, "context_length"),
    ],
)
def test_keys_that_ask_for_all_memory_are_refused(keys: dict[str, Any], found: str, tmp_path: Path) -> None:
    tree = gguf_files.whole()
    tree["keys"] |= keys
    with pytest.raises(CheckpointError, match=f"do not belong together\n.*{found}"):
        _whole(tmp_path)(gguf_files.write(tree))


@pytest.mark.parametrize("layers", [None, "x", [1]], ids=str)
def test_a_file_that_does_not_say_how_many_layers_is_refused(layers: object, tmp_path: Path) -> None:
    """transformers would make 32 of them first."""
    tree = gguf_files.whole()
    del tree["keys"]["llama.block_count"]
    tree["keys"] |= {} if layers is None else {"llama.block_count": layers}
    with pytest.raises(CheckpointError, match="no number of layers"):
        _whole(tmp_path)(gguf_files.write(tree))


@pytest.mark.parametrize("kind", [0, 5, 8, 10])
def test_an_array_longer_than_its_file_is_not_walked(kind: int, tmp_path: Path) -> None:
    """The library would go on through nothing, 2 ** 40 times."""
    key = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, kind, 2**40)
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + bytes(1000))
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        _header(path)


@pytest.mark.parametrize("kept", [10, 60, 200])
def test_a_file_that_ends_within_its_header_says_so(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf_files.write(gguf_files.whole())[:kept])
    with pytest.raises(CheckpointError, match="damaged or cut short") as caught:
        _header(path)
    assert f"{kept} bytes" in caught.value.found
    assert "unpack_from" not in caught.value.found
    assert caught.value.expected == "a whole GGUF file"
    assert caught.value.action
