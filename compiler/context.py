"""How long texts a bundle takes: as far as its answers are checked, and no further than its graph goes."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from compiler.errors import UsageError
from compiler.records import Exported

# The check reads a text of this many tokens several times, in float64 too: for 8,192 tokens SmolLM2 (135M) took over
# two minutes on two busy cores, and gigabytes.
MOST = 2048
LEAST_ASKED = 16


def checked_context(exported: Exported, asked: int | None, say: Callable[[str], None]) -> Exported:
    """The same with the context that a bundle promises.

    Args:
        exported: with the context that the graph is good for.
        asked: tokens, whatever time it takes to check them; None is what takes minutes.
        say: told where that is less than the checkpoint states.

    Raises:
        UsageError: more tokens are asked for than the graph is good for.
    """
    good, reason = exported.context_length, exported.context_reason
    require_context(asked, good, reason)
    length = min(good, MOST) if asked is None else asked
    if length < good:
        reason = "as asked for" if asked else "longer texts are not checked; --context checks and allows more"
    if length < exported.stated_context:
        say(f"{length} of {exported.stated_context} tokens: {reason}")
    return msgspec.structs.replace(exported, context_length=length, context_reason=reason)


def require_context(asked: int | None, good: int | None = None, reason: str = "") -> None:
    """Refuse what no model, or what this one, takes.

    Args:
        asked: as in `checked_context`.
        good: tokens that the model takes; None is not known yet.
        reason: why there are no more.

    Raises:
        UsageError: it is out of range.
    """
    if asked is None or (asked >= LEAST_ASKED and (good is None or asked <= good)):
        return
    said = f"{LEAST_ASKED} tokens or more" if good is None else f"{LEAST_ASKED} to {good} tokens"
    raise UsageError(f"--context {asked}", expected=f"{said}; {reason}" if reason else said)
