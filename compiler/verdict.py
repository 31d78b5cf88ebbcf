"""What a build outside its budget ends with."""

from __future__ import annotations

from compiler.errors import BudgetError
from compiler.records import Checked


def outside(folder: str, checked: Checked) -> BudgetError:
    """Every finding that is not within its limit, with the limit."""
    every = [*checked.findings, *(finding for found in checked.adapters.values() for finding in found)]
    broken = [finding for finding in every if not finding.passed]
    return BudgetError(
        f"{folder}: answers left the budget ({', '.join(checked.reasons)})",
        found="; ".join(f"{finding.name} {finding.value:.4g} {finding.unit}" for finding in broken),
        expected="; ".join(
            f"{finding.name} {'<=' if finding.better == 'lower' else '>='} {finding.limit:.4g}" for finding in broken
        ),
        action="choose a finer --precision, or allow more with --budget; the bundle is written, with verdict fail",
    )
