"""Compile transformers to fast engines, and run what was compiled.

`build` makes a bundle out of a checkpoint; `load` opens a bundle. Both are imported when first used.

Nothing here reports to anybody. Engines and libraries that do by themselves are told not to before they are imported;
who wants their reports sets the variable first.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compiler.pipeline import build
    from compiler.runtime import load

__version__ = "0.1.0"
__all__ = ["__version__", "build", "load"]

SILENCED = ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY")
for _variable in SILENCED:
    os.environ.setdefault(_variable, "1")

_LAZY = {"build": "compiler.pipeline", "load": "compiler.runtime"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
