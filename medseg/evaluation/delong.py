"""Variance of the AUC and the paired test after DeLong, in O(n log n)."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, rankdata

from medseg.errors import TableError
from medseg.evaluation.roc import _checked

__all__ = ["DelongTest", "delong_interval", "delong_test"]


@dataclass(frozen=True, slots=True)
class DelongTest:
    """Paired comparison of two AUC.

    Parameters
    ----------
    auc_a, auc_b : float
    z : float
        Standard normal deviate of the difference a - b; NaN where its variance is 0.
    p_value : float
        Two-sided.
    """

    auc_a: float
    auc_b: float
    z: float
    p_value: float


def _placements(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placement values of diseased and healthy cases, by midranks (Sun and Xu 2014, doi:10.1109/LSP.2014.2337313)."""
    m, n = int(truth.sum()), int((~truth).sum())
    everything, diseased, healthy = rankdata(scores), rankdata(scores[truth]), rankdata(scores[~truth])
    return (everything[truth] - diseased) / n, 1 - (everything[~truth] - healthy) / m


def _covariance(truth: np.ndarray, scores: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """AUC and their covariance (DeLong 1988, doi:10.2307/2531595)."""
    placements = [_placements(truth, score) for score in scores]
    diseased = np.array([p[0] for p in placements])
    healthy = np.array([p[1] for p in placements])
    auc = diseased.mean(axis=1)
    covariance = np.cov(diseased, ddof=1) / diseased.shape[1] + np.cov(healthy, ddof=1) / healthy.shape[1]
    return auc, np.atleast_2d(covariance)


def delong_interval(
    y_true: np.ndarray, y_score: np.ndarray, *, confidence: float = 0.95, logit: bool = True
) -> tuple[float, float, float]:
    """AUC with its DeLong interval, by default transformed to logits.

    Returns
    -------
    auc, low, high : float
        The interval is NaN with fewer than two cases of a kind.
    """
    truth, score = _checked(y_true, y_score)
    if truth.sum() < 2 or (~truth).sum() < 2:
        return float(_placements(truth, score)[0].mean()), math.nan, math.nan
    auc, covariance = _covariance(truth, [score])
    value, error = float(auc[0]), math.sqrt(max(float(covariance[0, 0]), 0))
    z = float(norm.ppf(0.5 + confidence / 2))
    if not logit or value in (0.0, 1.0):
        return value, max(0.0, value - z * error), min(1.0, value + z * error)
    centre, width = math.log(value / (1 - value)), z * error / (value * (1 - value))
    return value, 1 / (1 + math.exp(-(centre - width))), 1 / (1 + math.exp(-(centre + width)))


def delong_test(y_true: np.ndarray, a: np.ndarray, b: np.ndarray) -> DelongTest:
    """Test whether two scores of the same cases have the same AUC.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    a, b : array-like of float, shape (n,)

    Raises
    ------
    TableError
        With fewer than two cases of a kind.
    """
    truth, first = _checked(y_true, a)
    _, second = _checked(y_true, b)
    if truth.sum() < 2 or (~truth).sum() < 2:
        raise TableError("DeLong's test needs at least two cases with and two without disease")
    auc, covariance = _covariance(truth, [first, second])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = float(auc[0] - auc[1])
    z = difference / math.sqrt(variance) if variance > 0 else math.nan
    p_value = 2 * float(norm.sf(abs(z))) if variance > 0 else (1.0 if difference == 0 else math.nan)
    return DelongTest(float(auc[0]), float(auc[1]), z, p_value)
