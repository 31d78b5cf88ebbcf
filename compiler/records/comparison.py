"""What was found by comparing a candidate with the baseline it is to replace."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from compiler.figures import all_beside, apart
from compiler.records.base import SCHEMA_VERSION, Record
from compiler.records.proof import Machine, Unsteady
from compiler.records.sealed import Certificate, Manifest

Word = Literal["better", "same", "worse", "failed", "not enough data"]
Part = Literal[
    "checkpoint",
    "precision",
    "fusions",
    "passes",
    "operators",
    "sizes",
    "engine",
    "graph",
    "tokenizer",
    "chat template",
    "configuration",
    "toolchain",
    "machine",
]
Subject = Literal["latency", "memory", "size", "quality", "parity", "certificate", "fusions", "precision"]

LARGEST_WHOLE = 2**53  # beyond it float64 holds no fractions


class Baseline(Record, frozen=True):
    """A release to compare later ones with, without its weights. `precisions` is by module path.

    `bundle` is the SHA-256 of the bundle's manifest, and `digest` that of everything else here; empty in older files.
    """

    name: str
    certificate: Certificate
    manifest: Manifest
    precisions: dict[str, str] = msgspec.field(default_factory=dict)
    bundle: str = ""
    digest: str = ""
    schema_version: int = SCHEMA_VERSION


class Side(Record, frozen=True):
    """One of the two that were compared. `verdict` is its certificate's.

    `unsteady` are those of its stored series that were compared although other work disturbed them. `sealed`: a digest
    says that it is as it was saved; nobody asks that of a lone certificate.
    """

    kind: Literal["bundle", "certificate", "baseline"]
    location: str
    task: str
    profile: str
    precision: str
    source_digest: str
    created: str
    verdict: Literal["pass", "fail"]
    unsteady: tuple[Unsteady, ...] = ()
    sealed: bool = True

    @property
    def notes(self) -> list[str]:
        """What a person has to know of it before the figures, a sentence each."""
        noisy = ", ".join(each.text for each in self.unsteady)
        said = {
            f"{self.location} is outside its own budget": self.verdict == "fail",
            f"{self.location}: not steady when it was measured, no figures to rely on: {noisy}": bool(noisy),
            f"{self.location} was saved without a digest: nothing shows whether it was changed": not self.sealed,
        }
        return [note for note, holds in said.items() if holds]


class Shown(NamedTuple):
    """Numbers of a verdict as text, without units; empty where there is none."""

    baseline: str
    candidate: str
    change: str
    low: str
    high: str
    margin: str


def _values(baseline: float | None, candidate: float) -> tuple[str, str]:
    """Whole numbers are written in full."""
    if all(float(value or 0).is_integer() and abs(value or 0) < LARGEST_WHOLE for value in (baseline, candidate)):
        return "" if baseline is None else f"{baseline:,.0f}", f"{candidate:,.0f}"
    return ("", f"{candidate:.4g}") if baseline is None else apart(baseline, candidate)


class Verdict(Record, frozen=True):
    """One metric of both sides, and what may be said about the change.

    `change` is the candidate against the baseline, its sign turned so that more than 0 is worse: a share of the
    baseline's value where `relative` ("0.08" is 8 % slower), of parity a share of the limit unless `in_unit` (a limit
    that allows nothing has no shares), else in `unit`. `baseline` and `change` are None where the baseline has no such
    finding, and the candidate's is not within its limit. `low` and `high` are the change's 95 % confidence interval;
    None where the values are exact. `margin` is the change that the gate allows. The `word` "failed" is of a candidate
    that its own certificate fails, whatever the baseline's says. `samples` is per side. `more` is about how many more
    samples per side would decide, with "not enough data" and where it can be told. `code` is the reason code if the
    gate is broken ("latency-increase:latency_1x128"). `p_value` is of `test`. Where not `steady`, other work disturbed
    the stored samples: they cannot show that the candidate is as good, though they may show that it is worse.
    """

    subject: Subject
    name: str
    unit: str
    better: Literal["lower", "higher"]
    baseline: float | None
    candidate: float
    change: float | None
    relative: bool
    low: float | None
    high: float | None
    samples: int
    margin: float
    word: Word
    broken: bool
    code: str
    test: str
    p_value: float | None = None
    more: int | None = None
    in_unit: bool = False
    steady: bool = True

    @property
    def wanted(self) -> str:
        """What would decide, where there is not enough data."""
        if not self.steady:
            return "measure again while nothing else runs"
        return "more samples will not decide" if self.more is None else f"about {self.more} more samples would decide"

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has two ends, or none")

    @property
    def scale(self) -> tuple[float, str]:
        """Factor and unit in which a person reads the change, its interval and the margin."""
        if self.relative:
            return 100, "%"
        return (100, "% of the limit") if self.subject == "parity" and not self.in_unit else (1, self.unit)

    @property
    def shown(self) -> Shown:
        """The numbers as text: one sees which of two values is larger, and which change is beyond the margin."""
        factor, _ = self.scale
        changes = [factor * value for value in (self.change, self.low, self.high) if value is not None]
        texts, margin = all_beside(changes, factor * self.margin, "+")
        change, low, high = [*texts, "", "", ""][:3]
        return Shown(*_values(self.baseline, self.candidate), change, low, high, margin)

    @property
    def changed(self) -> str:
        """The change with its unit."""
        return f"{self.shown.change} {self.scale[1]}" if self.shown.change else "not within the limit"

    @property
    def interval(self) -> str:
        """The interval of the change with its unit."""
        shown, (_, unit) = self.shown, self.scale
        return f"{shown.low} {unit} to {shown.high} {unit}" if shown.low else "exact"

    @property
    def allowed(self) -> str:
        """The margin with its unit."""
        return f"{self.shown.margin} {self.scale[1]}"


class Timing(Record, frozen=True):
    """Raw samples of one series, by round: the two were measured in turns, or their rounds are of stored runs."""

    name: str
    unit: str
    baseline: tuple[tuple[float, ...], ...]
    candidate: tuple[tuple[float, ...], ...]


class Cause(Record, frozen=True):
    """A difference that can explain broken gates, the likeliest first. `explains` are the reason codes."""

    kind: Part | Literal["certificate", "unknown"]
    subject: str
    baseline: str
    candidate: str
    explains: tuple[str, ...]

    @property
    def text(self) -> str:
        """`kind subject: baseline -> candidate`; of an unknown one, and of a certificate, what is known."""
        if self.kind in ("certificate", "unknown"):
            return self.subject
        named = " ".join(part for part in (self.kind, self.subject) if part)
        return f"{named}: {self.baseline or 'none'} -> {self.candidate or 'none'}"


class Token(Record, frozen=True):
    """A token and how much it moved the two answers apart: the swing with it, less the swing without it.

    `index` counts the tokens of the item, special ones included, or its words where each has an answer. `text` only
    where texts are included.
    """

    index: int
    influence: float
    text: str | None = None


class Flip(Record, frozen=True):
    """An answer that differs. `item` is its row in the data, from 0.

    `place` is the word whose answer it is, or the token of two generated texts at which they part, from 0.
    `baseline_margin` is the probability that the baseline gives its own answer, less what it gives the candidate's;
    `candidate_margin` the same the other way round. Their sum is the `swing`. `tokens` decided, the strongest first.
    `text` (of a pair both, one a line) only where texts are included; `baseline` and `candidate` are texts then too,
    else labels, places and numbers of tokens.
    """

    item: int
    baseline: str
    candidate: str
    baseline_margin: float
    candidate_margin: float
    tokens: tuple[Token, ...] = ()
    text: str | None = None
    place: int | None = None

    @property
    def swing(self) -> float:
        return self.baseline_margin + self.candidate_margin


class Flips(Record, frozen=True):
    """All answers that differ, the largest swing first. The strongest have tokens.

    `answers` is how many were compared: one for each of the `items`, or one for each of their words.
    """

    data: str
    items: int
    answers: int
    flips: tuple[Flip, ...]


class Change(Record, frozen=True):
    """A row of what changed. An empty string: that side has none. `part` groups rows."""

    part: Part
    name: str
    baseline: str
    candidate: str


class Compared(Record, frozen=True):
    """The comparison. It fails with the reason code of every broken gate; `undecided` names what lacks data.

    `machine` is where it was made, `seconds` how long it took.
    """

    verdict: Literal["pass", "fail"]
    reasons: tuple[str, ...]
    undecided: tuple[str, ...]
    baseline: Side
    candidate: Side
    verdicts: tuple[Verdict, ...]
    causes: tuple[Cause, ...]
    changes: tuple[Change, ...]
    timings: tuple[Timing, ...]
    flips: Flips | None
    machine: Machine
    created: str
    seconds: float
    schema_version: int = SCHEMA_VERSION
