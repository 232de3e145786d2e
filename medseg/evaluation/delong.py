"""Variance of the AUC and tests between two of them after DeLong, in O(n log n)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import TableError
from medseg.evaluation.checks import checked_confidence, checked_ratings
from medseg.evaluation.distributions import midranks, two_sided_p, two_sided_quantile
from medseg.evaluation.proportions import auc_score_interval, logit_interval

__all__ = [
    "AucTest",
    "delong_covariance",
    "delong_interval",
    "delong_test",
    "delong_test_unpaired",
    "delong_variance",
    "placements",
]


@dataclass(frozen=True, slots=True)
class AucTest:
    """Comparison of two AUC.

    Parameters
    ----------
    auc_a, auc_b : float
    statistic : float
        Difference a - b divided by its standard error; NaN where that is 0.
    p_value : float
        Two-sided. 1 where the two do not differ at all, NaN where they differ without any variance.
    ci_low, ci_high : float
        Interval of the difference a - b; NaN where it has no variance.
    df : float
        Degrees of freedom: infinite for the normal distribution.
    """

    auc_a: float
    auc_b: float
    statistic: float
    p_value: float
    ci_low: float
    ci_high: float
    df: float = math.inf

    @property
    def z(self) -> float:
        """The statistic by its usual name."""
        return self.statistic

    @property
    def difference(self) -> float:
        """``auc_a - auc_b``."""
        return self.auc_a - self.auc_b

    @classmethod
    def of(
        cls, auc_a: float, auc_b: float, variance: float, *, confidence: float = 0.95, df: float = math.inf
    ) -> "AucTest":
        """The test that a variance of the difference makes."""
        difference, error = auc_a - auc_b, math.sqrt(max(variance, 0.0))
        if error < 1e-12:  # rounding error of a difference that does not vary
            p_value = 1.0 if abs(difference) < 1e-12 else math.nan
            return cls(auc_a, auc_b, math.nan, p_value, math.nan, math.nan, df)
        statistic = difference / error
        width = two_sided_quantile(checked_confidence(confidence), df) * error
        p_value = two_sided_p(statistic, df)
        return cls(auc_a, auc_b, statistic, p_value, difference - width, difference + width, df)

    @classmethod
    def of_covariance(cls, auc: np.ndarray, covariance: np.ndarray, *, confidence: float = 0.95) -> "AucTest":
        """The test between two correlated areas."""
        variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        return cls.of(float(auc[0]), float(auc[1]), variance, confidence=confidence)


def placements(truth: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Placement values of diseased and healthy cases, by midranks (Sun and Xu 2014, doi:10.1109/LSP.2014.2337313).

    Parameters
    ----------
    truth, score : ndarray, shape (n,)

    Returns
    -------
    diseased, healthy : ndarray
        For each diseased case the share of healthy cases below it, for each healthy case the share of diseased cases
        above it, ties counting half. Both have the AUC as their mean.
    """
    m, n = int(truth.sum()), int((~truth).sum())
    everything, diseased, healthy = midranks(score), midranks(score[truth]), midranks(score[~truth])
    return (everything[truth] - diseased) / n, 1 - (everything[~truth] - healthy) / m


def delong_covariance(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC of several scores of the same cases, and their covariance (DeLong 1988, doi:10.2307/2531595).

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray, shape (score, n)

    Returns
    -------
    auc : ndarray, shape (score,)
    covariance : ndarray, shape (score, score)

    Raises
    ------
    TableError
        With fewer than two cases of a kind.
    """
    if truth.sum() < 2 or (~truth).sum() < 2:
        raise TableError("DeLong's variance needs at least two cases with and two without disease")
    both = [placements(truth, score) for score in scores]
    diseased, healthy = np.array([p[0] for p in both]), np.array([p[1] for p in both])
    covariance = np.cov(diseased, ddof=1) / diseased.shape[1] + np.cov(healthy, ddof=1) / healthy.shape[1]
    return diseased.mean(axis=1), np.atleast_2d(covariance)


def delong_variance(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Variance of the AUC.

    Raises
    ------
    TableError
        As `roc_auc`, and with fewer than two cases of a kind.
    """
    truth, score = checked_ratings(y_true, y_score)
    return float(delong_covariance(truth, score[None])[1][0, 0])


def delong_interval(
    y_true: ArrayLike, y_score: ArrayLike, *, confidence: float = 0.95, logit: bool = True
) -> tuple[float, float, float]:
    """AUC with its DeLong interval, by default transformed to logits.

    Returns
    -------
    auc, low, high : float
        Where the variance vanishes (perfect separation, or all scores tied) the interval is that of
        `auc_score_interval`, which does not shrink to a point; `logit=False` leaves it as it is. NaN with fewer than
        two cases of a kind.

    Notes
    -----
    Coverage at 95 %: see ``docs/evaluation.md``. Cases must be independent: with several images of a patient use
    `clustered_auc`.

    Examples
    --------
    >>> auc, low, high = delong_interval([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6])
    >>> round(auc, 3), round(low, 3), round(high, 3)
    (0.889, 0.261, 0.995)
    """
    truth, score = checked_ratings(y_true, y_score)
    checked_confidence(confidence)
    if truth.sum() < 2 or (~truth).sum() < 2:
        return float(placements(truth, score)[0].mean()), math.nan, math.nan
    auc, covariance = delong_covariance(truth, score[None])
    value, error = float(auc[0]), math.sqrt(max(float(covariance[0, 0]), 0))
    if not logit:
        width = two_sided_quantile(confidence) * error
        return value, max(0.0, value - width), min(1.0, value + width)
    if error < 1e-12:
        return value, *auc_score_interval(value, int(truth.sum()), int((~truth).sum()), confidence=confidence)
    return value, *logit_interval(value, error, confidence=confidence)


def delong_test(y_true: ArrayLike, a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> AucTest:
    """Test whether two scores of the same cases have the same AUC.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    a, b : array-like of float, shape (n,)

    Raises
    ------
    TableError
        As `roc_auc`, and with fewer than two cases of a kind.

    See Also
    --------
    clustered_auc_test : where patients have several images.
    """
    truth, first = checked_ratings(y_true, a)
    _, second = checked_ratings(y_true, b)
    return AucTest.of_covariance(*delong_covariance(truth, np.stack([first, second])), confidence=confidence)


def delong_test_unpaired(
    y_true_a: ArrayLike, a: ArrayLike, y_true_b: ArrayLike, b: ArrayLike, *, confidence: float = 0.95
) -> AucTest:
    """Test whether scores of two separate sets of patients have the same AUC.

    The statistic follows Student's t with the degrees of freedom of Welch and Satterthwaite over the two sets.

    Raises
    ------
    TableError
        As `delong_test`.
    """
    values, variances, sizes = [], [], []
    for y_true, scores in ((y_true_a, a), (y_true_b, b)):
        truth, score = checked_ratings(y_true, scores)
        auc, covariance = delong_covariance(truth, score[None])
        values.append(float(auc[0]))
        variances.append(float(covariance[0, 0]))
        sizes.append(len(score))
    total = sum(variances)
    parts = sum(v**2 / (n - 1) for v, n in zip(variances, sizes))
    df = total**2 / parts if parts > 0 else math.inf
    return AucTest.of(values[0], values[1], total, confidence=confidence, df=df)
