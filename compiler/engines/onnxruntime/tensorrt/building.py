"""Compile every graph for the GPU that is here, and put the engines beside the model."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from compiler.engines.onnx_file import copy, weight_files
from compiler.engines.onnxruntime.placement import describe
from compiler.engines.onnxruntime.tensorrt import identity, packing
from compiler.engines.onnxruntime.tensorrt.installed import library_version, target
from compiler.engines.onnxruntime.tensorrt.provider import provider
from compiler.engines.plans import files as plans
from compiler.engines.plans.shapes import InputShapes, buckets, input_shapes
from compiler.engines.sample_inputs import sample
from compiler.errors import EngineError
from compiler.progress import Report
from compiler.records import Built, EngineOptions, Optimized, Placement, Plan, PlanOptions, Tensor
from compiler.records.engine import Shapes


class Graph(NamedTuple):
    """One of a model's graphs; `name` as in `Plan.graph`."""

    name: str
    model: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report) -> Built:
    """See `Engine.build`."""
    started = time.perf_counter()
    graphs = list(_graphs(optimized))
    capacity = optimized.cache.capacity if optimized.cache else None
    asked = (options.plans or PlanOptions()).shapes
    ranges = buckets(asked, [graph.inputs for graph in graphs], optimized.exported.context_length, capacity)
    files = copy(optimized, folder, out)
    made: list[Plan] = []
    placement: list[Placement] = []
    for number, graph in enumerate(graphs):
        report(f"TensorRT: {graph.model}", number, len(graphs))
        plan, rows = _compile(graph, ranges, out, options)
        made.append(plan)
        placement += [msgspec.structs.replace(row, graph=graph.name) for row in rows]
    return Built(
        engine=identity.name,
        engine_version=identity.version(),
        model=optimized.model,
        files=(*files, *(plan.file for plan in made)),
        options=options,
        placement=tuple(placement),
        seconds=round(time.perf_counter() - started, 3),
        plans=tuple(made),
    )


def _graphs(optimized: Optimized) -> Iterator[Graph]:
    yield Graph("", optimized.model, optimized.inputs, optimized.outputs)
    if encoder := optimized.encoder:
        yield Graph("encoder", encoder.model, encoder.inputs, encoder.outputs)


def _compile(
    graph: Graph, ranges: Sequence[Shapes], out: Path, options: EngineOptions
) -> tuple[Plan, tuple[Placement, ...]]:
    """The engines of one graph, and what ran where in one call of it."""
    started = time.perf_counter()
    profiles: list[InputShapes] = []
    for bucket in ranges:
        if (each := input_shapes(bucket, graph.inputs)) not in profiles:
            profiles.append(each)
    usual = {name: size for name, (_, size, _) in ranges[0].items()}
    feeds = {tensor.name: sample(tensor, usual) for tensor in graph.inputs}
    plain = msgspec.structs.replace(options, cuda_graph=False)
    with tempfile.TemporaryDirectory() as scratch:
        rows = describe(out / graph.model, plain, feeds, provider(plain, Path(scratch), graph.inputs, profiles))
        if not any(path.suffix == ".engine" for path in Path(scratch).iterdir()):
            raise EngineError(
                f"TensorRT takes no part of {graph.model}",
                found=", ".join(f"{row.operator} with {row.provider}" for row in rows[:6]),
                action="lower the model as the profiles for the engine tensorrt do",
            )
        content = packing.pack(Path(scratch))
    file = packing.file_name(target(options.device), graph.name)
    plan = Plan(
        target=target(options.device),
        graph=graph.name,
        file=file,
        sha256=plans.write(memoryview(content), out / file),
        size=len(content),
        flavor="tensorrt",
        version=library_version(),
        flags=(),
        optimization_level=(options.plans or PlanOptions()).optimization_level,
        hardware_compatible=(options.plans or PlanOptions()).hardware_compatible,
        shapes=tuple(profiles),
        inputs=graph.inputs,
        outputs=graph.outputs,
        layers=(),
        model_sha256=plans.model_digest(out / graph.model, tuple(weight_files(out / graph.model))),
        key="",
        seconds=round(time.perf_counter() - started, 3),
    )
    return msgspec.structs.replace(plan, key=_key(plan)), rows


def _key(plan: Plan) -> str:
    """SHA-256 over what decided the engines."""
    decided = (plan.model_sha256, identity.version(), plan.target, plan.optimization_level)
    return hashlib.sha256(msgspec.json.encode((*decided, plan.hardware_compatible, plan.shapes))).hexdigest()
