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
    "padding.cosine.min": "similarity of a text's vector alone and in a padded batch, the worst text",
    "padding.top1_agreement": "answers that stay the same in a padded batch",
    "cache.max_abs_error": "largest difference between decoding step by step and all at once",
    "cache.kl.mean": "divergence between decoding step by step and all at once",
    "batch.max_abs_error": "largest difference between prompts alone and in a batch of unequal ones",
    "batch.kl.mean": "divergence between prompts alone and in a batch of unequal ones",
}

# What a page says first about the cost of the speed.
HEADLINES = frozenset({"perplexity.ratio", "top1.agreement", "cosine.min", "greedy.agreement", "output.max_abs_error"})
