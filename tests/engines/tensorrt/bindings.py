"""The names in TensorRT's real Python bindings, read in a process of their own without TensorRT's libraries.

Full TensorRT's libraries are not on PyPI. Its bindings are: one extension module, which loads without the libraries
once it no longer asks for them. Versions of it cannot share a process.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[3] / "artifacts" / "bindings"
OLDEST = "10.12.0.36"
FULL = (OLDEST, "10.16.1.11", "11.4.0.106")  # as in scripts/setup.sh
RTX = "rtx"
ALL = (*FULL, RTX)

Names = dict[str, dict[str, str]]  # class, member, and its docstring where it can be called; of "__doc__" the class's

_READ = """
import importlib, json, sys
classes = {name: each for name, each in vars(importlib.import_module(sys.argv[1])).items() if isinstance(each, type)}
members = {name: {member: getattr(each, member) for member in dir(each)} for name, each in classes.items()}
doc = lambda key, value: (value if key == "__doc__" else callable(value) and value.__doc__) or ""
json.dump({name: {key: doc(key, value) for key, value in each.items()} for name, each in members.items()}, sys.stdout)
"""

# ELF, 64 bits, little endian.
_SECTION = struct.Struct("<IIQQQQIIQQ")
_ENTRY = struct.Struct("<qQ")  # of the dynamic section
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC, _DYNAMIC_SYMBOLS = 6, 11  # kinds of sections
_NEEDED = 1  # tag of an entry that names a library
_GLOBAL, _WEAK, _UNDEFINED = 1, 2, 0


@functools.cache
def names(binding: str) -> Names:
    """Every class of a binding, one of `ALL`, with its members."""
    if binding == RTX:
        return _read("tensorrt_rtx")
    folder = FOLDER / f"tensorrt-{binding}"
    if not folder.is_dir():
        pytest.fail(f"{folder} is missing: scripts/test fetches it")
    with tempfile.TemporaryDirectory() as temporary:
        shutil.copytree(folder / "tensorrt_bindings", Path(temporary) / "tensorrt_bindings")
        for library in Path(temporary).rglob("*.so"):
            library.write_bytes(without_libraries(library.read_bytes()))
        return _read("tensorrt_bindings", temporary)


def parameters(docstring: str, name: str) -> list[tuple[list[str], int]]:
    """Per overload, the names of its parameters without `self`, and how many of them have no default."""
    found = []
    for match in re.finditer(rf"^(?:\d+\. )?{name}\((.*)\) -> ", docstring, re.MULTILINE):
        parts = re.split(r"(?:^|, )(?=\w+: )", match[1])
        each = [part for part in parts if part and not part.startswith("self: ")]
        found.append(([part.split(":")[0] for part in each], sum(" = " not in part for part in each)))
    return found


def callback(there: dict[str, str], name: str) -> int | None:
    """How many arguments TensorRT gives to a method that derived classes define; None where it knows no such method.

    Some classes have none of their own, and show them in an example.
    """
    if example := re.search(rf"def {name}\(self(.*)\):", there["__doc__"]):
        return example[1].count(",")
    return next((required for _, required in parameters(there.get(name, ""), name)), None)


def without_libraries(library: bytes) -> bytes:
    """An ELF shared library that needs none of TensorRT's, and can be loaded where functions are missing."""
    image = bytearray(library)
    (start,), (count,) = struct.unpack_from("<Q", image, 0x28), struct.unpack_from("<H", image, 0x3C)
    sections = [_SECTION.unpack_from(image, start + index * _SECTION.size) for index in range(count)]
    for _, kind, _, _, offset, size, link, *_ in sections:
        if kind == _DYNAMIC:
            strings = sections[link][4]
            entries = list(_ENTRY.iter_unpack(image[offset : offset + size]))
            kept = [
                (tag, value)
                for tag, value in entries
                if tag != _NEEDED or not image.startswith(b"libnv", strings + value)
            ]
            kept += [(0, 0)] * (len(entries) - len(kept))
            image[offset : offset + size] = b"".join(_ENTRY.pack(*entry) for entry in kept)
        elif kind == _DYNAMIC_SYMBOLS:
            for at in range(offset, offset + size, _SYMBOL.size):
                name, info, other, section, value, length = _SYMBOL.unpack_from(image, at)
                if section == _UNDEFINED and info >> 4 == _GLOBAL:
                    info = _WEAK << 4 | info & 15
                    _SYMBOL.pack_into(image, at, name, info, other, section, value, length)
    return bytes(image)


def _read(module: str, path: str = "") -> Names:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", _READ, module]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found: Names = json.loads(result.stdout)
    return found
