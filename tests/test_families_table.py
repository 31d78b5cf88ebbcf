"""The table in docs/families.md says what `tests/families.py` says, and that what export gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from compiler import pipeline, records
from compiler.records import Exported
from tests.conftest import ROOT
from tests.families import FAMILIES, Family, checkpoint, family


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What `scripts/families` runs."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import families_table.__main__ as module

    return module


def test_a_row_is_there_once() -> None:
    assert max(Counter(row.id for row in FAMILIES).values()) == 1


def test_the_table_claims_rows_that_exist_with_their_counts(script: ModuleType) -> None:
    text = script.DOCUMENT.read_text(encoding="utf-8")
    assert text.count(script.BEGIN) == text.count(script.END) == 1
    known = {(row.name, row.task): f"{row.whole} / {row.fused}" for row in FAMILIES}
    assert script.claimed(text) == set(known)
    for key, counts in known.items():
        assert f"| {' | '.join(key)} | {counts} |" in text


def test_what_is_written_is_what_is_claimed(script: ModuleType) -> None:
    good = script.Row("bert", "fill-mask", attention=2, fused=2)
    bad = script.Row("t5", "text2text-generation", failure="the process ended without an answer")
    text = f"before\n{script.BEGIN}\n{script.markdown([good, bad])}\n{script.END}\nafter"
    assert script.claimed(text) == {("bert", "fill-mask")}
    assert script.claimed(f"{script.BEGIN}\n{script.END}") == set()


@pytest.mark.parametrize(
    "row", [family("bert", "fill-mask"), family("bloom", "text-generation")], ids=lambda row: row.id
)
def test_counts_are_those_of_the_export(row: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSFORMER_COMPILER_CACHE", str(tmp_path / "cache"))
    out = pipeline.export(str(checkpoint(row, tmp_path / "checkpoint")), task=row.task, out=tmp_path / "exported")
    exported = records.load(out / "exported.json", Exported)
    nodes = onnx.load(out / exported.model, load_external_data=False).graph.node
    assert sum(node.op_type == "Attention" for node in nodes) == row.whole
