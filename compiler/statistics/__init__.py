"""What samples say, and how sure that is: quantiles, resampling, shares. Intervals are of 95 %.

compare is part of every installation, and scipy is not: quantiles that numpy lacks are written out, and tests hold them
against scipy's.
"""

from compiler.statistics.quantiles import NORMAL, student
from compiler.statistics.resampling import (
    Estimate,
    difference_of_draws,
    half_of_jackknife,
    mean_difference,
    percentiles,
    ratio_of_rounds,
)
from compiler.statistics.samples import Ratio, Summary, drift, ratio_of_medians, summarize
from compiler.statistics.shares import difference_of_shares, interval, mcnemar

__all__ = [
    "NORMAL",
    "Estimate",
    "Ratio",
    "Summary",
    "difference_of_draws",
    "difference_of_shares",
    "drift",
    "half_of_jackknife",
    "interval",
    "mcnemar",
    "mean_difference",
    "percentiles",
    "ratio_of_medians",
    "ratio_of_rounds",
    "student",
    "summarize",
]
