"""One change against the margin that its gate allows: better, same, worse, or not enough data."""

from __future__ import annotations

from math import ceil
from typing import Literal

from compiler.records.comparison import Subject, Verdict, Word
from compiler.statistics import Estimate

FARTHEST = 10_000  # times the samples: beyond, more of them do not decide


def word(change: Estimate, margin: float) -> Word:
    """What the interval of a change says, where more than 0 is worse.

    worse: all of it is over the margin. same: all of it is within. better: all of it is under 0, and some of it under
    the negative margin. Anything else is not enough data.
    """
    if change.low > margin:
        return "worse"
    if -margin <= change.low and change.high <= margin:
        return "same"
    if change.high < 0:
        return "better"
    return "not enough data"


def more_samples(change: Estimate, margin: float, samples: int) -> int | None:
    """About how many more samples would decide, if the interval shrinks with their square root and the change stays.

    0 when it is decided, None when no number helps: the change lies on the margin itself.
    """
    times = 1.0
    while times <= FARTHEST:
        shrunk = times**-0.5
        value, low, high = change
        if word(Estimate(value, value - (value - low) * shrunk, value + (high - value) * shrunk), margin) != (
            "not enough data"
        ):
            return ceil(samples * (times - 1))
        times *= 1.05
    return None


def judged(
    subject: Subject,
    name: str,
    values: tuple[float | None, float],
    change: Estimate | None,
    *,
    unit: str,
    better: Literal["lower", "higher"] = "lower",
    relative: bool = False,
    margin: float,
    enforce: bool,
    code: str,
    samples: int,
    test: str,
    p_value: float | None = None,
    least: int = 0,
    in_unit: bool = False,
    failed: bool = False,
) -> Verdict:
    """The verdict of one metric; see its record.

    Args:
        values: of the baseline and the candidate.
        change: more than 0 is worse; an interval without width is an exact value. None: worse, by no number.
        enforce: whether "worse" or "failed" breaks a gate; `code` is the reason code then.
        least: more samples without which nothing can be said.
        failed: by its own certificate.
    """
    interval = None if change is None or change.low == change.high else (change.low, change.high)
    said: Word = "worse" if change is None else "not enough data" if least else word(change, margin)
    more = more_samples(change, margin, samples) if change and said == "not enough data" else None
    said = "failed" if failed else said
    broken = enforce and said in ("worse", "failed")
    return Verdict(
        subject=subject,
        name=name,
        unit=unit,
        better=better,
        baseline=values[0],
        candidate=values[1],
        change=None if change is None else change.value + 0.0,  # no -0
        relative=relative,
        low=interval and interval[0],
        high=interval and interval[1],
        samples=samples,
        margin=margin,
        word=said,
        broken=broken,
        code=code if broken else "",
        test=test,
        p_value=p_value,
        more=None if more is None else max(more, least),
        in_unit=in_unit,
    )


def exactly(change: float) -> Estimate:
    """A change without doubt."""
    return Estimate(change, change, change)
