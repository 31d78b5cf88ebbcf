from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from compiler.compare.gates import Gates, Latency, Quality, load, require_judged
from compiler.errors import ProfileError, UsageError

DOCUMENT = Path(__file__).parents[2] / "docs" / "gates.md"


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


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize("key", ["[latency]\nmax_increase", "[quality.metrics]\naccuracy"])
def test_a_gate_that_nothing_could_break_is_a_mistake(tmp_path: Path, key: str, value: str) -> None:
    path = tmp_path / "gates.toml"
    path.write_text(f"{key} = {value}\n")
    with pytest.raises(ProfileError, match="1 mistake"):
        load(path)


def test_a_gate_on_quality_needs_an_evaluation() -> None:
    asked = Gates(quality=Quality(metrics={"accuracy": 0.01}))
    require_judged(asked, Path("gates.toml"), evaluated=True)
    require_judged(Gates(latency=Latency(max_increase=0.1)), Path("gates.toml"), evaluated=False)
    require_judged(Gates(quality=Quality(max_drop=0.5, enforce=False)), Path("gates.toml"), evaluated=False)
    with pytest.raises(UsageError, match=r"gates\.toml: a gate on quality"):
        require_judged(asked, Path("gates.toml"), evaluated=False)


def test_the_document_has_every_key_with_its_default() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").split("<!-- keys:begin -->")[1].split("<!-- keys:end -->")[0]
    written = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (\S+) \|", table, flags=re.MULTILINE)
    defaults = msgspec.to_builtins(Gates())
    assert written == [
        (name, key, msgspec.json.encode(value).decode())
        for name, keys in defaults.items()
        for key, value in keys.items()
    ]


def test_the_documents_examples_are_gates(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = []
    for number, text in enumerate(examples):
        (tmp_path / f"{number}.toml").write_text(text)
        found.append(load(tmp_path / f"{number}.toml"))
    strict, int8 = found
    assert (strict.latency.max_increase, strict.quality.metrics, strict.size.enforce) == (
        0.1,
        {"accuracy": 0.005},
        False,
    )
    assert (int8.parity.enforce, int8.size.max_increase, int8.quality.max_drop) == (False, 0.0, 0.02)
