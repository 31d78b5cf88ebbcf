"""Small feeds that exercise a model as users do: unequal lengths, padding, a prompt and the steps after it."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from compiler.errors import ExportError
from compiler.optimize.passes.base import Feeds
from compiler.records import Exported, Kind, Tensor


@dataclass(frozen=True)
class Scenario:
    """One call: `past` tokens a row are cached, and row b brings `lengths[b]` real tokens, padded on the right."""

    past: int
    lengths: tuple[int, ...]


SCENARIOS: dict[Kind, tuple[Scenario, ...]] = {
    "encoder": (Scenario(0, (13, 6, 2)), Scenario(0, (5,))),
    "decoder": (Scenario(0, (7, 4)), Scenario(5, (1, 1)), Scenario(4, (3,))),
}


def sample_feeds(inputs: Sequence[Tensor], exported: Exported, seed: int) -> list[Feeds]:
    """One feed per scenario for a graph with these inputs.

    What an input is given depends on its name and `seed` only, so two graphs with different inputs get equal values
    for those they share. `logits_positions` asks for every row's last real token.

    Raises:
        ExportError: an input whose meaning or whose dims are unknown.
    """
    return [
        {
            tensor.name: _values(tensor, scenario, exported, np.random.default_rng([seed, index, _key(tensor.name)]))
            for tensor in inputs
        }
        for index, scenario in enumerate(SCENARIOS[exported.kind])
    ]


def _values(tensor: Tensor, scenario: Scenario, exported: Exported, rng: np.random.Generator) -> np.ndarray:
    batch, sequence, past = len(scenario.lengths), max(scenario.lengths), scenario.past
    lengths = np.array(scenario.lengths, dtype=np.int64)[:, None]
    whole = np.ones((batch, past), dtype=np.int64)
    match tensor.name:
        case "input_ids":
            return rng.integers(0, exported.vocabulary, (batch, sequence))
        case "attention_mask":
            return np.concatenate([whole, (np.arange(sequence) < lengths).astype(np.int64)], axis=1)
        case "token_type_ids":
            return np.zeros((batch, sequence), dtype=np.int64)
        case "position_ids":
            return np.tile(np.arange(past, past + sequence, dtype=np.int64), (batch, 1))
        case "logits_positions":
            return lengths - 1
    if tensor.name.startswith("past_key_values.") and len(tensor.shape) == 4:
        _, heads, _, width = tensor.shape
        if isinstance(heads, int) and isinstance(width, int):
            return rng.standard_normal((batch, heads, past, width)).astype(tensor.dtype)
    raise ExportError(
        f'graph input "{tensor.name}" {tensor.shape} is not understood',
        expected="input_ids, attention_mask, token_type_ids, position_ids, logits_positions or past_key_values.*",
        action="export the model again; it may be a kind of model that is not supported yet",
    )


def _key(name: str) -> int:
    return zlib.crc32(name.encode())
