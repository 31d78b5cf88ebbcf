"""Small feeds that exercise a model as users do: unequal lengths, padding, a prompt and the steps after it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from compiler.errors import ExportError
from compiler.records import Exported, Kind, Tensor

if TYPE_CHECKING:
    from compiler.optimize.passes.base import Feeds

CHOICES, RANK = 3, 2
ADAPTER_SCALE = 0.05
PAST = "past_key_values."


@dataclass(frozen=True)
class Scenario:
    """One call: `past` tokens a row are cached, and row b brings `lengths[b]` real tokens, padded on one side.

    `encoded` are the lengths of the texts that an encoder-decoder has read.
    """

    past: int
    lengths: tuple[int, ...]
    encoded: tuple[int, ...] = ()


SCENARIOS: dict[Kind, tuple[Scenario, ...]] = {
    "encoder": (Scenario(0, (13, 6, 2)), Scenario(0, (5,))),
    "decoder": (Scenario(0, (7, 4)), Scenario(5, (1, 1)), Scenario(4, (3,))),
    "encoder-decoder": (
        Scenario(0, (4, 4), encoded=(9, 5)),
        Scenario(5, (1, 1, 1), encoded=(3, 8, 6)),
        Scenario(4, (3,), encoded=(7,)),
    ),
}


def scenarios(exported: Exported) -> tuple[Scenario, ...]:
    """Those of the kind; a decoder without a cache is never asked to go on from a past."""
    without_past = exported.cache is not None and exported.cache.layout == "none"
    return tuple(each for each in SCENARIOS[exported.kind] if each.past == 0 or not without_past)


def sample_feeds(inputs: Sequence[Tensor], exported: Exported, seed: int) -> list[Feeds]:
    """One feed per scenario for a graph with these inputs.

    What an input is given depends on its name and `seed` only, so two graphs with different inputs get equal values
    for those they share; a past of more columns holds zeros behind them. `logits_positions` asks for every row's last
    real token.

    Raises:
        ExportError: an input whose meaning or whose dims are unknown.
    """
    return [
        {
            tensor.name: _values(tensor, scenario, exported, np.random.default_rng([seed, index, _key(tensor.name)]))
            for tensor in inputs
        }
        for index, scenario in enumerate(scenarios(exported))
    ]


def real_tokens(exported: Exported) -> list[dict[int | str, np.ndarray]]:
    """For every sample, which tokens are no padding, (batch, length) bool, by the name of the dim that counts them."""
    counted = next((tensor.shape[-1] for tensor in exported.inputs if tensor.name == "input_ids"), "sequence")
    found = []
    for scenario in scenarios(exported):
        real = _real(scenario, exported)
        held = np.ones((len(real), scenario.past), dtype=np.bool_)
        found.append({counted: real, "total_sequence": np.concatenate([held, real], axis=1)})
    return found


def _real(scenario: Scenario, exported: Exported) -> np.ndarray:
    """Which new tokens are no padding, (batch, sequence) bool; padding is on the right, but for models without past."""
    sequence, lengths = max(scenario.lengths), np.array(scenario.lengths, dtype=np.int64)[:, None]
    left = exported.cache is not None and exported.cache.layout == "none"
    columns = np.arange(sequence)
    real: np.ndarray = columns >= sequence - lengths if left else columns < lengths
    return real


def _values(tensor: Tensor, scenario: Scenario, exported: Exported, rng: np.random.Generator) -> np.ndarray:
    batch, past = len(scenario.lengths), scenario.past
    sequence, encoded = max(scenario.lengths), max(scenario.encoded, default=0)
    real = _real(scenario, exported).astype(np.int64)
    columns = np.arange(sequence)
    shape = (batch, CHOICES, sequence) if len(tensor.shape) == 3 else (batch, sequence)
    match tensor.name:
        case "input_ids":
            return rng.integers(0, exported.vocabulary, shape)
        case "attention_mask":
            whole = np.concatenate([np.ones((batch, past), dtype=np.int64), real], axis=1)
            return whole if len(shape) == 2 else np.repeat(whole[:, None], CHOICES, axis=1)
        case "token_type_ids":
            return np.broadcast_to((columns > sequence // 2).astype(np.int64), shape).copy()
        case "position_ids":
            return np.tile(np.arange(past, past + sequence, dtype=np.int64), (batch, 1))
        case "logits_positions":
            return np.array(scenario.lengths, dtype=np.int64)[:, None] - 1
        case "encoder_attention_mask":
            return (np.arange(encoded) < np.array(scenario.encoded)[:, None]).astype(np.int64)
    sizes = {"batch": batch, "past_sequence": past, "encoder_sequence": encoded, "rank": RANK}
    if tensor.name.startswith((PAST, "cross_key_values.", "adapter.")):
        known = [sizes.get(dim) if isinstance(dim, str) else dim for dim in tensor.shape]
        fixed = known[2] if tensor.name.startswith(PAST) and isinstance(tensor.shape[2], int) else None
        if fixed is not None:
            known[2] = past
        if (full := [size for size in known if size is not None]) == known:
            scale = ADAPTER_SCALE if tensor.name.startswith("adapter.") else 1.0
            values = (scale * rng.standard_normal(full)).astype(tensor.dtype)
            return values if fixed is None else with_columns(values, fixed)
    raise ExportError(
        f'graph input "{tensor.name}" {tensor.shape} is not understood',
        expected="tokens, masks, positions, keys and values, or an adapter's matrices",
        action="export the model again; it may be a kind of model that is not supported yet",
    )


def with_columns(past: np.ndarray, columns: int) -> np.ndarray:
    """Keys or values (batch, heads, length, head_dim) with zeros behind them, of which no page is touched."""
    batch, heads, length, width = past.shape
    whole = np.zeros((batch, heads, columns, width), past.dtype)
    whole[:, :, :length] = past
    return whole


def _key(name: str) -> int:
    return zlib.crc32(name.encode())
