"""Is a quantized engine's error no larger than rounding makes it?

The budget says which error may be accepted, and nothing of where it comes from: a mistake in a pass may change answers
by a hundred times what rounding changes, and be within. So the reference is asked the same with its products rounded to
as many bits (`checkpoint.rounded`), and a right engine errs about as much.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast

import numpy as np

from compiler.check.limits import Limits
from compiler.check.noise import Answers
from compiler.check.references import OpenReference, ReferenceModel
from compiler.checkpoint.rounded import Method, Rounding
from compiler.records import Finding, PassRun

STATIC: dict[Any, Method] = {"uint8": "static", "int8": "wide", "float8": "float8"}  # `QuantizeStatic`'s formats
BITS, MIXED = 4, 0.5  # of `QuantizeWeights`: with this share, half of the weights get 8 bits
WIDE = 16  # numbers of an answer; the errors of fewer are chance, the same for all texts
CHANCE = 0.1  # relative standard error of a mean square from which on one rounding does not say how large errors are
DRAWS = 8  # roundings at most; one has fewer codes than the other, and so other errors of about the same size
DEVIATIONS = 4  # standard errors that are left to chance
WORST = 1.5  # times as much is left to the worst of all answers


class Rounded(NamedTuple):
    """How far the reference's answers move when its products are rounded; nothing where that is not known.

    Attributes:
        errors: for each answer that was asked for (draws, rows), root mean squares along the last axis.
    """

    errors: Sequence[np.ndarray] = ()

    def of(self, which: slice) -> Rounded:
        """For a part of what was asked."""
        return Rounded(self.errors[which])

    @property
    def whole(self) -> np.ndarray:
        """(draws, all rows)"""
        return np.concatenate(self.errors, axis=1)

    @property
    def chance(self) -> float:
        """The relative standard error of one rounding's mean square: from other roundings, or from its own rows."""
        squares = np.square(self.whole)
        mean = float(squares.mean()) or 1.0
        rows = float(squares.std() / mean / np.sqrt(squares.shape[1]))
        draws = float(squares.mean(axis=1).std(ddof=1)) / mean if len(squares) > 1 else 0.0
        return max(rows, draws)


def method_of(passes: Sequence[PassRun]) -> Method | None:
    """How the passes that gave a model its precision round; None where `checkpoint.rounded` knows nothing like it.

    A format of fewer bits decides before the one that is left for the rest.
    """
    found = {run.name: run.options for run in passes}
    if (options := found.get("quantize-weights")) is not None:
        if options.get("bits") != BITS:
            return "int8"
        return "mixed" if options.get("int8_share", 0) >= MIXED else "int4"
    if "quantize-per-token" in found:
        return "rows"
    if (options := found.get("quantize-dynamic")) is not None:
        return "tensor" if options.get("per_channel", True) else None
    if (options := found.get("quantize-static")) is not None:
        return STATIC[options.get("format", "uint8")] if options.get("per_channel", True) else None
    if (options := found.get("quantize-weights-dq")) is not None:
        return _of_weights(options)
    if (options := found.get("mixed-precision")) is not None:
        return cast("Method", options.get("dtype", "float16"))
    return None


def _of_weights(options: dict[str, Any]) -> Method | None:
    """How `QuantizeWeightsDq` rounds."""
    if options.get("format") == "int8":
        return "weights-int8"
    if options.get("format") != "int4" or options.get("head_bits") == BITS:
        return None
    return "weights-mixed" if options.get("int8_share", 0) >= MIXED else "weights-int4"


def rounded_answers(
    open_reference: OpenReference,
    method: Method | None,
    ask: Callable[[ReferenceModel], Answers],
    exact: Answers,
) -> Rounded:
    """How far what `ask` gives moves from the `exact` answers (..., width) in a reference that rounds.

    One rounding says it where answers have many numbers, and no few of them are far more wrong than the rest, as they
    are where a token goes to another expert. Otherwise more are asked.
    """
    if method is None:
        return Rounded()
    wide = all(each.shape[-1] >= WIDE for each in exact)
    draws: list[list[np.ndarray]] = []
    while True:
        with closing(open_reference(Rounding(method, len(draws)))) as reference:
            draws.append([row_errors(*pair) for pair in zip(ask(reference), exact, strict=True)])
        found = Rounded([np.stack(each) for each in zip(*draws, strict=True)])
        if len(draws) == DRAWS or (wide and found.chance < CHANCE):
            return found


def rounding_findings(name: str, ours: Answers, theirs: Answers, rounded: Rounded, limits: Limits) -> list[Finding]:
    """The engine's errors over those of rounding: all of them, and the worst answer's.

    Args:
        name: what was asked.
        ours, theirs: answers (..., width) of the engine, and the reference's in float32.
        rounded: of the same answers.
        limits: whose noise is the least that an error of rounding can be.
    """
    if not rounded.errors:
        return []
    errors, expected = np.concatenate([row_errors(*pair) for pair in zip(ours, theirs, strict=True)]), rounded.whole
    whole = _root_mean_square(errors) / max(_root_mean_square(expected), limits.noise.error)
    worst = float(errors.max()) / max(float(expected.max()), limits.noise.error)
    # Both mean squares have the standard error of one rounding; that of several is smaller.
    spare: float = (1 + DEVIATIONS * rounded.chance * (1 + 1 / len(expected)) ** 0.5) ** 0.5
    return [
        limits.by_rounding(f"{name}.rounding.ratio", whole, errors.size, spare),
        limits.by_rounding(f"{name}.rounding.worst", worst, errors.size, WORST * spare),
    ]


def row_errors(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Root mean square differences along the last axis, (..., width) twice -> (rows,) float64."""
    differences = np.subtract(ours, theirs, dtype=np.float64)
    found: np.ndarray = np.sqrt(np.square(differences).mean(axis=-1)).reshape(-1)
    return found


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
