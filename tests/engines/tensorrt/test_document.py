"""What docs/tensorrt.md says about targets is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from compiler.engines.plans.capabilities import CAPABILITIES, LESS, FlavorName
from tests.engines.tensorrt.bindings import FULL

TEXT = (Path(__file__).parents[3] / "docs" / "tensorrt.md").read_text(encoding="utf-8")
FLAVORS: tuple[FlavorName, ...] = ("tensorrt", "tensorrt-rtx")


def test_the_table_of_targets_is_the_code_s() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if "| sm" in line[:4]]
    assert [row[0] for row in rows] == list(CAPABILITIES)
    formats: set[str] = set()
    for target, gpus, computes, *serves in rows:
        named = set(re.findall(r"[a-z]+\d+", computes))
        formats = formats | named if computes.startswith("and ") or not named else named
        assert formats == CAPABILITIES[target].formats, target
        assert gpus == CAPABILITIES[target].gpus
        for flavor, cell in zip(FLAVORS, serves, strict=True):
            assert cell.startswith("yes") == (flavor in CAPABILITIES[target].flavors), target
            without = cell.partition("without ")[2]
            assert set(filter(None, [without])) == LESS.get((flavor, target), frozenset()), target


def test_the_versions_whose_names_are_compared_are_named() -> None:
    assert all(".".join(version.split(".")[:2]) in TEXT for version in FULL)
