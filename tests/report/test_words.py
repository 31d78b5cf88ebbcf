from __future__ import annotations

import re
from pathlib import Path

import compiler.check.compare
from compiler.report.words import FINDINGS, HEADLINES


def test_every_finding_that_check_makes_has_words() -> None:
    """Names are string literals in compiler/check; those of `_same_answers` are made of two parts."""
    folder = Path(compiler.check.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    names = set(re.findall(r'(?:by_noise|by_budget|shown)\(\s*"([\w.]+)"', source))
    names |= {f"{way}.{what}" for way in ("cache", "batch") for what in ("max_abs_error", "kl.mean")}
    names |= set(compiler.check.compare.INCOMPARABLE)
    assert names == set(FINDINGS)
    assert set(FINDINGS) > HEADLINES
