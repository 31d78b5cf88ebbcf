"""Build: the model's files, and of every graph a plan for every target."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from compiler.bundle import PLANS
from compiler.engines.onnxruntime import cpu as onnxruntime_cpu
from compiler.engines.plans import files as plans
from compiler.engines.plans import shapes
from compiler.engines.plans.capabilities import check_flavor, check_formats, target_of
from compiler.engines.plans.shapes import InputShapes
from compiler.engines.tensorrt import flavors, identity
from compiler.engines.tensorrt.builder import settings, sources
from compiler.engines.tensorrt.builder.jobs import PlanJob, run_job
from compiler.engines.tensorrt.builder.sources import Source
from compiler.engines.tensorrt.flavors import Flavor
from compiler.errors import ProfileError
from compiler.machine import detect
from compiler.progress import Report, unreported
from compiler.records import Built, EngineOptions, Gpu, Optimized, Plan, PlanOptions, Shapes, Tensor


class Job(NamedTuple):
    """What builds for one target, and how. `gpu` is the one that a session would run on, where there is one.

    `device` is its number.
    """

    target: str
    flavor: Flavor
    asked: PlanOptions
    gpu: Gpu | None
    device: int


class Graph(NamedTuple):
    """One of a model's graphs; `name` as in `Plan.graph`."""

    name: str
    source: Source
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def ready(options: EngineOptions, formats: Collection[str] = ()) -> None:
    """See `Engine.ready`. Raises ProfileError where no target is named, or one that is unknown."""
    _jobs(options, formats)


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported) -> Built:
    """See `Engine.build`. What this machine, the targets or the shapes rule out is refused before anything is made.

    Raises:
        ProfileError: a mistake in the targets or the shapes.
    """
    started = time.perf_counter()
    jobs = _jobs(options, frozenset().union(*(graph.source.formats for graph in _graphs(optimized, folder))))
    buckets = _buckets(optimized, jobs[0].asked)
    report("the model itself", 0, 0)
    made = onnxruntime_cpu.build(optimized, folder, out, options)
    narrow = _copy_narrow(folder, out)
    graphs = list(_graphs(optimized, out))
    built = tuple(_plan(job, graph, buckets, out, report) for job in jobs for graph in graphs)
    return msgspec.structs.replace(
        made,
        engine=identity.name,
        engine_version=identity.version(),
        files=(*made.files, *narrow, *(plan.file for plan in built)),
        plans=built,
        seconds=round(time.perf_counter() - started, 3),
    )


def _jobs(options: EngineOptions, formats: Collection[str]) -> list[Job]:
    asked = options.plans or PlanOptions()
    if not asked.targets:
        raise ProfileError(
            "no target to build plans for",
            expected="compute capabilities, as in sm89",
            action="name them with --target, or as targets in the profile",
        )
    gpus = detect().gpus
    gpu = gpus[options.device] if options.device < len(gpus) else None
    present = [target_of(gpu.compute_capability)] if gpu else []
    jobs = [
        Job(target, flavors.flavor_for(target, present), asked, gpu, options.device)
        for target in dict.fromkeys(asked.targets)
    ]
    for job in jobs:
        settings.check(asked, job.flavor, job.target, driver=gpu is not None)
    check_formats([job.target for job in jobs], formats)
    for job in jobs:
        check_flavor(job.flavor.name, job.target, formats)
    return jobs


def _graphs(optimized: Optimized, folder: Path) -> Iterator[Graph]:
    yield Graph("", _source(folder, optimized.model), optimized.inputs, optimized.outputs)
    if encoder := optimized.encoder:
        yield Graph("encoder", _source(folder, encoder.model), encoder.inputs, encoder.outputs)


def _source(folder: Path, model: str) -> Source:
    """What plans are built from: the model, or the one among the plans whose formats ONNX Runtime cannot read."""
    narrow = folder / PLANS / model
    return sources.read(narrow if narrow.is_file() else folder / model)


def _copy_narrow(folder: Path, out: Path) -> list[str]:
    """Copy the models that only plans can be built from; their names, relative to `out`."""
    names = [path.relative_to(folder).as_posix() for path in sorted((folder / PLANS).glob("*.onnx*"))]
    for name in names:
        (out / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / name, out / name)
    return names


def _buckets(optimized: Optimized, asked: PlanOptions) -> tuple[Shapes, ...]:
    """What the options ask for, for this model. Adapters that a request can choose have any rank up to the largest."""
    inputs = [optimized.inputs, *([optimized.encoder.inputs] if optimized.encoder else ())]
    capacity = optimized.cache.capacity if optimized.cache else None
    rank = max((adapter.rank for adapter in optimized.exported.adapters), default=0)
    named = [{"rank": (0, rank, rank), **bucket} for bucket in asked.shapes or [{}]] if rank else asked.shapes
    return shapes.buckets(named, inputs, optimized.exported.context_length, capacity)


def _plan(job: Job, graph: Graph, buckets: Sequence[Shapes], out: Path, report: Report) -> Plan:
    """Build and write one plan."""
    started = time.perf_counter()
    file = plans.file_name(job.target, graph.name)
    profiles = _profiles(graph, buckets)
    made = run_job(
        PlanJob(
            model=graph.source.model.relative_to(out).as_posix(),
            graph=graph.name,
            file=file,
            flavor=job.flavor.name,
            target=job.target,
            options=job.asked,
            profiles=profiles,
            nodes=graph.source.nodes,
            inputs=graph.inputs,
            outputs=graph.outputs,
            gpu=job.gpu,
            device=job.device,
        ),
        out,
        report,
    )
    plan = Plan(
        target=job.target,
        graph=graph.name,
        file=file,
        sha256=made.sha256,
        size=made.size,
        flavor=job.flavor.name,
        version=job.flavor.version,
        flags=made.flags,
        optimization_level=job.asked.optimization_level,
        hardware_compatible=job.asked.hardware_compatible,
        shapes=profiles,
        inputs=made.inputs,
        outputs=made.outputs,
        layers=made.layers,
        model_sha256=plans.model_digest(graph.source.model, graph.source.weights),
        stripped=job.asked.strip,
        key="",
        seconds=round(time.perf_counter() - started, 3),
    )
    here = job.gpu if job.flavor.name == "tensorrt" else None
    return msgspec.structs.replace(plan, key=plans.key(plan, workspace_bytes=job.asked.workspace_bytes, gpu=here))


def _profiles(graph: Graph, buckets: Sequence[Shapes]) -> tuple[InputShapes, ...]:
    """One optimization profile for each bucket that differs in this graph."""
    profiles: list[InputShapes] = []
    for bucket in buckets:
        each = shapes.input_shapes(bucket, graph.inputs)
        if each not in profiles:
            profiles.append(each)
    return tuple(profiles)
