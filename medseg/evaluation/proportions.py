"""Intervals of proportions and of areas that behave like proportions."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from medseg.errors import TableError
from medseg.evaluation.checks import checked_confidence
from medseg.evaluation.distributions import beta_quantile, two_sided_quantile

__all__ = [
    "auc_score_interval",
    "clopper_pearson",
    "effective_size_interval",
    "logit_interval",
    "replicate_proportion_interval",
    "wilson",
]

ROUNDING = 1e-15  # variances below it are rounding errors of figures that do not vary


def wilson(successes: float, n: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927, doi:10.1080/01621459.1927.10502953).

    Parameters
    ----------
    successes, n : float
        Need not be whole: an effective size is allowed. NaN for n = 0.

    Examples
    --------
    >>> low, high = wilson(81, 263)  # Newcombe 1998, table I
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    if not 0 <= successes <= n or not math.isfinite(n):
        raise TableError(f"{successes} successes of {n}: a proportion lies between 0 and 1")
    z = two_sided_quantile(checked_confidence(confidence))
    if n == 0:
        return math.nan, math.nan
    p = successes / n
    centre, width = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (centre - width) / (1 + z**2 / n), (centre + width) / (1 + z**2 / n)
    return (0.0 if successes == 0 else max(0.0, low)), (1.0 if successes == n else min(1.0, high))


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404); NaN for n = 0.

    Examples
    --------
    >>> low, high = clopper_pearson(0, 10)
    >>> low, round(high, 4)
    (0.0, 0.3085)
    """
    if not 0 <= successes <= n or successes != int(successes) or n != int(n):
        raise TableError(f"{successes} successes of {n}: whole numbers were expected, the first not above the second")
    if n == 0:
        return math.nan, math.nan
    tail = (1 - checked_confidence(confidence)) / 2
    low = 0.0 if successes == 0 else beta_quantile(tail, successes, n - successes + 1)
    high = 1.0 if successes == n else beta_quantile(1 - tail, successes + 1, n - successes)
    return low, high


def logit_interval(value: float, error: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a figure between 0 and 1 from its standard error, symmetric in log odds (delta method).

    At 0 and 1 the log odds are infinite: the interval there is the point itself.
    """
    if value <= 0 or value >= 1:
        return value, value
    width = two_sided_quantile(checked_confidence(confidence)) * error / (value * (1 - value))
    centre = float(logit(value))
    return float(expit(centre - width)), float(expit(centre + width))


def effective_size_interval(
    value: float, variance: float, *, n_units: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of a proportion whose variance was estimated, for instance by bootstrap over patients.

    The variance is turned into the number of independent observations that would have it,
    ``value (1 - value) / variance``, and Wilson's interval is taken at that size (Korn and Graubard 1998; Dean and
    Pagano 2015, doi:10.1093/jssam/smv024). A size above the number of units says that units hold several observations,
    so that the variance was estimated from the spread between n units rather than given by the value: it is then
    multiplied by ``n / (n - 1)`` and the size by the squared ratio of the normal to Student's quantile with n - 1
    degrees of freedom, in full from twice the number of units on and in proportion before. Copies of a patient's
    images change nothing.

    Parameters
    ----------
    value : float
        Between 0 and 1.
    variance : float
        Of the estimate. Where it vanishes, and at 0 and 1, the effective size is the number of units.
    n_units : int
        Units (patients) that have what is counted. One unit is one observation.

    Raises
    ------
    TableError
        For a value outside 0 to 1, or a variance that is negative or no number.

    Examples
    --------
    >>> low, high = effective_size_interval(0.7, 0.7 * 0.3 / 40, n_units=40)
    >>> round(low, 3), round(high, 3)
    (0.546, 0.819)
    """
    if not -1e-9 <= value <= 1 + 1e-9 or not variance >= 0:
        raise TableError(f"a proportion of {value} with a variance of {variance}: the first lies between 0 and 1")
    value = float(np.clip(value, 0.0, 1.0))
    spread, size = value * (1 - value), float(n_units)
    if n_units > 1 and spread > ROUNDING and variance > ROUNDING:
        size = spread / variance
        several = min(max(size / n_units - 1, 0.0), 1.0)
        ratio = two_sided_quantile(confidence) / two_sided_quantile(confidence, n_units - 1)
        size *= 1 - several * (1 - ratio**2 * (n_units - 1) / n_units)
    return wilson(value * size, size, confidence=confidence)


def replicate_proportion_interval(
    value: float, replicates: np.ndarray, *, n_units: int, confidence: float = 0.95
) -> tuple[float, float, int]:
    """`effective_size_interval` with the variance of bootstrap replicates.

    Returns
    -------
    low, high : float
        NaN where the value or all but one of the replicates are undefined.
    n_defined : int
        Replicates in which the figure was defined.
    """
    defined = replicates[np.isfinite(replicates)]
    if not math.isfinite(value) or len(defined) < 2:
        return math.nan, math.nan, len(defined)
    variance = float(defined.var(ddof=1))
    return *effective_size_interval(value, variance, n_units=n_units, confidence=confidence), len(defined)


def auc_score_interval(
    value: float, n_positive: int, n_negative: int, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of an AUC from the sample sizes alone, which does not vanish at perfect separation.

    All areas A are kept with ``|value - A| <= z sqrt(V(A))``, where V is the variance of Hanley and McNeil (1982,
    doi:10.1148/radiology.143.1.7063747) with both sizes replaced by their mean less 1, over the product of the sizes
    (Newcombe 2006, method 5, doi:10.1002/sim.2324).

    Parameters
    ----------
    value : float
    n_positive, n_negative : int
        Cases, or patients, with and without disease.
    """
    if not -1e-9 <= value <= 1 + 1e-9 or n_positive < 0 or n_negative < 0:
        raise TableError(f"an area of {value} with {n_positive} and {n_negative} cases: it lies between 0 and 1")
    if not n_positive or not n_negative:
        return math.nan, math.nan
    value = 0.0 if value < 1e-12 else 1.0 if value > 1 - 1e-12 else float(value)
    z = two_sided_quantile(checked_confidence(confidence))
    middle = (n_positive + n_negative) / 2 - 1

    def excess(a: float) -> float:
        variance = a * (1 - a) * (1 + middle * (1 - a) / (2 - a) + middle * a / (1 + a)) / (n_positive * n_negative)
        return abs(value - a) - z * math.sqrt(variance)

    low = 0.0 if value <= 0 else float(brentq(excess, 0.0, value - 1e-15 * value)) if excess(0.0) > 0 else 0.0
    high = 1.0 if value >= 1 else float(brentq(excess, value + 1e-15, 1.0)) if excess(1.0) > 0 else 1.0
    return float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1))
