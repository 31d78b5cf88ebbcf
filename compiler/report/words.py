"""What findings mean, for a person. A finding without a row here is shown by its name alone."""

from __future__ import annotations

FINDINGS: dict[str, str] = {
    "output.max_abs_error": "largest difference of any output value from PyTorch's",
    "output.max_relative_error": "that difference over the largest output value",
    "output.shape": "outputs of another shape than PyTorch's",
    "output.dtype": "outputs of another dtype than PyTorch's",
    "output.nan": "output values that are not a number",
    "output.inf": "output values that are infinite",
    "cosine.min": "similarity of a text's vector with PyTorch's, the worst text",
    "cosine.mean": "similarity of a text's vector with PyTorch's, on average",
    "token_cosine.min": "similarity of a token's vector with PyTorch's, the worst token",
    "token_cosine.mean": "similarity of a token's vector with PyTorch's, on average",
    "top1.agreement": "positions where the most likely answer is PyTorch's",
    "kl.mean": "divergence of the predicted distributions from PyTorch's, on average",
    "kl.max": "divergence of the predicted distributions from PyTorch's, the worst position",
    "perplexity.reference": "perplexity of running text, PyTorch",
    "perplexity.engine": "perplexity of running text, this engine",
    "perplexity.ratio": "perplexity of running text over PyTorch's",
    "perplexity.ratio.standard_error": "how far off that ratio may be with so little text (standard error)",
    "greedy.agreement": "greedily generated tokens equal to PyTorch's, each after PyTorch's own text",
    "greedy.prefix": "tokens generated before the first one that differs from PyTorch's",
    "greedy.margin": "PyTorch's preference at such a first difference, at most",
    "padding.max_abs_error": "largest difference between a text alone and in a padded batch",
    "padding.cosine.min": "similarity of a text's answer alone and in a padded batch, the worst text",
    "padding.spread.error": "change of answers in a padded batch, over how far answers lie apart",
    "company.cosine.min": "similarity of a text's answer alone and beside texts of rare tokens, the worst text",
    "company.spread.error": "change of answers beside texts of rare tokens, over how far answers lie apart",
    "longest.max_abs_error": "largest difference from PyTorch's for a text that fills the context",
    "longest.max_relative_error": "that difference over the largest output value",
    "longest.kl.mean": "divergence from PyTorch's for a text that fills the context, on average",
    "longest.top1.agreement": "positions of a text that fills the context where the most likely answer is PyTorch's",
    "longest.cache.max_abs_error": "largest difference at its end between decoding step by step and all at once",
    "longest.cache.kl.mean": "divergence at its end between decoding step by step and all at once",
    "spread.error": "difference of scores from PyTorch's, over how far scores lie apart",
    "cache.max_abs_error": "largest difference between decoding step by step and all at once",
    "cache.kl.mean": "divergence between decoding step by step and all at once",
    "batch.max_abs_error": "largest difference between prompts alone and in a batch of unequal ones",
    "batch.kl.mean": "divergence between prompts alone and in a batch of unequal ones",
}

# What a page says first about the cost of the speed.
HEADLINES = frozenset({"perplexity.ratio", "top1.agreement", "cosine.min", "greedy.agreement", "output.max_abs_error"})
