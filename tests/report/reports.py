"""Records that a report can show, filled with everything it has a place for."""

from __future__ import annotations

from hashlib import sha256

from msgspec.structs import replace

from compiler.records import Evaluated, Metric, System
from compiler.records.comparison import Cause, Change, Compared, Flip, Flips, Side, Timing, Token, Verdict
from compiler.records.divergence import Diverged, Layer
from compiler.records.document import Entry, Report
from tests.report.test_page import BAD, GOOD, MACHINE, SHOWN, certificate, runner

SECRET = "my secret diary"

LAYERS = tuple(
    Layer(
        module=f"model.layers.{i}",
        error=error,
        scale=2.0,
        noise=1e-6,
        samples=4096,
        limit=1e-5,
        precision="int8",
    )
    for i, error in enumerate((0.0, 2e-6, 0.5, None))
)
DIVERGED = Diverged(
    precision="float32",
    first="model.layers.2",
    culprit="model.layers.2.mlp",
    layers=LAYERS,
    within=(replace(LAYERS[2], module="model.layers.2.mlp"), replace(LAYERS[1], module="model.layers.2", limit=None)),
    skipped=("pooler",),
    measure="the largest absolute difference",
    basis="10 times PyTorch's own noise",
    seconds=1.5,
)

SIDE = Side(
    kind="bundle",
    location="artifacts/before",
    task="text-classification",
    profile="cpu-x86-avx2",
    precision="float32",
    source_digest="ab" * 32,
    created="2026-11-24T06:00:00+00:00",
    verdict="pass",
)
COMPARED = Compared(
    verdict="fail",
    reasons=("latency-increase:latency_1x32",),
    undecided=("accuracy",),
    baseline=SIDE,
    candidate=replace(SIDE, location="artifacts/after", precision="int8"),
    verdicts=(
        Verdict(
            subject="latency",
            name="latency_1x32",
            unit="ms",
            better="lower",
            baseline=2.07,
            candidate=2.31,
            change=0.1159,
            relative=True,
            low=0.09,
            high=0.14,
            samples=60,
            margin=0.03,
            word="worse",
            broken=True,
            code="latency-increase:latency_1x32",
            test="bootstrap",
        ),
        Verdict(
            subject="quality",
            name="accuracy",
            unit="share",
            better="higher",
            baseline=0.91,
            candidate=0.9,
            change=0.01,
            relative=False,
            low=-0.02,
            high=0.04,
            samples=200,
            margin=0.01,
            word="not enough data",
            broken=False,
            code="",
            test="McNemar",
            p_value=0.4,
            more=1500,
        ),
    ),
    causes=(
        Cause(
            kind="fusions", subject="BiasGelu", baseline="6", candidate="", explains=("latency-increase:latency_1x32",)
        ),
    ),
    changes=(Change(part="precision", name="model", baseline="float32", candidate="int8"),),
    timings=(
        Timing(name="latency_1x32", unit="ms", baseline=((2.0, 2.1), (2.1, 2.05)), candidate=((2.3, 2.4), (2.2, 2.5))),
    ),
    flips=Flips(
        data="reviews.jsonl",
        items=200,
        answers=200,
        flips=(
            Flip(
                item=17,
                baseline=f"{SECRET} good",
                candidate=f"{SECRET} bad",
                baseline_margin=0.2,
                candidate_margin=0.1,
                tokens=(Token(index=3, influence=0.15, text=f"{SECRET} token"),),
                text=f"{SECRET} text",
            ),
        ),
    ),
    machine=MACHINE,
    created="2026-11-24T07:00:00+00:00",
    seconds=9.0,
)


def digest(name: str) -> str:
    """Of the bundle of that name, as evaluations have it."""
    return sha256(name.encode()).hexdigest()


EVALUATED = Evaluated(
    task="text-classification",
    data="reviews.jsonl",
    data_digest="cd" * 32,
    items=2,
    seed=0,
    systems=tuple(
        System(
            name=name,
            location=f"artifacts/{name}",
            digest=digest(name),
            metrics=(
                Metric(name="accuracy", value=value, unit="share", better="higher", low=0.85, high=0.95, samples=2),
            ),
            answers=(f"{SECRET} one", f"{SECRET} two"),
        )
        for name, value in (("before", 0.91), ("after", 0.9))
    ),
    machine=MACHINE,
    seconds=3.0,
)


def entry(name: str, precision: str, milliseconds: float, *, failed: bool = False) -> Entry:
    of = certificate(*((GOOD, SHOWN, BAD) if failed else (GOOD, SHOWN)))
    assert of.measured is not None
    samples = tuple(milliseconds * (1 + 0.01 * i) for i in range(12))
    measured = replace(of.measured, engine=runner("onnxruntime-cpu", samples, 23_456_789))
    of = replace(of, precision=precision, measured=measured)
    return Entry(
        name=name,
        location=f"artifacts/{name}",
        certificate=of,
        size_bytes=45_678_901,
        digest=f"sha256:{digest(name)}",
    )


ONE = Report(entries=(entry("before", "float32", 4.0),), divergences=(DIVERGED,))
ALL = Report(
    entries=(entry("before", "float32", 4.0), entry("after", "int8-dynamic", 2.0, failed=True)),
    evaluations=(EVALUATED,),
    comparisons=(COMPARED,),
    divergences=(DIVERGED,),
    texts=True,
)
