from __future__ import annotations

from pathlib import Path

import pytest

from compiler.compare.gates import Gates, load
from compiler.errors import ProfileError


def test_what_a_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text("[latency]\nmax_increase = 0.1\n[quality.metrics]\naccuracy = 0.02\n[precision]\nenforce = true\n")
    gates = load(path)
    assert gates.latency.max_increase == 0.1
    assert gates.quality.metrics == {"accuracy": 0.02}
    assert gates.quality.max_drop == Gates().quality.max_drop
    assert gates.precision.enforce
    assert gates.fusions.lost == 0


def test_all_mistakes_at_once_with_the_nearest_word(tmp_path: Path) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(
        "fusion = 1\nsize = 3\n[latency]\nmax_increse = 0.1\n[memory]\nmax_increase = -1\n"
        "[quality.metrics]\naccuracy = 'high'\n[fusions]\nlost = 1.5\n"
    )
    with pytest.raises(ProfileError) as caught:
        load(path)
    assert caught.value.exit_code == 3
    found = caught.value.found
    assert 'fusion: unknown; did you mean "fusions"?' in found
    assert "size: expected a table, found 3" in found
    assert 'latency.max_increse: unknown; did you mean "max_increase"?' in found
    assert "memory.max_increase: Expected `float` >= 0.0" in found
    assert "quality.metrics: Expected `float`, got `str` - at `$[...]`; found {'accuracy': 'high'}" in found
    assert "fusions.lost: Expected `int`, got `float`; found 1.5" in found
    assert "6 mistakes" in caught.value.subject


@pytest.mark.parametrize("text", ["[latency", "\x00"])
def test_a_file_that_is_no_toml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(text)
    with pytest.raises(ProfileError, match="not TOML"):
        load(path)
