"""What each kind of GPU computes with, and which flavors of TensorRT build for it.

Sources: the support matrices of TensorRT and of TensorRT for RTX, and builds tried for every target of the latter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from compiler.errors import EngineUnavailableError, ProfileError, did_you_mean

FlavorName = Literal["tensorrt", "tensorrt-rtx"]

TURING = frozenset({"float32", "float16", "int8"})
AMPERE = TURING | {"bfloat16", "int4"}
ADA = AMPERE | {"float8"}
BLACKWELL = ADA | {"float4"}
BOTH: tuple[FlavorName, ...] = ("tensorrt", "tensorrt-rtx")
FULL: tuple[FlavorName, ...] = ("tensorrt",)


class Capability(NamedTuple):
    """`formats` are those of tensors that a kernel reads, weights alone included; `gpus` are names for a person."""

    formats: frozenset[str]
    flavors: tuple[FlavorName, ...]
    gpus: str


CAPABILITIES: dict[str, Capability] = {
    "sm75": Capability(TURING, BOTH, "T4, RTX 20"),
    "sm80": Capability(AMPERE, BOTH, "A100, A30"),
    "sm86": Capability(AMPERE, BOTH, "A10, A40, RTX 30"),
    "sm87": Capability(AMPERE, FULL, "Jetson Orin"),
    "sm89": Capability(ADA, BOTH, "L4, L40S, RTX 40"),
    "sm90": Capability(ADA, FULL, "H100, H200"),
    "sm100": Capability(BLACKWELL, FULL, "B200"),
    "sm120": Capability(BLACKWELL, BOTH, "RTX 50, RTX PRO Blackwell"),
    "sm121": Capability(BLACKWELL, BOTH, "GB10"),
}

# Where a flavor offers less than the GPU could do.
LESS: dict[tuple[FlavorName, str], frozenset[str]] = {("tensorrt-rtx", "sm75"): frozenset({"int8"})}

FORMATS: tuple[str, ...] = ("float16", "bfloat16", "int8", "float8", "int4", "float4")


def target_of(compute_capability: str) -> str:
    """ "8.9" -> "sm89"."""
    return f"sm{compute_capability.replace('.', '')}"


def capability(target: str) -> Capability:
    """The row of a target.

    Raises:
        ProfileError: no such target.
    """
    if target not in CAPABILITIES:
        raise ProfileError(
            f'target "{target}" is unknown',
            expected=", ".join(CAPABILITIES),
            action=did_you_mean(target, CAPABILITIES) or "name a compute capability, as in sm89",
        )
    return CAPABILITIES[target]


def described(target: str) -> str:
    """A target and the GPUs that it stands for: "sm89 (L4, L40S, RTX 40)"."""
    return f"{target} ({capability(target).gpus})"


def check_formats(targets: Iterable[str], formats: Collection[str]) -> None:
    """Nothing where the GPUs compute with all of these number formats; one that `FORMATS` does not list is let through.

    Raises:
        EngineUnavailableError: names the format, the target, and the capability that it needs.
        ProfileError: a target is unknown.
    """
    for target in targets:
        able = capability(target).formats
        for name in [name for name in FORMATS if name in formats and name not in able]:
            first = next(other for other, row in CAPABILITIES.items() if name in row.formats)
            raise EngineUnavailableError(
                f"{described(target)} cannot compute with {name}",
                found=f"a model with {name}",
                expected=f"{name} needs {first} or later",
                action=f"choose a precision of {', '.join(sorted(able))}, or another target",
            )


def check_flavor(flavor: FlavorName, target: str, formats: Collection[str]) -> None:
    """As `check_formats`, for what a flavor leaves out although the GPU has it. Raises EngineUnavailableError."""
    if lacking := sorted(LESS.get((flavor, target), frozenset()) & set(formats)):
        raise EngineUnavailableError(
            f"{flavor} does not compute with {lacking[0]} on {described(target)}",
            found=f"a model with {', '.join(lacking)}",
            expected=f"{flavor} for a later target, or tensorrt on a machine with this GPU",
            action="choose another precision or target, or build on such a machine",
        )
