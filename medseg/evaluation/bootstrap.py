"""Bootstrap by patient: whole patients are drawn, so that their images and lesions stay together."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation.checks import checked_confidence
from medseg.evaluation.distributions import normal_cdf, normal_quantile
from medseg.evaluation.resampling import Resampling, Weighted

__all__ = [
    "Interval",
    "Method",
    "bca_interval",
    "bootstrap",
    "mean_weighted",
    "percentile_interval",
    "replicate_interval",
    "varies",
]

Method = Literal["percentile", "bca"]
MIN_DEFINED = 20  # with fewer defined replicates there is no interval


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval, and how that was obtained.

    Parameters
    ----------
    value, low, high : float
        NaN bounds where fewer than 20 replicates are defined.
    n_replicates : int
        Replicates in which the figure was defined.
    method : str
    n_units : int
        Units (patients) that were drawn.
    seed : int
    confidence : float
    """

    value: float
    low: float
    high: float
    n_replicates: int
    method: str = "percentile"
    n_units: int = 0
    seed: int = 0
    confidence: float = 0.95


def percentile_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentile interval over the replicates that are defined; NaN with fewer than 20 of them."""
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < MIN_DEFINED:
        return math.nan, math.nan
    low, high = np.percentile(defined, np.clip([50 * (1 - confidence), 50 * (1 + confidence)], 0, 100))
    return float(low), float(high)


def bca_interval(value: float, replicates: np.ndarray, acceleration: float, confidence: float) -> tuple[float, float]:
    """Bias-corrected and accelerated interval (Efron 1987, doi:10.1080/01621459.1987.10478410).

    Replicates that equal the value count half on either side, so that figures with few distinct values are not
    corrected for a bias they do not have. NaN with fewer than 20 defined replicates.
    """
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < MIN_DEFINED or not math.isfinite(value):
        return math.nan, math.nan
    close = np.isclose(defined, value, rtol=1e-12, atol=1e-12)
    share = (np.sum(defined[~close] < value) + close.sum() / 2) / len(defined)
    share = min(max(float(share), 0.5 / len(defined)), 1 - 0.5 / len(defined))
    shift = normal_quantile(share)
    tails = []
    for z in (normal_quantile((1 - confidence) / 2), normal_quantile((1 + confidence) / 2)):
        bend = 1 - acceleration * (shift + z)
        tails.append(normal_cdf(shift + (shift + z) / bend) if bend > 0 else float(z > 0))
    low, high = np.percentile(defined, np.clip([100 * tail for tail in tails], 0, 100))
    return float(low), float(high)


def varies(defined: np.ndarray) -> bool:
    """Whether replicates differ by more than rounding error: those that do not make no interval."""
    return len(defined) > 0 and bool(np.ptp(defined) > 1e-12)


def replicate_interval(
    statistic: Weighted, value: float, resampling: Resampling, *, method: Method, confidence: float
) -> tuple[float, float, np.ndarray]:
    """Both ends of the interval of a statistic of case weights, and its replicates, shape (replicate,).

    Raises
    ------
    TableError
        For an unknown method.
    """
    if method not in ("percentile", "bca"):
        raise TableError(f"bootstrap method '{method}': allowed are percentile and bca")
    checked_confidence(confidence)
    replicates = resampling.replicates(statistic)
    if method == "percentile":
        return *percentile_interval(replicates, confidence), replicates
    return *bca_interval(value, replicates, float(resampling.acceleration(statistic)[0]), confidence), replicates


def bootstrap(
    statistic: Callable[..., Any],
    data: dict[str, Any],
    *,
    unit: Any,
    n_replicates: int = 2000,
    method: Method = "percentile",
    seed: int = 0,
    confidence: float = 0.95,
    strata: Any = None,
    vectorized: bool = False,
) -> Interval:
    """Bootstrap any statistic of case-wise arrays.

    Parameters
    ----------
    statistic : callable
        Called with the arrays of `data` by name, returns a float; a `TableError` or NaN makes a replicate undefined.
        With `vectorized` it is called with the arrays of all cases and with ``weights`` of shape (replicate, case),
        how often each case was drawn, and returns shape (replicate,): `roc_auc_weighted` and `partial_auc_weighted`
        are such.
    data : dict of str to array-like, each of shape (n_cases, ...)
    unit : array-like, shape (n_cases,), or None
        What is drawn: the patient of each case. None: each case.
    method : str
        ``percentile``, or ``bca`` (bias-corrected and accelerated), which covers better where the figure is skewed.
    strata : array-like, shape (n_cases,), optional
        Units are drawn within strata, for instance the label.

    Raises
    ------
    TableError
        For an unknown method or arrays of different lengths.

    Notes
    -----
    Neither interval covers in small samples: see ``docs/evaluation.md``. For an AUC `delong_interval` and
    `clustered_auc`, and for a sensitivity `wilson` or `effective_size_interval` are better.

    Examples
    --------
    >>> bootstrap(lambda x: float(x.mean()), {"x": np.ones(8)}, unit=np.arange(8), n_replicates=50).low
    1.0
    >>> from medseg.evaluation import roc_auc_weighted
    >>> ratings = {"y_true": np.arange(40) % 2 == 1, "y_score": np.arange(40.0) % 7}
    >>> interval = bootstrap(roc_auc_weighted, ratings, unit=None, method="bca", vectorized=True)
    >>> interval.low < interval.value < interval.high
    True
    """
    if n_replicates < 1 or n_replicates != int(n_replicates) or seed < 0:
        raise TableError(f"at least one replicate and a seed of 0 or more are needed, found {n_replicates} and {seed}")
    arrays = {name: np.asarray(values) for name, values in data.items()}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise TableError(f"the arrays of data must have one length above 0, found {lengths}")
    n_cases = next(iter(lengths.values()))
    resampling = Resampling.of(unit, n_cases=n_cases, strata=strata, n_replicates=n_replicates, seed=seed)

    def weighted(weights: np.ndarray) -> np.ndarray:
        if vectorized:
            return np.asarray(statistic(**arrays, weights=weights), float)
        return np.array([_once(statistic, arrays, row) for row in weights])

    value = float(weighted(np.ones((1, n_cases), dtype=np.float32))[0])
    low, high, replicates = replicate_interval(weighted, value, resampling, method=method, confidence=confidence)
    defined = int(np.isfinite(replicates).sum())
    _say_undefined(defined, n_replicates)
    return Interval(value, low, high, defined, method, resampling.n_units, seed, confidence)


def _once(statistic: Callable[..., Any], arrays: dict[str, np.ndarray], weights: np.ndarray) -> float:
    drawn = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", EvaluationWarning)  # said once, for the data themselves
            return float(statistic(**{name: values[drawn] for name, values in arrays.items()}))
    except TableError:
        return math.nan


def _say_undefined(defined: int, n_replicates: int) -> None:
    if defined < 0.95 * n_replicates:
        warnings.warn(
            f"the figure is undefined in {n_replicates - defined} of {n_replicates} replicates; draw within strata",
            EvaluationWarning,
            stacklevel=3,
        )


def mean_weighted(values: ArrayLike) -> Weighted:
    """The mean of case-wise figures as a statistic of case weights; missing values (NaN) are left out."""
    array = np.asarray(values, float)
    known = np.isfinite(array)
    kept = np.where(known, array, 0.0)

    def mean(weights: np.ndarray) -> np.ndarray:
        return (weights @ kept) / (weights @ known.astype(float))

    return mean
