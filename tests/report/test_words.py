from __future__ import annotations

import re
from pathlib import Path

import compiler.check.compare
from compiler.report.words import FINDINGS, HEADLINES


def test_every_finding_that_check_makes_has_words() -> None:
    """Names are string literals in compiler/check, or made of one and an ending: `f"{name}.max_abs_error"`."""
    folder = Path(compiler.check.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.py")))
    names = set(re.findall(r'(?:by_\w+\(|shown\(|Finding\(\s*name=)\s*"([\w.]+)"', source)) | set(
        compiler.check.compare.INCOMPARABLE
    )
    ways = re.findall(r'same_answers\("([\w.]+)"', source)
    names |= {f"{way}.{what}" for way in ways for what in ("max_abs_error", "kl.mean", "cosine.min")}
    endings = tuple(re.findall(r'(?:by_\w+|shown)\(f"{name}(\.[\w.]+)"', source))
    assert names <= set(FINDINGS)
    assert len(endings) > 3
    assert all(name.endswith(endings) for name in set(FINDINGS) - names)
    assert set(FINDINGS) > HEADLINES
