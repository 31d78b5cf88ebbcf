"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Attributes:
    rounds: pairs of processes, ours and a peer's in turn.
    seconds: of every series of calls.
    starts: starts of a process.
    exports: exports of the same model, ours and the libraries' own in turn.
    sentences: that are embedded.
    windows: of 256 tokens, for perplexity.
    """

    rounds: int = 5
    seconds: float = 3.0
    starts: int = 11
    exports: int = 3
    sentences: int = 2000
    windows: int = 16


QUICK = Settings(rounds=2, seconds=0.1, starts=3, exports=1, sentences=20, windows=1)
