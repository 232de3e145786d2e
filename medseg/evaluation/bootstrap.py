"""Bootstrap by patient: whole patients are drawn, so that their images and lesions stay together."""

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation.checks import checked_confidence, numbered
from medseg.evaluation.distributions import normal_cdf, normal_quantile

__all__ = [
    "Interval",
    "Method",
    "Resampling",
    "bca_interval",
    "bootstrap",
    "mean_weighted",
    "percentile_interval",
]

Method = Literal["percentile", "bca"]
Weighted = Callable[[np.ndarray], np.ndarray]  # case weights (replicate, case) -> (replicate,) or (replicate, figure)
MIN_DEFINED = 20  # with fewer defined replicates there is no interval
JACKKNIFE = 500  # at most so many groups of a stratum's units are left out in turn: enough for the acceleration
BLOCK = 4_000_000  # weights held at a time


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


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Which units are drawn how often.

    Parameters
    ----------
    unit : ndarray of int, shape (case,)
        Number of each case's unit (patient), from 0.
    stratum : ndarray of int, shape (unit,)
        Units are drawn within their stratum, so that its size stays as it was.
    n_replicates, seed : int
    """

    unit: np.ndarray
    stratum: np.ndarray
    n_replicates: int
    seed: int

    @classmethod
    def of(
        cls, unit: Any, *, n_cases: int, strata: Any = None, n_replicates: int = 2000, seed: int = 0
    ) -> "Resampling":
        """Draw `unit` (None: each case is one) within `strata` (of each case; None: there is one stratum).

        A unit whose cases lie in several strata makes, with its like, a stratum of its own.
        """
        number = numbered(unit, n_cases)
        if strata is None:
            return cls(number, np.zeros(int(number.max()) + 1, int), n_replicates, seed)
        _, stratum = np.unique(np.asarray(strata), return_inverse=True)
        if len(stratum) != n_cases:
            raise TableError(f"one stratum is needed for each of the {n_cases} cases, found {len(stratum)}")
        present = np.zeros((int(number.max()) + 1, int(stratum.max()) + 1), dtype=bool)
        present[number, stratum] = True
        return cls(number, np.unique(present, axis=0, return_inverse=True)[1].reshape(-1), n_replicates, seed)

    @property
    def n_units(self) -> int:
        """Units that are drawn."""
        return len(self.stratum)

    def _streams(self) -> list[np.random.Generator]:
        """Random numbers of each stratum, so that draws do not depend on how many are made at a time."""
        return [np.random.default_rng([self.seed, stratum]) for stratum in range(int(self.stratum.max()) + 1)]

    def _unit_counts(self, n: int, streams: list[np.random.Generator]) -> np.ndarray:
        """How often each unit is drawn in each of `n` further replicates, shape (n, unit)."""
        counts = np.zeros((n, self.n_units), dtype=np.float32)
        for stratum, random in enumerate(streams):
            members = np.flatnonzero(self.stratum == stratum)
            size = len(members)
            drawn = random.integers(size, size=(n, size), dtype=np.int32)
            drawn += (np.arange(n, dtype=np.int32) * size)[:, None]  # one row of bins a replicate
            counts[:, members] = np.bincount(drawn.ravel(), minlength=n * size).reshape(n, size)
        return counts

    def blocks(self) -> Iterator[np.ndarray]:
        """Case weights of all replicates, in blocks of shape (replicate, case)."""
        streams = self._streams()
        rows = max(1, BLOCK // max(len(self.unit), 1))
        for start in range(0, self.n_replicates, rows):
            yield self._unit_counts(min(rows, self.n_replicates - start), streams)[:, self.unit]

    def replicates(self, statistic: Weighted) -> np.ndarray:
        """The statistic in every replicate, shape (replicate, ...)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = [np.asarray(statistic(weights), float) for weights in self.blocks()]
        if not found:
            raise TableError(f"at least one replicate is needed, found {self.n_replicates}")
        return np.concatenate(found)

    def jackknife(self) -> tuple[Iterator[np.ndarray], np.ndarray]:
        """Case weights with groups of units left out in turn, and the stratum of each group.

        Each unit of a stratum is a group of its own up to 500 of them; beyond, the units are shared out over 500 groups
        by chance: groups of g units have a skewness smaller by the square root of g, and so has their number.
        """
        random = np.random.default_rng(self.seed)
        group = np.empty(self.n_units, int)
        strata: list[int] = []
        for stratum in range(int(self.stratum.max()) + 1):
            members = random.permutation(np.flatnonzero(self.stratum == stratum))
            n = min(len(members), JACKKNIFE)
            group[members] = len(strata) + np.arange(len(members)) % n
            strata += [stratum] * n
        of_case = group[self.unit]

        def weights() -> Iterator[np.ndarray]:
            rows = max(1, BLOCK // max(len(self.unit), 1))
            for start in range(0, len(strata), rows):
                left_out = np.arange(start, min(start + rows, len(strata)))
                yield (of_case[None] != left_out[:, None]).astype(np.float32)

        return weights(), np.array(strata)

    def acceleration(self, statistic: Weighted) -> np.ndarray:
        """Acceleration of the BCa interval by the jackknife, shape of the statistic.

        Strata are treated as independent samples (Davison and Hinkley 1997, equation 5.23 with influence values of
        section 3.2). 0 where the jackknife does not vary or is undefined.
        """
        blocks, stratum = self.jackknife()
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.concatenate([np.asarray(statistic(weights), float) for weights in blocks])
        values = values.reshape(len(values), -1)
        cubes, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for number in range(int(stratum.max()) + 1):
            own = values[stratum == number]
            n = len(own)
            influence = (n - 1) * (own.mean(axis=0) - own) / n
            cubes += (influence**3).sum(axis=0)
            squares += (influence**2).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            a = np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)
        return np.nan_to_num(a)


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
    if method not in ("percentile", "bca"):
        raise TableError(f"bootstrap method '{method}': allowed are percentile and bca")
    checked_confidence(confidence)
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
    replicates = resampling.replicates(weighted)
    if method == "bca":
        low, high = bca_interval(value, replicates, float(resampling.acceleration(weighted)[0]), confidence)
    else:
        low, high = percentile_interval(replicates, confidence)
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
