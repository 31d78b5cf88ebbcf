"""What a generation goes through besides growing: rows that change places, several tokens at once, forgetting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from compiler.records import CacheShape
from tests.check.toy import Toy, ToyDecoding, ToySession, checked, manifest


class Sorted(ToyDecoding):
    """Rows are chosen, and stay in the order they had."""

    def select(self, rows: np.ndarray) -> None:
        super().select(np.sort(rows))


class Shared(ToyDecoding):
    """Two rows of one origin are one row: what one is given the other has too."""

    def select(self, rows: np.ndarray) -> None:
        self.rows = [self.rows[row] for row in rows]


class Last(ToyDecoding):
    """Of several tokens after the prompt, all are read as the last."""

    def step(self, input_ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        if self.rows[0]:
            input_ids = np.broadcast_to(input_ids[:, -1:], input_ids.shape)
        return super().step(input_ids, lengths)


class Longer(ToyDecoding):
    """A token that was to be forgotten comes back with the next one."""

    def truncate(self, length: int) -> None:
        lost = self.rows[0][length]
        super().truncate(length)
        self.rows[0][-1] = lost


@pytest.mark.parametrize(
    ("decoding", "found"), [(Sorted, "beams"), (Shared, "beams"), (Last, "continued"), (Longer, "continued")]
)
def test_a_generation_that_loses_its_way_fails(decoding: type[ToyDecoding], found: str, tmp_path: Path) -> None:
    class Lost(ToySession):
        def decode(self, cache: CacheShape, batch: int, capacity: int) -> ToyDecoding:
            return decoding(self, batch, capacity)

    of_float32 = checked(Lost(Toy()), manifest("decoder"), tmp_path).reasons
    assert of_float32 == (f"{found}.max_abs_error", f"{found}.cosine.min")
    assert checked(Lost(Toy()), manifest("decoder", "int4-weights"), tmp_path).reasons == (f"{found}.cosine.min",)


def test_a_right_generation_is_judged_too(tmp_path: Path) -> None:
    result = checked(ToySession(Toy()), manifest("decoder"), tmp_path)
    samples = {each.name: each.samples for each in result.findings}
    assert result.passed
    assert samples["beams.max_abs_error"] == 3 + 4 * (3 + 4 + 2)
    assert samples["continued.max_abs_error"] == 4
