"""A family's random model, its portable graph, and that graph lowered for a CPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compiler import profile
from compiler.engines.onnxruntime.session import OnnxRuntimeSession
from compiler.export import portable
from compiler.export.graph_inputs import signature
from compiler.export.trace import trace
from compiler.optimize.lower import optimize
from compiler.optimize.passes import PASSES, Pass
from compiler.optimize.signature import tensors
from compiler.records import CacheShape, EngineOptions, Exported, Optimized
from compiler.tasks import TASKS
from tests.families import CONTEXT, VOCABULARY, Family, random_model
from tests.optimize.graphs import exported

PROFILE = "cpu-x86-avx2"


@dataclass(frozen=True)
class Graph:
    """One of the two graphs, in its folder."""

    folder: Path
    record: Exported | Optimized
    operators: Mapping[str, int]

    @property
    def cache(self) -> CacheShape:
        assert self.record.cache is not None
        return self.record.cache

    @contextmanager
    def opened(self) -> Iterator[OnnxRuntimeSession]:
        with closing(OnnxRuntimeSession(self.folder / portable.MODEL, EngineOptions(threads=1))) as session:
            yield session

    def run(self, **feeds: np.ndarray) -> dict[str, np.ndarray]:
        """One call with those of the feeds that the graph has."""
        names = {tensor.name for tensor in self.record.inputs}
        with self.opened() as session:
            return session.run({name: array for name, array in feeds.items() if name in names})

    def decode(self, prompts: list[np.ndarray], following: np.ndarray) -> np.ndarray:
        """Logits after the prompts and after each of `following` (rows, steps): (rows, steps + 1, vocabulary)."""
        lengths = np.array([len(prompt) for prompt in prompts])
        tokens = np.zeros((len(prompts), lengths.max()), np.int64)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        with self.opened() as session:
            decoding = session.decode(self.cache, len(prompts), CONTEXT)
            answers = [decoding.step(tokens, lengths).copy()]
            for step in range(following.shape[1]):
                answers.append(decoding.step(following[:, step : step + 1], lengths + step + 1).copy())
        return np.stack(answers, axis=1)


def lower(folder: Path, row: Family) -> tuple[Any, Graph, Graph]:
    """The model in PyTorch's plainest attention, the portable graph and the lowered one; no pass may be refused."""
    traced = random_model(row)
    inputs = signature(traced, row.task)
    graph, context = trace(traced, inputs, CONTEXT)
    assert context == CONTEXT
    portable.tidy(graph, inputs)
    (folder / "portable").mkdir()
    portable.save(graph, folder / "portable")
    record = exported(
        TASKS[row.task].kind,
        task=row.task,
        inputs=tensors(graph.graph.inputs),
        outputs=tensors(graph.graph.outputs),
        context_length=CONTEXT,
        vocabulary=VOCABULARY,
        cache=inputs.cache,
    )
    recipe = profile.load(PROFILE).recipe(record.kind)
    first = Graph(folder / "portable", record, Counter(node.op_type for node in graph.graph))
    choices = (*recipe.passes, *recipe.precisions["float32"])
    passes = [PASSES[choice.name](**choice.options) for choice in choices]
    return random_model(row, attn_implementation="eager"), first, optimized(first, passes, "lowered")


def optimized(portable: Graph, passes: Sequence[Pass], name: str) -> Graph:
    """The portable graph after `passes`, in a folder beside it."""
    assert isinstance(portable.record, Exported)
    record = optimize(
        portable.folder,
        portable.record,
        passes,
        profile_name=PROFILE,
        precision="float32",
        out=portable.folder.parent / name,
        calibration=list,
        strict=True,
    )
    return Graph(portable.folder.parent / name, record, Counter(record.op_counts))
