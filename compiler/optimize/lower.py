"""optimize: the portable model, lowered for one profile by passes in order, each under the numeric guard."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from compiler.bundle import PLANS
from compiler.errors import PassError
from compiler.optimize.execute import Executor
from compiler.optimize.files import load, save
from compiler.optimize.guard import Guard, Judgement
from compiler.optimize.passes.base import ANY_X86, Context, Feeds, Pass
from compiler.optimize.quantize.observe import fitted
from compiler.optimize.signature import cache_shape, tensors
from compiler.optimize.widen import widened
from compiler.records import Exported, Graph, Optimized, PassRun, Requires

Observer = Callable[[ir.Model, PassRun], None]


class Step(NamedTuple):
    """One pass under the guard: the graph to go on with (rewritten, or as before), and what raised, if anything."""

    model: ir.Model
    run: PassRun
    cause: Exception | None


def optimize(
    folder: Path,
    exported: Exported,
    passes: Sequence[Pass],
    *,
    profile_name: str,
    target: Requires = ANY_X86,
    precision: str,
    out: Path,
    calibration: Callable[[], Sequence[Feeds]],
    rare: Callable[[], Sequence[Feeds]] = tuple,
    observers: Sequence[Observer] = (),
    strict: bool = False,
) -> Optimized:
    """Apply `passes` to `folder / exported.model` and write the lowered model into `out`.

    `target` is what every machine that the model is for has.

    A pass that raises, or that the guard finds to change answers, is undone and recorded with `kept=False`; one that
    gives the model its precision is never left out, since the model would not be what it is called. After
    each pass every observer is called with the graph as it then stands and what the pass did.

    Raises:
        PassError: a pass failed or changed answers, and it decides the precision or `strict` asks for all of them.
        CheckpointError: the portable model itself gives NaN or infinity.
        EngineError: ONNX Runtime cannot run the portable model.
        StorageError: `out` cannot be written.
    """
    started = time.perf_counter()
    runs: list[PassRun] = []
    counts: Counter[str] = Counter()

    def lower(part: Exported, graph: str = "") -> ir.Model:
        model = load(folder / part.model)
        context = Context(part, functools.cache(calibration), target, functools.cache(rare))
        guard = Guard(model, part)
        for pass_ in passes:
            step = _apply(pass_, model, context, guard, graph)
            if not step.run.kept and (strict or pass_.lossy):
                raise _refused(step.run, runs, precision if pass_.lossy else None) from step.cause
            model = step.model
            runs.append(step.run)
            for observe in observers:
                observe(model, step.run)
        whole = widened(model)
        if whole is not model:  # only plans can be built from it; ONNX Runtime runs its numbers, widened
            save(model, out / PLANS / part.model)
        save(whole, out / part.model)
        counts.update(node.op_type for node in model.graph)
        return model

    encoder: Graph | None = None
    if exported.encoder:
        reading = lower(encoder_alone(exported, exported.encoder), "encoder")
        inputs, outputs = tensors(reading.graph.inputs), tensors(reading.graph.outputs)
        encoder = Graph(model=exported.encoder.model, inputs=inputs, outputs=outputs)
        calibration, rare = (functools.partial(_with_encoded, reading, each) for each in (calibration, rare))
    model = lower(exported)
    return Optimized(
        exported=exported,
        profile=profile_name,
        precision=precision,
        model=exported.model,
        inputs=tensors(model.graph.inputs),
        outputs=tensors(model.graph.outputs),
        passes=tuple(runs),
        op_counts=dict(counts.most_common()),
        cache=cache_shape(model, exported),
        encoder=encoder,
        seconds=time.perf_counter() - started,
    )


def _with_encoded(encoder: ir.Model, calibration: Callable[[], Sequence[Feeds]]) -> Sequence[Feeds]:
    """Texts for the decoder to go through, each with what the encoder makes of the same text."""
    feeds = calibration()
    encoded = Executor().run(encoder, [fitted(encoder.graph.inputs, feed) for feed in feeds])
    return [
        {**feed, **made, "encoder_attention_mask": feed["attention_mask"]}
        for feed, made in zip(feeds, encoded, strict=True)
    ]


def encoder_alone(exported: Exported, encoder: Graph) -> Exported:
    """An encoder-decoder's encoder as if it were a model of its own."""
    return msgspec.structs.replace(
        exported,
        kind="encoder",
        model=encoder.model,
        inputs=encoder.inputs,
        outputs=encoder.outputs,
        encoder=None,
        cache=None,
    )


def _apply(pass_: Pass, model: ir.Model, context: Context, guard: Guard, graph: str) -> Step:
    started = time.perf_counter()
    before = model.clone()
    modified, cause = True, None
    try:
        modified = pass_.apply(model, context)
        if modified:
            RemoveUnusedNodesPass()(model)
        judgement = guard.judge(before, model, lossy=pass_.lossy) if modified else Judgement(None)
    except Exception as error:  # noqa: BLE001 - a pass may fail in any way; it is recorded, or raised by `strict`
        cause, judgement = error, Judgement(None, f"{type(error).__name__}: {error}")
    kept = not judgement.reason
    result = model if kept else before
    run = PassRun(
        name=pass_.name,
        options=dataclasses.asdict(pass_),
        modified=modified,
        kept=kept,
        nodes_before=len(before.graph),
        nodes_after=len(result.graph),
        seconds=time.perf_counter() - started,
        error=judgement.error,
        reason=judgement.reason,
        graph=graph,
    )
    return Step(result, run, cause)


def _refused(run: PassRun, earlier: Sequence[PassRun], precision: str | None) -> PassError:
    remove = f'remove "{run.name}" from the profile, or build without --strict to go on without it'
    before = ", ".join(done.name for done in earlier if done.modified and done.kept) or "none"
    return PassError(
        f'pass "{run.name}" was refused',
        found=run.reason,
        expected=f"unchanged answers; passes applied before it: {before}",
        action=f'"{precision}" cannot be had without it; choose another --precision' if precision else remove,
    )
