"""Which limits of a budget are judged: by what a model's answers are, and by the precision.

A limit that nothing is compared with can never be broken. It is refused where a user asks for it, a mistake in a
profile whose models all lack it, and left out where a profile has it for other models of the kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from compiler.records import Kind

# An encoder's answers by their meaning (see `check.meanings`), and what generates by its kind.
Answers = Literal["vectors", "values", "classes", "positions", "signs", "decoder", "encoder-decoder"]

EXACT = "float32"  # the precision that is judged by the reference's own noise

_ALONE = frozenset({"min_padding_cosine", "min_company_cosine"})
_DIRECTION = _ALONE | {"min_cosine"}
_CLASSES = _ALONE | {"max_kl_divergence", "min_top1_agreement"}
_GENERATED = frozenset({
    "max_perplexity_ratio", "max_kl_divergence", "min_top1_agreement", "min_greedy_agreement", "min_cache_cosine",
})  # fmt: skip

JUDGED: dict[Answers, frozenset[str]] = {
    "vectors": _DIRECTION,
    "values": _DIRECTION,
    "classes": _CLASSES,
    "positions": _CLASSES,
    "signs": _CLASSES,
    "decoder": _GENERATED | {"min_company_cosine"},
    "encoder-decoder": _GENERATED | {"min_padding_cosine"},
}
ANSWERS: dict[Kind, tuple[Answers, ...]] = {
    "encoder": ("vectors", "values", "classes", "positions", "signs"),
    "decoder": ("decoder",),
    "encoder-decoder": ("encoder-decoder",),
}

# What compares an engine with PyTorch, not with itself in other surroundings. A narrow precision needs one of these.
AGAINST_PYTORCH = frozenset({
    "max_perplexity_ratio", "max_kl_divergence", "min_top1_agreement", "min_greedy_agreement", "min_cosine",
})  # fmt: skip


def judged(answers: Answers, precision: str) -> frozenset[str]:
    """The fields of `Budget` that answers of this kind are held against.

    float32 is judged by noise, of which `noise_factor` says how much; its greedy tokens must all be the reference's.
    Narrower precisions are judged by what rounding explains, of which `rounding_factor` says how much.
    """
    found = JUDGED[answers]
    return found - {"min_greedy_agreement"} | {"noise_factor"} if precision == EXACT else found | {"rounding_factor"}


def judged_of(kind: Kind, precisions: Iterable[str]) -> frozenset[str]:
    """Those that are judged for some model of this kind in one of these precisions."""
    each = [judged(answers, precision) for answers in ANSWERS[kind] for precision in precisions]
    return frozenset().union(*each)
