"""Findings are made of one table, so that each has a unit, a good side and words."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import compiler
from compiler.records.findings import FINDINGS, finding, is_headline, text_of

FOLDER = Path(compiler.__file__).parent


def test_no_finding_is_made_beside_the_table() -> None:
    makers = {
        str(path.relative_to(FOLDER))
        for path in FOLDER.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    }
    assert makers == {"records/findings.py"}


def test_a_finding_takes_unit_and_side_from_its_row() -> None:
    made = finding("top1.agreement", 0.9, 10, limit=0.8, basis="why")
    assert (made.unit, made.better, made.passed, made.basis) == ("share", "higher", True, "why")
    assert finding("output.max_abs_error", 0.9, 10, unit="logits").unit == "logits"
    with pytest.raises(KeyError):
        finding("a.new.one", 0.9, 10)


def test_every_row_is_used_and_has_words() -> None:
    source = "".join(
        path.read_text(encoding="utf-8") for part in ("check", "evaluate") for path in (FOLDER / part).glob("*.py")
    )
    for name, row in FINDINGS.items():
        end = name.partition(".")[2]
        whole, composed = f'"{name}"' in source, f"}}.{end}" in source or f"}}.{end.partition('.')[2]}" in source
        assert whole or composed, name
        assert row.text, name
        assert row.unit or name.endswith("max_abs_error")
    assert {name for name in FINDINGS if is_headline(name)} > {"spread.error", "cosine.min", "perplexity.ratio"}
    assert text_of("of.another.version") == ""
    assert not is_headline("of.another.version")
