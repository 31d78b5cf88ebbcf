"""The numeric guard: did a pass change the answers?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from compiler.errors import CheckpointError, EngineError
from compiler.optimize.execute import Executor
from compiler.optimize.passes.base import Feeds
from compiler.optimize.samples import sample_feeds
from compiler.optimize.signature import tensors
from compiler.records import Exported

# Float32 kernels that add in another order differ by a few machine epsilons per layer, and these add up as a random
# walk: 30 layers of sums over 500 to 4,000 products stay below 100 epsilons of the output's scale. Ten times that.
TOLERANCE = 1024 * float(np.finfo(np.float32).eps)

SEED = 20


@dataclass(frozen=True)
class Judgement:
    """`error` is the largest difference at any real position over the largest value; `reason` is empty if it passed."""

    error: float | None
    reason: str = ""


class Guard:
    """Compares the graph after each pass with the graph before it, on the same samples; one run of the model a pass.

    Padding is not compared, and where a pass made the graph give the logits of chosen positions only, the earlier
    logits are read at those positions.
    """

    def __init__(self, model: ir.Model, exported: Exported) -> None:
        """
        Raises:
            CheckpointError: the model gives NaN or infinity before any pass has run.
            EngineError: ONNX Runtime cannot run the portable model.
        """
        self._exported = exported
        self._executor = Executor()
        self._feeds, self._outputs = self._run(model)
        for feeds, outputs in zip(self._feeds, self._outputs, strict=True):
            for name, output in outputs.items():
                if not np.isfinite(self._real(name, output, feeds)).all():
                    raise CheckpointError(
                        f'output "{name}" is not finite before any optimization',
                        found="NaN or infinity on sample inputs",
                        action="look for NaN among the checkpoint's weights",
                    )

    def judge(self, model: ir.Model, *, lossy: bool) -> Judgement:
        """Compare, and take `model` as the new point of comparison if it passed.

        A lossy pass only has to keep its outputs finite and of the same shape.
        """
        try:
            feeds, outputs = self._run(model)
        except EngineError as error:
            return Judgement(None, f"{error.subject}: {error.found}")
        worst = 0.0
        for before, after, feed in zip(self._outputs, outputs, feeds, strict=True):
            judgement = self._compare(before, after, feed, limit=np.inf if lossy else TOLERANCE)
            worst = max(worst, judgement.error or 0.0)
            if judgement.reason:
                return judgement
        self._feeds, self._outputs = feeds, outputs
        return Judgement(worst)

    def _run(self, model: ir.Model) -> tuple[list[Feeds], list[Feeds]]:
        feeds = sample_feeds(tensors(model.graph.inputs), self._exported, SEED)
        return feeds, self._executor.run(model, feeds)

    def _compare(self, before: Feeds, after: Feeds, feeds: Feeds, *, limit: float) -> Judgement:
        if set(before) != set(after):
            return Judgement(None, f"outputs {sorted(set(before) ^ set(after))} came or went")
        worst = 0.0
        for name, value in after.items():
            expected = _at_positions(before[name], value, feeds)
            if expected.shape != value.shape or expected.dtype != value.dtype:
                found = f"{value.dtype}{list(value.shape)} instead of {expected.dtype}{list(expected.shape)}"
                return Judgement(None, f'output "{name}" is {found}')
            expected, value = self._real(name, expected, feeds), self._real(name, value, feeds)  # noqa: PLW2901
            if not np.isfinite(value).all():
                return Judgement(None, f'output "{name}" holds NaN or infinity')
            scale = float(np.abs(expected).max(initial=0.0)) or 1.0
            error = float(np.abs(expected - value).max(initial=0.0)) / scale
            worst = max(worst, error)
            if error > limit:
                return Judgement(error, f'output "{name}" changed by {error:.1e} of its scale, more than {limit:.1e}')
        return Judgement(worst)

    def _real(self, name: str, output: np.ndarray, feeds: Feeds) -> np.ndarray:
        """The entries of an output that belong to real tokens, as float64; all of them if no axis counts tokens."""
        masks = self._token_masks(feeds)
        shape = next((tensor.shape for tensor in self._exported.outputs if tensor.name == name), ())
        for axis, dim in enumerate(shape):
            mask = masks.get(dim) if isinstance(dim, str) else None
            if mask is not None and axis > 0 and output.shape[axis] == mask.shape[1]:
                return np.moveaxis(output, axis, 1)[mask].astype(np.float64)
        return output.astype(np.float64)

    def _token_masks(self, feeds: Feeds) -> dict[int | str, np.ndarray]:
        """Which tokens are real, (batch, length) bool, for each dim name that counts tokens."""
        mask, ids = feeds.get("attention_mask"), feeds.get("input_ids")
        if mask is None or ids is None:
            return {}
        named = {tensor.name: tensor.shape[1] for tensor in self._exported.inputs if len(tensor.shape) == 2}
        real = mask.astype(bool)
        return {named["attention_mask"]: real, named["input_ids"]: real[:, -ids.shape[1] :]}


def _at_positions(before: np.ndarray, after: np.ndarray, feeds: Feeds) -> np.ndarray:
    """Logits (batch, sequence, vocabulary) at the positions a graph was asked for; other outputs as they are."""
    positions = feeds.get("logits_positions")
    if positions is None or before.shape == after.shape or before.ndim != 3:
        return before
    wanted: np.ndarray = before[np.arange(len(positions))[:, None], positions]
    return wanted
