"""How much worse a candidate may be: `gates.toml`, and what holds without one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec

from compiler.errors import ProfileError, UsageError, did_you_mean
from compiler.reading import read_toml
from compiler.records import Record

Share = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Latency(Record, frozen=True):
    """`max_increase` as a share of the baseline's median. Without `enforce` a verdict is given and breaks nothing."""

    max_increase: Share = 0.03
    enforce: bool = True


class Memory(Record, frozen=True):
    """`max_increase` of the peak as a share of the baseline's."""

    max_increase: Share = 0.10
    enforce: bool = True


class Size(Record, frozen=True):
    """`max_increase` on disk as a share of the baseline's."""

    max_increase: Share = 0.05
    enforce: bool = True


class Quality(Record, frozen=True):
    """`max_drop` is a share of the baseline's value; `metrics` replaces it for single ones, in their own unit."""

    max_drop: Share = 0.01
    metrics: dict[str, Share] = msgspec.field(default_factory=dict)
    enforce: bool = True


class Parity(Record, frozen=True):
    """`max_increase` of the share of a finding's limit that is used up: 0.25 lets one go from 40 % to 65 % of it.

    From within the limit to the outside is never allowed, and what is outside may go no farther than that much.
    """

    max_increase: Share = 0.25
    enforce: bool = True


class OwnCertificate(Record, frozen=True):
    """The candidate's own says PASS. Without `enforce` one that its own limits fail may replace the baseline."""

    enforce: bool = True


class Fusions(Record, frozen=True):
    """`lost` fused operators that a candidate may have less."""

    lost: Count = 0
    enforce: bool = True


class Precision(Record, frozen=True):
    """`lowered` modules whose weights may be stored less precisely. Usually meant, so not enforced by itself."""

    lowered: Count = 0
    enforce: bool = False


class Gates(Record, frozen=True):
    latency: Latency = Latency()
    memory: Memory = Memory()
    size: Size = Size()
    quality: Quality = Quality()
    parity: Parity = Parity()
    certificate: OwnCertificate = OwnCertificate()
    fusions: Fusions = Fusions()
    precision: Precision = Precision()


def load(path: Path) -> Gates:
    """Read a gates file; what it leaves out keeps its default.

    Raises:
        ProfileError: not readable, or mistakes in it; the message lists all of them.
    """
    data = read_toml(path, ProfileError)
    if mistakes := list(_mistakes(data)):
        noun = "mistake" if len(mistakes) == 1 else "mistakes"
        raise ProfileError(
            f"{path}: {len(mistakes)} {noun} in these gates",
            found=f"\n{' ' * 12}".join(mistakes),
            expected=f"tables {', '.join(Gates.__struct_fields__)}",
            action="correct them",
        )
    return msgspec.convert(data, Gates)


def require_judged(gates: Gates, path: Path, *, evaluated: bool) -> None:
    """Refuse a file that sets a gate on quality where no evaluation says anything of it: it could never be broken.

    Raises:
        UsageError: it does.
    """
    if gates.quality != Quality() and gates.quality.enforce and not evaluated:
        raise UsageError(
            f"{path}: a gate on quality, and nothing that tells of it",
            expected="--evaluation FILE FILE, what `compile eval --out` wrote for the two",
            action="evaluate both on one file, or leave [quality] out",
        )


def _mistakes(data: dict[str, Any]) -> Iterator[str]:
    tables = {field.name: field.type for field in msgspec.structs.fields(Gates)}
    for name, table in data.items():
        if name not in tables:
            yield _unknown(name, tuple(tables))
        elif not isinstance(table, dict):
            yield f"{name}: expected a table, found {table!r}"
        else:
            fields = {field.name: field.type for field in msgspec.structs.fields(tables[name])}
            for key, value in table.items():
                if key not in fields:
                    yield _unknown(f"{name}.{key}", tuple(fields))
                    continue
                try:
                    msgspec.convert(value, fields[key])
                except msgspec.ValidationError as error:
                    yield f"{name}.{key}: {error}; found {value!r}"
                    continue
                numbers = value.values() if isinstance(value, dict) else [value]
                if not all(math.isfinite(number) for number in numbers):
                    yield f"{name}.{key}: not a finite number; found {value!r}; write enforce = false for no gate"


def _unknown(path: str, known: tuple[str, ...]) -> str:
    hint = did_you_mean(path.rpartition(".")[2], known) or f"known are {', '.join(known)}"
    return f"{path}: unknown; {hint}"
