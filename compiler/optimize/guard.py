"""The numeric guard: did a pass change the answers?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.errors import CheckpointError, EngineError
from compiler.optimize.execute import Executor
from compiler.optimize.noise import EPSILON, perturbed
from compiler.optimize.passes.base import Feeds
from compiler.optimize.samples import real_tokens, sample_feeds
from compiler.optimize.signature import tensors
from compiler.records import Exported

# A rewrite may move answers as far as roundings do: up to FLOOR unasked (a sum of a few thousand products in another
# order), and beyond it up to NOISE_FACTOR times the model's own noise. Measured: MiniLM has 4e-7 noise and moves 4e-7
# under its worst pass; SmolLM2-135M has 4e-5 noise and moves 7e-5 under its worst pass.
FLOOR = 64 * EPSILON
NOISE_FACTOR = 8

SEED = 20
TOTAL = "total_sequence"

Masks = dict[int | str, np.ndarray]


@dataclass(frozen=True)
class Judgement:
    """`error` is the largest difference at a real token over the output's largest value; no `reason`: it passed."""

    error: float | None
    reason: str = ""


class Guard:
    """Compares the graph after each pass with the graph before it, on the same samples; one run of the model a pass.

    Padding is not compared, nor are columns of a cache that hold nothing. Where a pass made the graph give the logits
    of chosen positions only, the earlier logits are read at those positions.
    """

    def __init__(self, model: ir.Model, exported: Exported) -> None:
        """
        Raises:
            CheckpointError: the model gives NaN or infinity before any pass has run.
            EngineError: ONNX Runtime cannot run the portable model.
        """
        self._dims = {tensor.name: tensor.shape for tensor in exported.outputs}
        self._exported = exported
        self._real_tokens = real_tokens(exported)
        self._executor = Executor()
        self._noise: float | None = None
        self._feeds, self._outputs = self._run(model)
        for name, error in self._errors(self._outputs, self._outputs).items():
            if not math.isfinite(error):
                raise CheckpointError(
                    f'output "{name}" is not finite before any optimization',
                    found="NaN or infinity on sample inputs",
                    action="look for NaN among the checkpoint's weights",
                )

    def judge(self, before: ir.Model, after: ir.Model, *, lossy: bool) -> Judgement:
        """Compare, and take `after` as the new point of comparison if it passed.

        `before` is the graph that passed last. A lossy pass only has to keep outputs finite and of the same shape.
        """
        try:
            feeds, outputs = self._run(after)
        except EngineError as error:
            return Judgement(None, f"{error.subject}: {error.found}")
        expected = [_at_positions(*pair) for pair in zip(self._outputs, feeds, strict=True)]
        for pair in zip(expected, outputs, strict=True):
            if reason := _mismatch(*pair):
                return Judgement(None, reason)
        errors = self._errors(expected, outputs)
        name, worst = max(errors.items(), key=lambda item: item[1])
        if not math.isfinite(worst):
            return Judgement(None, f'output "{name}" holds NaN or infinity')
        if not lossy and worst > FLOOR:
            limit = max(FLOOR, NOISE_FACTOR * self._measure_noise(before))
            if worst > limit:
                return Judgement(worst, f'output "{name}" changed by {worst:.1e} of its scale, more than {limit:.1e}')
        self._feeds, self._outputs = feeds, outputs
        return Judgement(worst)

    def _run(self, model: ir.Model) -> tuple[list[Feeds], list[Feeds]]:
        feeds = sample_feeds(tensors(model.graph.inputs), self._exported, SEED)
        return feeds, self._outputs_of(model, feeds)

    def _outputs_of(self, model: ir.Model, feeds: Sequence[Feeds]) -> list[Feeds]:
        """What the model gives; of a cache with room for more columns, only those that hold tokens."""
        found = []
        for outputs, real in zip(self._executor.stream(model, feeds), self._real_tokens, strict=True):
            found.append(outputs)
            for name, array in outputs.items():
                if TOTAL in (dims := self._dims.get(name, ())):
                    axis = dims.index(TOTAL)
                    columns = min(real[TOTAL].shape[1], array.shape[axis])
                    outputs[name] = array.take(np.arange(columns), axis)
        return found

    def _measure_noise(self, model: ir.Model) -> float:
        if self._noise is None:
            outputs = self._outputs_of(perturbed(model, SEED), self._feeds)
            self._noise = max(self._errors(self._outputs, outputs).values())
        return self._noise

    def _errors(self, before: Sequence[Feeds], after: Sequence[Feeds]) -> dict[str, float]:
        """Per output the worst relative difference over all samples, at real tokens; infinite where not finite."""
        worst: dict[str, float] = {}
        for expected, found, real in zip(before, after, self._real_tokens, strict=True):
            for name, array in found.items():
                left, right = self._real(name, expected[name], real), self._real(name, array, real)
                scale = float(np.abs(left).max(initial=0.0)) or 1.0
                error = float(np.abs(left - right).max(initial=0.0)) / scale if np.isfinite(right).all() else math.inf
                worst[name] = max(worst.get(name, 0.0), error)
        return worst

    def _real(self, name: str, output: np.ndarray, real: Masks) -> np.ndarray:
        """The entries of an output that belong to real tokens, as float64; all of them if no axis counts tokens."""
        for axis, dim in enumerate(self._dims.get(name, ())):
            mask = real.get(dim)
            if mask is not None and output.shape[axis] == mask.shape[1]:
                return np.asarray(np.moveaxis(output, axis, 1)[mask], dtype=np.float64)
        return output.astype(np.float64)


def _at_positions(outputs: Feeds, feeds: Feeds) -> Feeds:
    """Logits (batch, sequence, vocabulary) as a graph with `logits_positions` gives them: (batch, kept, vocabulary)."""
    positions, ids, logits = feeds.get("logits_positions"), feeds.get("input_ids"), outputs.get("logits")
    if positions is None or ids is None or logits is None or logits.shape[1] == positions.shape[1]:
        return outputs
    return outputs | {"logits": logits[np.arange(len(positions))[:, None], positions]}


def _mismatch(before: Feeds, after: Feeds) -> str:
    if before.keys() != after.keys():
        return f"outputs {sorted(before.keys() ^ after.keys())} came or went"
    for name, array in after.items():
        expected = before[name]
        if (array.dtype.kind, array.shape) != (expected.dtype.kind, expected.shape):
            wanted = f"{expected.dtype}{list(expected.shape)}"
            return f'output "{name}" is {array.dtype}{list(array.shape)} instead of {wanted}'
    return ""
