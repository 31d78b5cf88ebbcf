"""Broken and hostile files, made from valid ones: changed bytes, and changed values in a structure."""

from __future__ import annotations

import io
import json
import tomllib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def _nested(depth: int, inner: Any = None) -> Any:
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


# What a value is replaced by: other types, other sizes, other signs, names that lead elsewhere.
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 127, 65_536, 10**6, 2**31, 10**9, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 10**12, 10**30, -(10**30),
    10**400, 0.0, -0.0, 0.5, 1.0, -1.5, 1e-320, 1e18, 1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
TEXTS: tuple[str, ...] = (
    "", " ", "x", "0", "-1", "1e400", "nan", "²", "true", "a" * 5000, "zero\0byte", "../x", "/etc/passwd", "/dev/zero",
    ".", "a/b", "\\", "\ud800", "\ufeff", "漢字", "{}", "{{ x }}", "{% x %}", "%s", "[1]", "(a+)+$", "float32", "int8",
)  # fmt: skip
TREES: tuple[Any, ...] = (
    None, True, False, [], {}, [[]], [None], [1], [[1]], ["x"], [0, -1, 10**30], {"a": 1}, {"": None}, [{}],
    [{"a": []}],
    {"content": 5}, list(range(2000)), _nested(50), _nested(150), _nested(600), [["a", "b"]], {"x": {"x": "x"}},
)  # fmt: skip
VALUES = (*NUMBERS, *TEXTS, *TREES)

Place = tuple[Any, Any]  # a container, and the key or index in it
DRAWN = 60  # bytes
CHUNKS = (
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    b"\n",
    b'"',
    b"\\",
    b",",
    b"[" * 5000,
    b'{"a":' * 5000,
    b"9" * 5000,
)


class Dice:
    """Choices out of `DRAWN` bytes: one draw of hypothesis makes a whole file, in a tenth of the time of many."""

    def __init__(self, drawn: bytes) -> None:
        self._drawn = iter(drawn)

    def below(self, size: int) -> int:
        """A number from 0 to `size` - 1; 0 when the bytes are used up."""
        return sum(next(self._drawn, 0) << shift for shift in (0, 8, 16)) % size if size else 0

    def one(self, options: Sequence[Any]) -> Any:
        return options[self.below(len(options))]

    def value(self) -> Any:
        """A hostile value that nobody else holds."""
        chosen = self.one(VALUES)
        return json.loads(json.dumps(chosen)) if isinstance(chosen, list | dict) else chosen


Cases = Callable[[Dice], Any]  # what is made of dice


def changed(tree: Any, dice: Dice) -> Any:
    """The tree of lists and dicts, which is changed in place, after one to three edits."""
    for _ in range(1 + dice.below(3)):
        tree = _edited(tree, dice)
    return tree


def _edited(tree: Any, dice: Dice) -> Any:
    what = dice.one(("value", "value", "value", "delete", "rename", "swap", "double", "wrap", "empty"))
    places = list(_places(tree))
    if not places:
        return dice.value()
    container, key = dice.one(places)
    if what == "delete":
        del container[key]
    elif what == "rename" and isinstance(container, dict):
        container[str(dice.one(TEXTS))] = container.pop(key)
    elif what == "swap":
        other, place = dice.one(places)
        container[key], other[place] = other[place], container[key]
        if _circular(tree):
            return dice.value()
    elif what == "double" and isinstance(container, list):
        container.insert(key, container[key])
    elif what == "wrap":
        container[key] = [container[key]]
    elif what == "empty":
        container[key] = type(container[key])() if container[key] is not None else 0
    else:
        container[key] = dice.value()
    return tree


def _places(tree: Any) -> Iterator[Place]:
    pending = [tree]
    while pending:
        each = pending.pop()
        keys = list(each) if isinstance(each, dict) else range(len(each)) if isinstance(each, list) else ()
        for key in keys:
            yield each, key
            pending.append(each[key])


def _circular(tree: Any) -> bool:
    try:
        json.dumps(tree)
    except ValueError:
        return True
    return False


def cut(content: bytes, dice: Dice, edits: int) -> bytes:
    """The content with bytes changed so many times."""
    for _ in range(edits):
        what = dice.one(("flip", "cut", "insert", "repeat", "drop", "set"))
        at = dice.below(len(content) + 1)
        more = dice.below(300)
        before, after = content[:at], content[at:]
        if what == "flip":
            content = before + bytes(byte ^ (1 << more % 8) for byte in after[:1]) + after[1:]
        elif what == "cut":
            content = before
        elif what == "insert":
            content = before + CHUNKS[more % len(CHUNKS)] + after
        elif what == "repeat":
            content = before + after[:more] + after
        elif what == "set":
            content = before + bytes([more % 256]) + after[1:]
        else:
            content = before + after[more:]
    return content


def raw(*valid: bytes) -> Cases:
    """Any of these contents, with bytes changed."""
    return lambda dice: cut(dice.one(valid), dice, 1 + dice.below(3))


def trees(*valid: Any) -> Cases:
    """Any of these JSON values, changed."""
    sources = [json.dumps(each) for each in valid]
    return lambda dice: changed(json.loads(dice.one(sources)), dice)


def json_files(*valid: bytes) -> Cases:
    """Any of these JSON files with values changed, sometimes with bytes changed as well."""
    return _files(valid, json.loads, to_json)


def toml_files(*valid: bytes) -> Cases:
    """The same for TOML."""
    return _files(valid, lambda content: tomllib.loads(content.decode()), _toml)


def line_files(*valid: bytes) -> Cases:
    """The same for files with JSON on every line."""

    def parse(content: bytes) -> list[Any]:
        return [json.loads(line) for line in content.splitlines()]

    def write(tree: Any) -> bytes:
        return b"\n".join(map(to_json, tree if isinstance(tree, list) else [tree]))

    return _files(valid, parse, write)


def zip_files(*valid: bytes) -> Cases:
    """The same for archives: a member with bytes changed, renamed or doubled; then the whole with bytes changed."""
    names = ("", "", "", "", None, "../x", "/etc/passwd", "x.npy", "zero\0byte", "漢字", ".npy")

    def build(dice: Dice) -> bytes:
        with zipfile.ZipFile(io.BytesIO(dice.one(valid))) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        chosen, name = dice.one(list(members)), dice.one(names)
        members[chosen] = cut(members[chosen], dice, dice.below(3))
        result = io.BytesIO()
        with zipfile.ZipFile(result, "w", dice.one((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
            for each, data in members.items():
                archive.writestr(name if name and each == chosen else each, data)
            if name is None:
                archive.writestr(f"{chosen}.npy", members[chosen])
        return cut(result.getvalue(), dice, dice.below(2))

    return build


def _files(valid: Sequence[bytes], parse: Callable[[bytes], Any], write: Callable[[Any], bytes]) -> Cases:
    def build(dice: Dice) -> bytes:
        content = write(changed(parse(dice.one(valid)), dice))
        return cut(content, dice, max(0, dice.below(6) - 3))

    return build


def to_json(tree: Any) -> bytes:
    """As Python writes it: NaN is NaN, half characters are halves."""
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _toml(tree: Any) -> bytes:
    if not isinstance(tree, dict):
        tree = {"x": tree}
    lines = [f"{json.dumps(str(key))} = {_inline(value)}" for key, value in tree.items()]
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_inline(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return '"none"' if value is None else json.dumps(value)
