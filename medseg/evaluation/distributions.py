"""Tails and quantiles behind tests and intervals, and ranks, from SciPy's special functions.

`scipy.stats`, which has them too, takes longer to import than everything else here together.
"""

import math

import numpy as np
from scipy import special

__all__ = [
    "beta_quantile",
    "chi2_tail",
    "f_tail",
    "midranks",
    "normal_cdf",
    "normal_quantile",
    "two_sided_p",
    "two_sided_quantile",
]


def normal_quantile(p: float) -> float:
    """Value below which a standard normal variable lies with probability p."""
    return float(special.ndtri(p))


def normal_cdf(x: float) -> float:
    """Probability that a standard normal variable lies below x."""
    return float(special.ndtr(x))


def two_sided_quantile(confidence: float, df: float = math.inf) -> float:
    """Half width, in standard errors, of an interval; Student's t with finite degrees of freedom.

    Examples
    --------
    >>> round(two_sided_quantile(0.95), 6), round(two_sided_quantile(0.95, 4), 6)
    (1.959964, 2.776445)
    """
    p = 0.5 + confidence / 2
    return normal_quantile(p) if math.isinf(df) else float(special.stdtrit(df, p))


def two_sided_p(statistic: float, df: float = math.inf) -> float:
    """Probability of a statistic at least as far from 0; Student's t with finite degrees of freedom."""
    tail = special.ndtr(-abs(statistic)) if math.isinf(df) else special.stdtr(df, -abs(statistic))
    return 2 * float(tail)


def f_tail(x: float, df_numerator: float, df_denominator: float) -> float:
    """Probability that an F variable exceeds x; with an infinite denominator a chi-square over its degrees."""
    if math.isinf(df_denominator):
        return chi2_tail(x * df_numerator, df_numerator)
    return float(special.fdtrc(df_numerator, df_denominator, x))


def chi2_tail(x: float, df: float) -> float:
    """Probability that a chi-square variable exceeds x."""
    return float(special.chdtrc(df, x))


def beta_quantile(p: float, a: float, b: float) -> float:
    """Value below which a beta variable lies with probability p."""
    return float(special.betaincinv(a, b, p))


def midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, ties sharing the mean of theirs; shape (n,).

    Examples
    --------
    >>> midranks(np.array([3.0, 1.0, 3.0])).tolist()
    [2.5, 1.0, 2.5]
    """
    ordered = np.sort(values)
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return (below + upto + 1) / 2
