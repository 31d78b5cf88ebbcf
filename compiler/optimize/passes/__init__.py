"""Passes: one small file each. A pass is a frozen dataclass whose fields are its options.

`PASSES` is the table that profiles name them by.
"""

from __future__ import annotations

from compiler.optimize.passes.base import Context, Feeds, Pass
from compiler.optimize.passes.fold_constants import FoldConstants

__all__ = ["PASSES", "Context", "Feeds", "Pass"]

PASSES: dict[str, type[Pass]] = {
    "fold-constants": FoldConstants,
}
