"""What a decoder lets its tokens see, recognised by value.

Masks, position biases and token positions are computed from lengths alone, in as many ways as there are families. A
part of the graph is therefore run on a few small calls, and what it gives is compared with what is expected.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from compiler.optimize.evaluate import evaluate
from compiler.optimize.passes.base import Context
from compiler.optimize.passes.graph import dims

MASK, POSITIONS = "attention_mask", "position_ids"
NEVER = -1e4  # a score this low or lower hides a key


class Call(NamedTuple):
    """Row b has `lengths[b]` tokens, `past` of them cached; what `sequence` has beyond them is padding on the right."""

    past: int
    sequence: int
    lengths: tuple[int, ...]

    @property
    def total(self) -> int:
        return self.past + self.sequence

    @property
    def positions(self) -> np.ndarray:
        """(batch, sequence) int64."""
        return np.tile(np.arange(self.past, self.total, dtype=np.int64), (len(self.lengths), 1))

    @property
    def real(self) -> np.ndarray:
        """Which new tokens are no padding, (batch, sequence) bool."""
        real: np.ndarray = self.positions < np.array(self.lengths)[:, None]
        return real


CALLS = (Call(0, 7, (7, 4)), Call(5, 3, (8, 8)))


class Rule(NamedTuple):
    """A query sees the keys up to its own position, of them the last `window` (0: all of them), in all `heads` alike.

    Where the rule is `added` to scores, rather than of bool, `bias` (heads, context_length) float32 is what it adds by
    the distance between query and key; None is nothing.
    """

    window: int = 0
    heads: int = 1
    added: bool = False
    bias: np.ndarray | None = None


def values_in(model: ir.Model, value: ir.Value, call: Call) -> np.ndarray:
    """What `value` is in this call; tokens are ones and everything else that is fed is zeros."""
    columns = np.arange(call.total)
    sizes = {
        "batch": len(call.lengths),
        "sequence": call.sequence,
        "past_sequence": call.past,
        "total_sequence": call.total,
    }
    feeds = {
        "input_ids": np.ones_like(call.positions),
        MASK: (columns < np.array(call.lengths)[:, None]).astype(np.int64),
        POSITIONS: call.positions,
    }
    for source in model.graph.inputs:
        if source.name not in feeds and source.dtype is not None:
            shape = [dim if isinstance(dim, int) else sizes.get(dim, 1) for dim in dims(source) or ()]
            feeds[source.name or ""] = np.zeros(shape, source.dtype.numpy())
    return evaluate(model, [value], feeds)[0]


def rule(model: ir.Model, value: ir.Value, context: Context) -> Rule | None:
    """The rule that a mask (batch, heads, sequence, total) follows, of bool or added to scores; None for any other."""
    limit = context.exported.context_length
    found = values_in(model, value, Call(limit - 1, 1, (limit,)))
    if found.dtype not in (np.bool_, np.float32) or found.ndim != 4 or found.shape[::2] != (1, 1):
        return None
    if found.shape[3] != limit:
        return None
    row = found[0, :, 0, ::-1]  # (heads, distance)
    seen = row if row.dtype == np.bool_ else row > NEVER
    window = int(np.count_nonzero(seen[0]))
    if window == 0:
        return None
    added = row.dtype != np.bool_
    bias = np.where(seen, row, 0).astype(np.float32) if added else None
    guess = Rule(0 if window == limit else window, len(row), added, bias)
    beyond = min(window + 2, limit - 3) if guess.window else 6
    for call in (*CALLS, Call(beyond, 2, (beyond + 2,))):
        if not _follows(values_in(model, value, call), guess, call):
            return None
    return guess if bias is not None and bias.any() else guess._replace(bias=None)


def is_positions(model: ir.Model, value: ir.Value) -> bool:
    """Whether it numbers the new tokens of every row, (batch, sequence), (1, sequence) or (sequence,) int64."""
    for call in CALLS:
        found = values_in(model, value, call)
        if found.dtype != np.int64 or found.shape not in ((call.sequence,), (1, call.sequence), call.real.shape):
            return False
        if not np.array_equal(np.broadcast_to(found, call.real.shape)[call.real], call.positions[call.real]):
            return False
    return True


def is_total(model: ir.Model, value: ir.Value) -> bool:
    """Whether it is the number of columns, past and new, (1,) int64."""
    found = [values_in(model, value, call) for call in CALLS]
    return all(
        array.dtype == np.int64 and array.shape == (1,) and array[0] == call.total
        for array, call in zip(found, CALLS, strict=True)
    )


def _follows(found: np.ndarray, guess: Rule, call: Call) -> bool:
    """Whether every real token sees what the rule says."""
    distance = call.positions[:, :, None] - np.arange(call.total)  # (batch, sequence, total)
    visible = (distance >= 0) & (distance < guess.window if guess.window else True)
    try:
        whole = np.broadcast_to(found, (len(call.lengths), found.shape[1], call.sequence, call.total))
    except (ValueError, IndexError):
        return False
    tokens = whole.transpose(0, 2, 1, 3)[call.real]  # (tokens, heads, total)
    expected, distance = visible[call.real][:, None], np.maximum(distance, 0)[call.real]
    if guess.bias is None:
        return bool((tokens == expected).all())
    bias = guess.bias[:, distance].transpose(1, 0, 2)
    return bool(np.where(expected, np.isclose(tokens, bias, rtol=1e-5, atol=1e-6), tokens <= NEVER).all())
