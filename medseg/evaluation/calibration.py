"""Whether a score of 0.3 means three in ten."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import TableError
from medseg.evaluation.checks import checked_labels, checked_scores
from medseg.evaluation.proportions import wilson

__all__ = [
    "BrierScore",
    "ReliabilityCurve",
    "brier_score",
    "brier_weighted",
    "expected_calibration_error",
    "expected_calibration_error_weighted",
    "reliability_curve",
]


@dataclass(frozen=True, slots=True, eq=False)
class ReliabilityCurve:
    """Predicted probabilities against observed shares, in bins that hold cases.

    Parameters
    ----------
    predicted, observed : ndarray, shape (bin,)
        Mean probability and share of positive cases.
    low, high : ndarray, shape (bin,)
        Wilson's interval of the share, the cases being independent.
    count : ndarray of int, shape (bin,)
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: np.ndarray


@dataclass(frozen=True, slots=True)
class BrierScore:
    """Mean squared error of probabilities and its parts.

    ``score = reliability - resolution + uncertainty + within_bin_variance - within_bin_covariance`` exactly (Murphy
    1973, doi:10.1175/1520-0450(1973)012<0595:ANVPOT>2.0.CO;2; the last two, which vanish when the probabilities of a
    bin are equal, after Stephenson 2008, doi:10.1175/2007WAF2006116.1).
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bin_variance: float
    within_bin_covariance: float


def _checked(y_true: ArrayLike, probability: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth, p = checked_labels(y_true), checked_scores(probability, name="probability")
    if truth.shape != p.shape or not len(p):
        raise TableError(f"labels and probabilities must be two lists of one length, found {len(truth)} and {len(p)}")
    odd = np.flatnonzero((p < 0) | (p > 1))
    if len(odd):
        raise TableError(f"the probability {p[odd[0]]:g} of case number {odd[0]} is not between 0 and 1")
    return truth, p


def _bins(p: np.ndarray, n_bins: int, strategy: str) -> np.ndarray:
    if n_bins < 1:
        raise TableError(f"at least one bin is needed, found {n_bins}")
    if strategy == "uniform":
        return np.minimum((p * n_bins + 1e-9).astype(int), n_bins - 1)  # 0.29 * 100 is 28.999999999999996
    if strategy == "quantile":  # equal probabilities share a bin
        edges = np.unique(np.quantile(p, np.linspace(0, 1, n_bins + 1)[1:-1]))
        return np.searchsorted(edges, p, side="right")
    raise TableError(f"strategy '{strategy}': allowed are uniform and quantile")


def _groups(
    truth: np.ndarray, p: np.ndarray, n_bins: int, strategy: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bin of each case, and count, mean probability and share of positives of each bin that holds cases."""
    _, place, count = np.unique(_bins(p, n_bins, strategy), return_inverse=True, return_counts=True)
    return place, count, np.bincount(place, p) / count, np.bincount(place, truth) / count


def reliability_curve(
    y_true: ArrayLike,
    probability: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
    confidence: float = 0.95,
) -> ReliabilityCurve:
    """Reliability curve.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    probability : array-like of float between 0 and 1, shape (n,)
    strategy : str
        ``uniform``: bins of equal width, closed below; ``quantile``: about as many cases in each.

    Raises
    ------
    TableError
        For labels or probabilities that are none, naming the case.
    """
    truth, p = _checked(y_true, probability)
    _, count, predicted, observed = _groups(truth, p, n_bins, strategy)
    bounds = np.array([wilson(round(share * n), int(n), confidence=confidence) for share, n in zip(observed, count)])
    return ReliabilityCurve(predicted, observed, bounds[:, 0], bounds[:, 1], count)


def expected_calibration_error(
    y_true: ArrayLike,
    probability: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
) -> float:
    """Mean distance of predicted from observed over the bins, weighted by cases (Naeini 2015; Guo 2017).

    It depends on the bins and is biased upward in small samples: compare it only at equal bins and sizes.

    Examples
    --------
    >>> expected_calibration_error([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75])
    0.25
    """
    truth, p = _checked(y_true, probability)
    _, count, predicted, observed = _groups(truth, p, n_bins, strategy)
    return float(np.sum(count * np.abs(predicted - observed)) / len(p))


def expected_calibration_error_weighted(
    truth: np.ndarray, probability: np.ndarray, case: np.ndarray, weights: np.ndarray, *, n_bins: int = 10
) -> np.ndarray:
    """The same in bins of equal width under weights of cases.

    Parameters
    ----------
    truth, probability, case : ndarray, shape (n,)
        `case` is the column of `weights`, in which each counts.
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    ndarray, shape (replicate,)
    """
    n_cases = weights.shape[1]
    off = np.zeros((n_cases, n_bins))  # summed over each case first: replicates of all candidates would fill the memory
    np.add.at(off, (case, _bins(probability, n_bins, "uniform")), probability - np.asarray(truth, float))
    return np.asarray(np.abs(weights @ off).sum(axis=1) / (weights @ np.bincount(case, minlength=n_cases)))


def brier_weighted(truth: np.ndarray, probability: np.ndarray, case: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Brier score under weights of cases, as of `expected_calibration_error_weighted`."""
    n_cases = weights.shape[1]
    squares = np.bincount(case, (probability - np.asarray(truth, float)) ** 2, minlength=n_cases)
    return np.asarray((weights @ squares) / (weights @ np.bincount(case, minlength=n_cases)))


def brier_score(
    y_true: ArrayLike,
    probability: ArrayLike,
    *,
    n_bins: int = 10,
    strategy: Literal["uniform", "quantile"] = "uniform",
) -> BrierScore:
    """Brier score with its decomposition over bins.

    Examples
    --------
    >>> brier_score([0, 1, 1, 1], [0.25, 0.25, 0.75, 0.75])
    BrierScore(score=0.1875, reliability=0.0625, resolution=0.0625, uncertainty=0.1875, within_bin_variance=0.0, \
within_bin_covariance=0.0)
    """
    truth, p = _checked(y_true, probability)
    place, count, predicted, observed = _groups(truth, p, n_bins, strategy)
    share, base = count / len(p), float(truth.mean())
    off_p, off_y = p - predicted[place], truth - observed[place]
    return BrierScore(
        score=float(np.mean((p - truth) ** 2)),
        reliability=float(np.sum(share * (predicted - observed) ** 2)),
        resolution=float(np.sum(share * (observed - base) ** 2)),
        uncertainty=base * (1 - base),
        within_bin_variance=float(np.mean(off_p**2)),
        within_bin_covariance=float(2 * np.mean(off_p * off_y)),
    )
