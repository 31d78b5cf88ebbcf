"""docs/changing.md names files that are there, for every change that it promises."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

SECTIONS = dict(
    re.findall(r"^## (.+?)\n(.+?)(?=^## |\Z)", (ROOT / "docs/changing.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
)
CHANGES = (
    "Add an engine",
    "Add a precision",
    "Add a number format",
    "Add a fusion pass",
    "Add a task",
    "Add a metric",
    "Change an exit code",
    "Add a flag to `compile build`",
    "Add a file to a bundle",
    "Add a key to profiles",
    "Add a PEFT kind",
)
PLACE = re.compile(r"`((?:compiler|profiles|scripts|tests|docs)/[^`\s]*|\w+\.(?:md|toml))`")


def test_every_change_has_its_section() -> None:
    assert tuple(SECTIONS) == CHANGES


@pytest.mark.parametrize("change", CHANGES)
def test_the_files_to_touch_exist(change: str) -> None:
    steps = re.findall(r"^- ", SECTIONS[change], re.MULTILINE)
    assert 2 <= len(steps) <= 6
    places = PLACE.findall(SECTIONS[change])
    assert len(places) >= 3
    assert [place for place in places if not (ROOT / place).exists()] == []


@pytest.mark.parametrize(
    ("place", "word"),
    [
        ("compiler/engines/__init__.py", "ENGINES"),
        ("compiler/engines/__init__.py", "_MODULES"),
        ("tests/test_imports.py", "HOMES"),
        ("compiler/records/engine.py", "EngineOptions"),
        ("compiler/engines/onnx_file.py", "FORMATS"),
        ("compiler/profile/content.py", "Format"),
        ("compiler/compare/precisions.py", "ORDER"),
        ("compiler/optimize/passes/__init__.py", "PASSES"),
        ("compiler/evaluate/metrics.py", "METRICS"),
        ("compiler/records/evaluation.py", "COSTS"),
        ("compiler/request.py", "BuildRequest"),
        ("compiler/bundle/made.py", "assemble"),
        ("compiler/checkpoint/adapter.py", "MERGED"),
        ("compiler/checkpoint/adapter.py", "VIRTUAL"),
        ("compiler/checkpoint/tuner.py", "INHERITED"),
    ],
)
def test_the_names_in_them_exist(place: str, word: str) -> None:
    assert any(f"`{place}`" in section and f"`{word}`" in section for section in SECTIONS.values())
    assert re.search(rf"^\s*(?:class |def )?{word}\b", (ROOT / place).read_text("utf-8"), re.MULTILINE)
