"""Tokens that are left out before one is drawn, by the shape of the whole distribution.

Each takes the tokens' weights (tokens,) float64, in any scale, and gives (tokens,) bool: which are kept. The likeliest
token always is, but for `typical`.
"""

from __future__ import annotations

import numpy as np

LARGEST = 100  # tokens that `by_entropy` looks at


def by_entropy(weights: np.ndarray, share: float) -> np.ndarray:
    """The likeliest tokens whose terms of the entropy add up to at most this share of it.

    Top-H (arXiv 2509.02510); the entropy is that of the 100 likeliest tokens.
    """
    best = np.argsort(-weights, kind="stable")[:LARGEST]
    terms = _terms(weights[best] / weights[best].sum())
    within = np.cumsum(terms) <= share * terms.sum()
    within[0] = True
    kept = np.zeros(weights.size, np.bool_)
    kept[best[within]] = True
    return kept


def typical(weights: np.ndarray, mass: float) -> np.ndarray:
    """The fewest tokens that together have this probability and whose information is nearest to the entropy.

    Locally typical sampling (Meister et al. 2022).
    """
    shares = weights / weights.sum()
    with np.errstate(divide="ignore"):
        strangeness = np.abs(-np.log(shares) - _terms(shares).sum())
    order = np.argsort(strangeness, kind="stable")
    last = min(int((np.cumsum(shares[order]) < mass).sum()), weights.size - 1)
    kept: np.ndarray = strangeness <= strangeness[order[last]]
    return kept


def above_epsilon(weights: np.ndarray, epsilon: float) -> np.ndarray:
    """Tokens of at least this probability (Hewitt et al. 2022)."""
    kept: np.ndarray = (weights >= epsilon * weights.sum()) | (weights == weights.max())
    return kept


def above_eta(weights: np.ndarray, epsilon: float) -> np.ndarray:
    """Tokens of at least a probability that is smaller where the distribution is flatter (Hewitt et al. 2022)."""
    entropy = _terms(weights / weights.sum()).sum()
    return above_epsilon(weights, min(epsilon, float(np.sqrt(epsilon) * np.exp(-entropy))))


def _terms(shares: np.ndarray) -> np.ndarray:
    """Each token's part of the entropy; nothing for a token that is impossible."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shares > 0, -shares * np.log(shares), 0)
