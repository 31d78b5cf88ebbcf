"""A fault on trial: how large is its effect, and does the check find it?"""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from compiler.check import check
from compiler.checkpoint.marks import marks
from compiler.corpus import evaluation_text
from compiler.engines import Feeds, Session
from compiler.errors import CompilerError
from compiler.records import Budget, Finding
from tests.planted.exact import exact_answers
from tests.planted.fault import Fault
from tests.planted.probes import Answers, engine_answers, with_matrices
from tests.planted.subjects import Subject

# So many times the model's own error is an effect that the check has to see: in float32, where that is rounding noise,
# as wide as its limits are; in narrower precisions, where most of it is the quantization's.
FACTOR, NARROW_FACTOR = 10.0, 4.0

TEXTS = 40  # of the evaluation text's topics


@dataclass(frozen=True)
class Outcome:
    """What became of a fault.

    Attributes:
        precision: of the engine.
        effect: the largest change of an answer to the probes: of a number in float32; in narrower precisions of a whole
            answer (one position's logits, one token's vector), root mean square. Infinity where the engine refuses.
        noise: how far the right engine is from PyTorch in float64, on the same.
        scale: the largest of the right answers.
        reasons: findings that failed, or the error that the check ended with; empty where it passed.
    """

    fault: Fault
    kind: str
    precision: str
    effect: float
    noise: float
    scale: float
    reasons: tuple[str, ...]
    seconds: float

    @property
    def above(self) -> bool:
        return self.effect > (FACTOR if self.precision == "float32" else NARROW_FACTOR) * self.noise

    @property
    def missed(self) -> bool:
        return self.above and not self.reasons


class Trial:
    """One subject, and what is known of it without a fault."""

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        with subject.opened() as session:
            self.right = engine_answers(session, subject.manifest, subject.adapters)
        exact = exact_answers(subject)
        self.difference = largest_difference if subject.precision == "float32" else worst_answer
        self.noise = self.difference(self.right, exact)
        self.scale = max(float(np.abs(answer).max()) for found in exact.values() for answer in found)

    def __call__(self, fault: Fault, budget: Budget | None = None) -> Outcome:
        """Plant the fault, measure, and check."""
        subject = self.subject
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for which in ("", "encoder") if subject.manifest.encoder else ("",):
                graph = subject.graph(which)
                if fault.edit is not None and which == fault.graph:
                    fault.edit(graph)
                (folder / subject.file(which)).parent.mkdir(parents=True, exist_ok=True)
                ir.save(graph, folder / subject.file(which))
            started = time.perf_counter()
            try:
                with subject.opened(folder) as opened:
                    session = fault.wrap(opened) if fault.wrap else opened
                    adapters = subject.adapters
                    if fault.matrices:
                        adapters = fault.matrices(adapters)
                    effect = self._effect(session, adapters)
                    reasons = self._check(session, adapters, budget or subject.budget)
            except CompilerError as error:  # the engine does not even open it
                effect, reasons = float("inf"), (str(error).splitlines()[0],)
        return Outcome(
            fault=fault,
            kind=subject.manifest.kind,
            precision=subject.precision,
            effect=effect,
            noise=self.noise,
            scale=self.scale,
            reasons=reasons,
            seconds=time.perf_counter() - started,
        )

    def findings(self, session: Session, adapters: Mapping[str, Feeds], budget: Budget) -> list[Finding]:
        """All of the check's, those of adapters included."""
        subject = self.subject
        checked = check(
            session,
            subject.manifest,
            subject.reference,
            evaluation_text()[:TEXTS],
            budget=budget,
            tokenizer=subject.folder / "tokenizer.json",
            marks=marks(subject.checkpoints[""]),
            passes=subject.passes,
            adapters={
                name: (with_matrices(session, matrices), functools.partial(subject.reference, adapter=name))
                for name, matrices in adapters.items()
            },
        )
        return [*checked.findings, *(each for found in checked.adapters.values() for each in found)]

    def _check(self, session: Session, adapters: Mapping[str, Feeds], budget: Budget) -> tuple[str, ...]:
        try:
            found = self.findings(session, adapters, budget)
        except CompilerError as error:
            return (str(error).splitlines()[0],)
        return tuple(dict.fromkeys(each.name for each in found if not each.passed))

    def _effect(self, session: Session, adapters: Mapping[str, Feeds]) -> float:
        try:
            return self.difference(engine_answers(session, self.subject.manifest, adapters), self.right)
        except CompilerError:
            return float("inf")


def largest_difference(ours: Mapping[str, Answers], theirs: Mapping[str, Answers]) -> float:
    """Over all answers; infinity where one is not finite or of another shape."""
    worst = 0.0
    for name, found in ours.items():
        for one, other in zip(found, theirs[name], strict=True):
            if one.shape != other.shape or not np.isfinite(one).all():
                return float("inf")
            worst = max(worst, float(np.abs(one.astype(np.float64) - other).max(initial=0.0)))
    return worst


def worst_answer(ours: Mapping[str, Answers], theirs: Mapping[str, Answers]) -> float:
    """Root mean square difference of the worst answer, one row of the last axis; infinity as above."""
    worst = 0.0
    for name, found in ours.items():
        for one, other in zip(found, theirs[name], strict=True):
            if one.shape != other.shape or not np.isfinite(one).all():
                return float("inf")
            squares = np.square(one.astype(np.float64) - other).mean(axis=-1)
            worst = max(worst, float(np.sqrt(squares.max(initial=0.0))))
    return worst
