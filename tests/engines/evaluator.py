"""A whole engine in one file: the evaluator that ONNX defines its operators with, in NumPy, for models without a cache.

`test_one_more_engine.py` puts it into a copy of the package, with one row in the table of engines.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compiler.engines import Decoding, Feeds, PlanBuilding, Session, onnx_file
from compiler.engines.recompute import RecomputeDecoding
from compiler.engines.sample_inputs import sample_feeds
from compiler.errors import EngineError
from compiler.progress import Report, unreported
from compiler.records import Built, CacheShape, EngineOptions, Optimized, Placement, Plan, Serving

name = "evaluator"
plans: PlanBuilding = "none"
precisions = onnx_file.precisions


class EvaluatorSession:
    """A `Session`; it keeps nothing between calls."""

    def __init__(self, model: Path, outputs: Sequence[str] = ()) -> None:
        import onnx
        from onnx.reference import ReferenceEvaluator

        proto = onnx.load(str(model))
        for path in outputs:
            proto.graph.output.append(onnx.ValueInfoProto(name=path))
        self._outputs = list(outputs) or [output.name for output in proto.graph.output]
        self._evaluator = ReferenceEvaluator(proto)

    def run(self, feeds: Feeds) -> Feeds:
        """All outputs by name. Raises EngineError."""
        try:
            return dict(zip(self._outputs, self._evaluator.run(self._outputs, feeds), strict=True))
        except Exception as error:  # whatever NumPy makes of these feeds
            raise EngineError("the evaluator failed", found=str(error)) from error

    def decode(self, cache: CacheShape, batch: int, capacity: int, constants: Feeds | None = None) -> Decoding:
        return RecomputeDecoding(self, batch, capacity, constants or {})

    def close(self) -> None:
        del self._evaluator


def version() -> str:
    import onnx

    return str(onnx.__version__)


def why_unavailable() -> str | None:
    return None


def why_not_whole() -> str | None:
    return None


def ready(options: EngineOptions, formats: Collection[str] = ()) -> None:
    pass


def build(optimized: Optimized, folder: Path, out: Path, options: EngineOptions, report: Report = unreported) -> Built:
    started = time.perf_counter()
    files = onnx_file.copy(optimized, folder, out)
    placement = describe(out / optimized.model, options, sample_feeds(optimized))
    return Built(
        engine=name,
        engine_version=version(),
        model=optimized.model,
        files=files,
        options=options,
        placement=placement,
        seconds=round(time.perf_counter() - started, 3),
    )


def serving(options: EngineOptions, plans: Sequence[Plan] = ()) -> Serving:
    return Serving(engine=name, version=version())


def open(model: Path, options: EngineOptions, plans: Sequence[Plan] = ()) -> Session:
    return EvaluatorSession(model)


def describe(model: Path, options: EngineOptions, feeds: Feeds) -> tuple[Placement, ...]:
    EvaluatorSession(model).run(feeds)
    operators = Counter(node.op_type for node in onnx_file.read(model).graph.node)
    return tuple(
        Placement(operator=operator, provider="numpy", precision="float32", count=count)
        for operator, count in operators.most_common()
    )


def watch(
    model: Path, options: EngineOptions, modules: Sequence[str], feeds: Feeds
) -> Iterator[tuple[str, list[np.ndarray]]]:
    graph: Any = onnx_file.read(model).graph
    for path in modules:
        if names := onnx_file.leaving(graph, path):
            yield path, list(EvaluatorSession(model, names).run(feeds).values())
