"""Untrusted JSON and TOML: every way in which such a file can be broken is one error of the caller's kind.

JSON is what Python's own reader takes, as transformers reads it: NaN and Infinity are numbers, and of two equal keys
the last counts.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from compiler.errors import CheckpointError, CompilerError, InputError, IntegrityError

T = TypeVar("T")

LARGEST = 64 << 20  # bytes; the largest tokenizer.json in use has 34 MB
MOST = 4_000_000  # values: about 0.5 GB in memory; the largest tokenizer.json in use has 2 million
# What a user can do about a broken file, by whose it is.
ACTIONS: dict[type[CompilerError], str] = {
    CheckpointError: "download the checkpoint again, or save it again",
    IntegrityError: "copy the bundle again, or rebuild it",
    InputError: "correct the file, or name another",
}
DEEPEST = 100  # levels of nesting, so that no later copy of it runs out of stack
LARGEST_TOML = 1 << 20  # bytes


def read_json(path: Path, kind: type[T], raises: type[CompilerError], *, largest: int = LARGEST) -> T:
    """What a JSON file holds.

    Args:
        path: a regular file, or a link to one.
        kind: what it must hold, as `msgspec.convert` understands types: `dict[str, Any]`, a Struct, ...
        raises: the error for a file that cannot be read, is too large, or is not JSON of this kind.
        largest: bytes that it may have.
    """
    return parse_json(read_bytes(path, raises, largest=largest), kind, raises, str(path))


def parse_json(content: bytes | str, kind: type[T], raises: type[CompilerError], name: str) -> T:
    """What JSON text holds; `name` says in an error where it came from. The rest as in `read_json`."""
    _refuse_many(content, raises, name)
    try:
        found = json.loads(content)
        _refuse_deep(found, raises, name)
        if isinstance(content, str) or b"\\u" in content or b"\xed" in content:
            json.dumps(found, ensure_ascii=False).encode()  # half a character is no text: a UnicodeEncodeError
        return msgspec.convert(found, type=kind)
    except CompilerError:  # some of them are ValueErrors too
        raise
    except RecursionError as error:
        raise raises(f"{name}: nested too deep", found=str(error), expected=f"at most {DEEPEST} levels") from error
    except msgspec.ValidationError as error:
        raise raises(f"{name}: not the JSON that belongs here", found=str(error), action=_action(raises)) from error
    except ValueError as error:  # malformed, not Unicode
        raise raises(f"{name}: not JSON", found=str(error), expected="JSON", action=_action(raises)) from error


def parse_strict(
    content: bytes | str, kind: Any, raises: type[CompilerError], name: str, *, expected: str = "JSON"
) -> Any:
    """The same for JSON by the standard alone, as this project writes it: NaN, Infinity and half characters are none.

    Whole numbers have 64 bits. `expected` says in an error what belongs there.
    """
    _refuse_many(content, raises, name)
    try:
        found = msgspec.json.decode(content)
        _refuse_deep(found, raises, name)
        _refuse_large(found, raises, name)
        return msgspec.convert(found, kind, str_keys=True)
    except CompilerError:
        raise
    except RecursionError as error:
        raise raises(f"{name}: nested too deep", found=str(error), expected=f"at most {DEEPEST} levels") from error
    except msgspec.ValidationError as error:
        wanted = "" if expected == "JSON" else expected
        subject = f"{name}: not the JSON that belongs here"
        raise raises(subject, found=str(error), expected=wanted, action=_action(raises)) from error
    except ValueError as error:
        raise raises(f"{name}: not JSON", found=str(error), expected=expected, action=_action(raises)) from error


def read_toml(path: Path, raises: type[CompilerError]) -> dict[str, Any]:
    """What a TOML file holds; numbers have 64 bits. `raises` as in `read_json`."""
    content = read_bytes(path, raises, largest=LARGEST_TOML)
    try:
        found = tomllib.loads(content.decode())
        _refuse_deep(found, raises, str(path))
        _refuse_large(found, raises, str(path))
        return found
    except CompilerError:
        raise
    except RecursionError as error:
        raise raises(f"{path}: nested too deep", found=str(error), expected=f"at most {DEEPEST} levels") from error
    except ValueError as error:  # tomllib.TOMLDecodeError, UnicodeDecodeError
        raise raises(f"{path}: not TOML", found=str(error)) from error


def read_bytes(path: Path, raises: type[CompilerError], *, largest: int = LARGEST) -> bytes:
    """A file's content. `raises` and `largest` as in `read_json`."""
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise raises(f"{path}: not a file", expected="a regular file")
        if found.st_size > largest:
            raise raises(f"{path}: too large", found=f"{found.st_size} bytes", expected=f"at most {largest} bytes")
        return path.read_bytes()
    except CompilerError:
        raise
    except (OSError, ValueError) as error:  # a name with a zero byte is a ValueError
        raise raises(f"{path}: cannot be read", found=getattr(error, "strerror", None) or str(error)) from error


def _action(raises: type[CompilerError]) -> str:
    return next((action for kind, action in ACTIONS.items() if issubclass(raises, kind)), "correct the file")


@contextmanager
def foreign(raises: type[CompilerError], subject: str, *, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn whatever a library raises, `but` these, into an error about `subject`.

    The errors of tokenizers are plain `Exception`s, and where its Rust code gives up, a `PanicException`, which is
    none.
    """
    try:
        yield
    except CompilerError:
        raise
    except but:
        raise
    except BaseException as error:
        if isinstance(error, Exception) or type(error).__name__ == "PanicException":
            raise raises(subject, found=str(error)[:500]) from error
        raise


def _refuse_many(content: bytes | str, raises: type[CompilerError], name: str) -> None:
    """Every value but the first follows one of these characters; those inside texts count too, which is harmless."""
    marks = (b",", b"[", b"{") if isinstance(content, bytes) else (",", "[", "{")
    if len(content) > MOST and sum(map(content.count, marks)) > MOST:  # type: ignore[arg-type]
        raise raises(f"{name}: too many values", expected=f"at most {MOST}")


def _refuse_deep(value: Any, raises: type[CompilerError], name: str) -> None:
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for each in level for inner in _inside(each)]
    if level:
        raise raises(f"{name}: nested too deep", found=f"over {DEEPEST} levels", expected=f"at most {DEEPEST}")


def _refuse_large(value: Any, raises: type[CompilerError], name: str) -> None:
    if any(isinstance(each, int) and not -(2**63) <= each < 2**63 for each in _values(value)):
        raise raises(f"{name}: a number is too large", expected="whole numbers of 64 bits")


def _values(value: Any) -> Iterator[Any]:
    """The value and all inside it."""
    level = [value]
    while level:
        yield from level
        level = [inner for each in level for inner in _inside(each)]


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
