"""Two detectors on the same cases: paired bootstrap and permutation, corrected for many comparisons."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.bootstrap import Method, replicate_interval, varies
from medseg.evaluation.distributions import midranks
from medseg.evaluation.resampling import Resampling, Weighted

__all__ = ["PairedDifference", "holm", "paired_bootstrap", "permutation_test", "shared_ranks"]


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """A figure of two detectors on the same cases, with the interval of the difference.

    Parameters
    ----------
    value_a, value_b, difference : float
    low, high : float
        Interval of the difference a - b; NaN where the replicates do not vary.
    n_replicates : int
        Replicates in which both were defined.
    method : str
    """

    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    n_replicates: int
    method: str


def paired_bootstrap(
    a: Weighted, b: Weighted, resampling: Resampling, *, method: Method = "bca", confidence: float = 0.95
) -> PairedDifference:
    """Interval of the difference of a figure, both detectors seeing the same draws of patients.

    Parameters
    ----------
    a, b : callable
        The figure of either detector: takes case weights of shape (replicate, case), returns shape (replicate,).
    resampling : Resampling
        ``Resampling.of(patient, n_cases=n)``.

    Notes
    -----
    For a p value use `permutation_test`, or for an AUC `delong_test`: counting replicates beyond 0 is no test.
    """

    def difference(weights: np.ndarray) -> np.ndarray:
        return a(weights) - b(weights)

    one = np.ones((1, len(resampling.unit)), dtype=np.float32)
    value_a, value_b = float(a(one)[0]), float(b(one)[0])
    low, high, replicates = replicate_interval(
        difference, value_a - value_b, resampling, method=method, confidence=confidence
    )
    defined = replicates[np.isfinite(replicates)]
    if not varies(defined):
        low, high = math.nan, math.nan
    return PairedDifference(value_a, value_b, value_a - value_b, low, high, len(defined), method)


def permutation_test(
    both: Weighted, unit: Any, *, n_cases: int, n_permutations: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Test whether two detectors have the same figure by exchanging them patient by patient.

    Parameters
    ----------
    both : callable
        The figure over the cases of detector a followed by those of detector b: takes weights of shape
        (replicate, 2 n_cases), returns shape (replicate,). The scores of the two must be on one scale: exchange
        ranks (`shared_ranks`), or `false_positive_scale` for marks, not the raw scores of two models.
    unit : array-like, shape (n_cases,), or None
        Patient of each case; all cases of a patient are exchanged together.

    Returns
    -------
    difference : float
        Figure of a less figure of b.
    p_value : float
        Two-sided, ``(b + 1) / (B + 1)`` with b of B permutations at least as far from 0 (Phipson and Smyth 2010,
        doi:10.2202/1544-6115.1585): never 0. NaN where the figure is undefined.

    Notes
    -----
    The null hypothesis is that the two may be exchanged case by case, which is more than an equal figure: two
    detectors with equal areas under curves of different shape are not exchangeable.
    """
    if n_cases < 1 or n_permutations < 1 or seed < 0:
        raise TableError("at least one case, one permutation and a seed of 0 or more are needed")
    resampling = Resampling.of(unit, n_cases=n_cases)
    random = np.random.default_rng(seed)
    observed = _difference(both, np.zeros((1, n_cases), bool))[0]
    if not math.isfinite(observed):
        return float(observed), math.nan
    beyond, done, rows = 0, 0, max(1, 2_000_000 // n_cases)
    while done < n_permutations:
        n = min(rows, n_permutations - done)
        swapped = random.random((n, resampling.n_units)) < 0.5
        differences = _difference(both, swapped[:, resampling.unit])
        beyond += int(np.sum(~(np.abs(differences) < abs(observed) - 1e-12)))  # undefined ones count as extreme
        done += n
    return float(observed), (beyond + 1) / (n_permutations + 1)


def _difference(both: Weighted, swapped: np.ndarray) -> np.ndarray:
    kept = (~swapped).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return both(np.hstack([kept, 1 - kept])) - both(np.hstack([1 - kept, kept]))


def shared_ranks(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two detectors as ranks within each, from 0 to 1: one scale for both.

    Parameters
    ----------
    a, b : ndarray
        Scores, which may differ in number; minus infinity (no mark) stays.

    Examples
    --------
    >>> shared_ranks(np.array([10.0, 30.0, 20.0]), np.array([0.1, 0.2]))
    (array([0.16666667, 0.83333333, 0.5       ]), array([0.25, 0.75]))
    """
    return _ranks(a), _ranks(b)


def _ranks(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores, float)
    known = np.isfinite(scores)
    ranks = scores.copy()
    if known.any():
        ranks[known] = (midranks(scores[known]) - 0.5) / known.sum()
    return ranks


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p values for many comparisons (Holm 1979); undefined ones (NaN) stay and do not count.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).round(2).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise TableError("p values are one list of numbers from 0 to 1")
    adjusted = np.full(len(p), np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * factors)) if len(order) else []
    return adjusted
