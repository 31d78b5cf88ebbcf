"""English text that every CPython ships, in two halves that share no paragraph.

One half calibrates quantizers, the other measures them, so that no model is judged on what it was fitted to. The
text is the language reference behind `help()` (`pydoc_data.topics`, about 700 kB).
"""

from __future__ import annotations

from functools import cache
from pydoc_data.topics import topics


def calibration_text() -> list[str]:
    """The texts that quantizers may look at, in a fixed order."""
    return list(_halves()[0])


def evaluation_text() -> list[str]:
    """The texts kept back for measuring, in a fixed order; no paragraph of theirs occurs in `calibration_text`."""
    return list(_halves()[1])


@cache
def _halves() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Topics alternate between the halves; a paragraph that several topics quote stays where it came first."""
    seen: set[str] = set()
    halves: tuple[list[str], list[str]] = ([], [])
    for number, name in enumerate(sorted(topics)):
        fresh = [paragraph for paragraph in topics[name].split("\n\n") if paragraph.strip() and paragraph not in seen]
        seen.update(fresh)
        if fresh:
            halves[number % 2].append("\n\n".join(fresh))
    return tuple(halves[0]), tuple(halves[1])
