"""Quantiles of distributions, for two-sided intervals of 95 %."""

from __future__ import annotations

NORMAL = 1.959964  # standard deviations around the mean that hold 95 % of a normal distribution

# Student's t at 97.5 % for 1, 2, ... degrees of freedom.
_T = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)

# Pocock's constant in place of NORMAL where data are looked at 1, 2, ... times while they come in.
POCOCK = (NORMAL, 2.178, 2.289, 2.361, 2.413, 2.453, 2.485, 2.512)


def student(freedom: int) -> float:
    """Student's t at 97.5 %."""
    return _T[freedom - 1] if freedom <= len(_T) else NORMAL + 2.4 / freedom
