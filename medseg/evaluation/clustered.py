"""AUC where patients have several images: variance after Obuchowski."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import TableError
from medseg.evaluation.bootstrap import Interval
from medseg.evaluation.checks import checked_confidence, checked_ratings, numbered
from medseg.evaluation.delong import AucTest, placements
from medseg.evaluation.distributions import two_sided_quantile
from medseg.evaluation.proportions import auc_score_interval, logit_interval

__all__ = ["auc_interval", "clustered_auc", "clustered_auc_test", "clustered_covariance"]

VANISHING = 1e-24  # a variance below it is the rounding error of one that is 0


def clustered_covariance(truth: np.ndarray, scores: np.ndarray, cluster: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC of several scores and their covariance when the images of a patient are correlated.

    Sums of placement values are taken over each patient, and a patient with images of both kinds contributes a
    covariance between the two (Obuchowski 1997, doi:10.2307/2533958). With one image a patient this is DeLong's.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    scores : ndarray, shape (score, n)
    cluster : ndarray of int, shape (n,)
        Number of each case's patient, from 0.

    Returns
    -------
    auc : ndarray, shape (score,)
    covariance : ndarray, shape (score, score)

    Raises
    ------
    TableError
        With fewer than two patients that have images of a kind.
    """
    n_clusters = int(cluster.max()) + 1
    m = np.bincount(cluster[truth], minlength=n_clusters)
    n = np.bincount(cluster[~truth], minlength=n_clusters)
    with_m, with_n = int((m > 0).sum()), int((n > 0).sum())
    if with_m < 2 or with_n < 2:
        raise TableError("the variance needs at least two patients with diseased and two with healthy images")
    auc, diseased, healthy = [], [], []
    for score in scores:
        place_diseased, place_healthy = placements(truth, score)
        area = float(place_diseased.mean())
        auc.append(area)
        diseased.append(np.bincount(cluster[truth], place_diseased, n_clusters) - m * area)
        healthy.append(np.bincount(cluster[~truth], place_healthy, n_clusters) - n * area)
    x, y = np.array(diseased), np.array(healthy)  # (score, patient): sums of deviations
    total_m, total_n = m.sum(), n.sum()
    own = with_m / (with_m - 1) * (x @ x.T) / total_m**2 + with_n / (with_n - 1) * (y @ y.T) / total_n**2
    between = n_clusters / (n_clusters - 1) * (x @ y.T) / (total_m * total_n)
    return np.array(auc), own + between + between.T


def clustered_auc(
    y_true: ArrayLike, y_score: ArrayLike, *, cluster: ArrayLike, confidence: float = 0.95, logit: bool = True
) -> tuple[float, float, float]:
    """AUC over images with an interval over patients.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    y_score : array-like of float, shape (n,)
    cluster : array-like, shape (n,)
        Patient of each image.

    Returns
    -------
    auc, low, high : float
        NaN bounds with fewer than two patients of a kind.

    Raises
    ------
    TableError
        As `roc_auc`.

    Examples
    --------
    >>> auc, low, high = clustered_auc([0, 0, 0, 1, 1, 1], [1, 2, 4, 3, 5, 6], cluster=list("aabbcd"))
    >>> round(auc, 3), round(low, 2), round(high, 2)
    (0.889, 0.09, 1.0)
    """
    truth, score = checked_ratings(y_true, y_score)
    value, variance, sizes = _value_and_variance(truth, score, numbered(cluster, len(truth)))
    if math.isnan(variance):
        return value, math.nan, math.nan
    if not logit and variance >= VANISHING:
        width = two_sided_quantile(checked_confidence(confidence)) * math.sqrt(variance)
        return value, max(0.0, value - width), min(1.0, value + width)
    return value, *_bounds(value, variance, sizes, confidence)


def _value_and_variance(
    truth: np.ndarray, score: np.ndarray, patient: np.ndarray
) -> tuple[float, float, tuple[int, int]]:
    """AUC, its variance (NaN with one patient of a kind), and the patients of either kind."""
    sizes = (len(np.unique(patient[truth])), len(np.unique(patient[~truth])))
    if min(sizes) < 2:
        return float(placements(truth, score)[0].mean()), math.nan, sizes
    auc, covariance = clustered_covariance(truth, score[None], patient)
    return float(auc[0]), float(covariance[0, 0]), sizes


def _bounds(value: float, variance: float, sizes: tuple[int, int], confidence: float) -> tuple[float, float]:
    """In log odds; Newcombe's where the variance vanishes or cannot be had."""
    if variance >= VANISHING:
        return logit_interval(value, math.sqrt(variance), confidence=confidence)
    return auc_score_interval(value, *sizes, confidence=confidence)


def auc_interval(y_true: ArrayLike, y_score: ArrayLike, *, unit: Any = None, confidence: float = 0.95) -> Interval:
    """AUC with the interval that fits the data.

    DeLong's in log odds; Obuchowski's where patients have several cases; where the variance vanishes (perfect
    separation, all scores tied) or cannot be had (one patient of a kind) Newcombe's score interval.

    Parameters
    ----------
    unit : array-like, shape (n,), optional
        Patient of each case.

    Raises
    ------
    TableError
        As `roc_auc`.
    """
    truth, score = checked_ratings(y_true, y_score)
    patient = numbered(unit, len(truth))
    n_units = int(patient.max()) + 1
    value, variance, sizes = _value_and_variance(truth, score, patient)
    if not variance >= VANISHING:
        variance, method = 0.0, "Newcombe score"
    else:
        method = "DeLong, logit" if n_units == len(truth) else "Obuchowski clustered, logit"
    return Interval(value, *_bounds(value, variance, sizes, confidence), 0, method, n_units, 0, confidence)


def clustered_auc_test(
    y_true: ArrayLike, a: ArrayLike, b: ArrayLike, *, cluster: ArrayLike, confidence: float = 0.95
) -> AucTest:
    """Test whether two scores of the same images have the same AUC, the images grouped by patient.

    Raises
    ------
    TableError
        As `roc_auc`, and with fewer than two patients of a kind.
    """
    truth, first = checked_ratings(y_true, a)
    _, second = checked_ratings(y_true, b)
    found = clustered_covariance(truth, np.stack([first, second]), numbered(cluster, len(truth)))
    return AucTest.of_covariance(*found, confidence=confidence)
