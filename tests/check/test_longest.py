"""Faults that only texts longer than the usual windows show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from msgspec.structs import replace

from compiler.check.longest import EVERY, positions
from tests.check.toy import Toy, ToySession, checked, manifest

CONTEXT = 1200


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("start", [257, 700, CONTEXT - 1])
def test_a_fault_beyond_a_length_fails(kind: Literal["encoder", "decoder"], start: int, tmp_path: Path) -> None:
    def change(output: np.ndarray) -> np.ndarray:
        output = output.copy()
        output[:, start:] += np.float32(0.01)
        return output

    about = replace(manifest(kind), context_length=CONTEXT)
    assert checked(ToySession(Toy(), change), about, tmp_path).reasons[0] == "longest.max_abs_error"
    sound = checked(ToySession(Toy()), about, tmp_path)
    assert (sound.passed, sound.context) == (True, CONTEXT)


def test_a_fault_at_a_length_that_the_configuration_names_fails(tmp_path: Path) -> None:
    """A window that is off by one differs at few positions of a long text."""

    def change(output: np.ndarray) -> np.ndarray:
        output = output.copy()
        output[:, 611:612] += np.float32(0.01)
        return output

    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"sliding_window": 611}}))
    about = replace(manifest("decoder"), context_length=CONTEXT)
    assert checked(ToySession(Toy(), change), about, tmp_path).reasons == ("longest.max_abs_error",)


def test_positions_of_a_long_text() -> None:
    assert positions(EVERY, {}).tolist() == list(range(EVERY))
    found = positions(8192, {"rope": {"original_max_position_embeddings": 4096}, "windows": [512], "flag": True})
    assert {0, 255, 256, 257, 511, 512, 513, 2047, 2048, 4095, 4096, 4097, *range(8176, 8192)} <= set(found.tolist())
    assert len(found) < 120
    assert (np.diff(found) > 0).all()
