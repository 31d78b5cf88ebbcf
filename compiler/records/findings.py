"""Every finding by its name: the unit of its value, on which side of a limit a passing value lies, and what it means.

A finding is only made of a row here, so that none is shown without words.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from compiler.records.proof import Finding

OWN = ""  # the unit of the numbers that the model gives: "logits" or "absolute"


class Definition(NamedTuple):
    """`text` is what it says to a person. `headline`: a page says it first about the cost of the speed."""

    unit: str
    better: Literal["lower", "higher"]
    text: str
    headline: bool = False


_TWO_WAYS = {
    "cache": "between decoding step by step and all at once",
    "longest.cache": "at its end between decoding step by step and all at once",
    "batch": "between prompts alone and in a batch of unequal ones",
    "beams": "between rows that changed places and their texts at once",
    "continued": "between a conversation that went on and its text at once",
}  # to the same answers of one engine

FINDINGS: dict[str, Definition] = {
    "output.max_abs_error": Definition(
        OWN, "lower", "largest difference of any output value from PyTorch's", headline=True
    ),
    "output.max_relative_error": Definition("ratio", "lower", "that difference over the largest output value"),
    "output.shape": Definition("arrays", "lower", "outputs of another shape than PyTorch's"),
    "output.dtype": Definition("arrays", "lower", "outputs of another dtype than PyTorch's"),
    "output.nan": Definition("elements", "lower", "output values that are not a number"),
    "output.inf": Definition("elements", "lower", "output values that are infinite"),
    "cosine.min": Definition(
        "cosine", "higher", "similarity of a text's vector with PyTorch's, the worst text", headline=True
    ),
    "cosine.mean": Definition("cosine", "higher", "similarity of a text's vector with PyTorch's, on average"),
    "token_cosine.min": Definition(
        "cosine", "higher", "similarity of a token's vector with PyTorch's, the worst token"
    ),
    "token_cosine.mean": Definition("cosine", "higher", "similarity of a token's vector with PyTorch's, on average"),
    "output.rounding.ratio": Definition(
        "ratio", "lower", "error over that of PyTorch rounded to as many bits (root mean squares)"
    ),
    "output.rounding.worst": Definition("ratio", "lower", "the same, the worst answer's"),
    "longest.rounding.ratio": Definition("ratio", "lower", "the same for a text that fills the context"),
    "longest.rounding.worst": Definition(
        "ratio", "lower", "the same for a text that fills the context, the worst answer's"
    ),
    "vocabulary.rounding.ratio": Definition("ratio", "lower", "the same for tokens that running text lacks"),
    "vocabulary.rounding.worst": Definition(
        "ratio", "lower", "the same for tokens that running text lacks, the worst answer's"
    ),
    "top1.agreement": Definition(
        "share", "higher", "positions where the most likely answer is PyTorch's", headline=True
    ),
    "kl.mean": Definition("nats", "lower", "divergence of the predicted distributions from PyTorch's, on average"),
    "kl.max": Definition(
        "nats", "lower", "divergence of the predicted distributions from PyTorch's, the worst position"
    ),
    "perplexity.reference": Definition("perplexity", "lower", "perplexity of running text, PyTorch"),
    "perplexity.engine": Definition("perplexity", "lower", "perplexity of running text, this engine"),
    "perplexity.ratio": Definition("ratio", "lower", "perplexity of running text over PyTorch's", headline=True),
    "perplexity.ratio.standard_error": Definition(
        "ratio", "lower", "how far off that ratio may be with so little text (standard error)"
    ),
    "greedy.agreement": Definition(
        "share", "higher", "greedily generated tokens equal to PyTorch's, each after PyTorch's own text", headline=True
    ),
    "greedy.prefix": Definition(
        "tokens", "higher", "tokens generated before the first one that differs from PyTorch's"
    ),
    "greedy.margin": Definition("logits", "lower", "PyTorch's preference at such a first difference, at most"),
    "padding.max_abs_error": Definition(OWN, "lower", "largest difference between a text alone and in a padded batch"),
    "padding.cosine.min": Definition(
        "cosine", "higher", "similarity of a text's answer alone and in a padded batch, the worst text"
    ),
    "padding.spread.error": Definition(
        "ratio", "lower", "change of answers in a padded batch, over how far answers lie apart"
    ),
    "company.cosine.min": Definition(
        "cosine", "higher", "similarity of a text's answer alone and beside texts of rare tokens, the worst text"
    ),
    "company.spread.error": Definition(
        "ratio", "lower", "change of answers beside texts of rare tokens, over how far answers lie apart"
    ),
    "longest.max_abs_error": Definition(
        OWN, "lower", "largest difference from PyTorch's for a text that fills the context"
    ),
    "longest.max_relative_error": Definition("ratio", "lower", "that difference over the largest output value"),
    "longest.kl.mean": Definition(
        "nats", "lower", "divergence from PyTorch's for a text that fills the context, on average"
    ),
    "longest.top1.agreement": Definition(
        "share", "higher", "positions of a text that fills the context where the most likely answer is PyTorch's"
    ),
    "vocabulary.max_abs_error": Definition(
        OWN, "lower", "largest difference from PyTorch's for tokens that running text lacks"
    ),
    "vocabulary.max_relative_error": Definition("ratio", "lower", "that difference over the largest output value"),
    "spread.error": Definition(
        "ratio", "lower", "difference of scores from PyTorch's, over how far scores lie apart", headline=True
    ),
    "pooling.max_relative_error": Definition(
        "ratio", "lower", "largest difference of a text's vector from what PyTorch pools of the same numbers"
    ),
    "tokens.differences": Definition(
        "items", "lower", "texts, conversations, tokens and labels that differ from transformers'"
    ),
    "extraction.increase": Definition(
        "share", "lower", "secrets that it finishes and PyTorch does not, as a share of all"
    ),
    "exposure.increase": Definition("bits", "lower", "how much better it knows canaries than PyTorch, at least"),
    "personal_data.increase": Definition(
        "share", "lower", "more texts with personal data than PyTorch writes, at least"
    ),
}
for _way, _between in _TWO_WAYS.items():
    FINDINGS |= {
        f"{_way}.max_abs_error": Definition(OWN, "lower", f"largest difference {_between}"),
        f"{_way}.kl.mean": Definition("nats", "lower", f"divergence {_between}"),
        f"{_way}.cosine.min": Definition("cosine", "higher", f"similarity {_between}, the worst token"),
    }


def text_of(name: str) -> str:
    """What a finding means; nothing of one from another version."""
    return FINDINGS[name].text if name in FINDINGS else ""


def is_headline(name: str) -> bool:
    return name in FINDINGS and FINDINGS[name].headline


def finding(
    name: str, value: float, samples: int, *, limit: float | None = None, basis: str = "", unit: str = OWN
) -> Finding:
    """A finding of the table; `unit` where the table leaves it to the model."""
    known = FINDINGS[name]
    return Finding(
        name=name,
        value=value,
        unit=known.unit or unit,
        samples=samples,
        better=known.better,
        limit=limit,
        basis=basis,
    )
