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
    patient = numbered(cluster, len(truth))
    try:
        auc, covariance = clustered_covariance(truth, score[None], patient)
    except TableError:
        return float(placements(truth, score)[0].mean()), math.nan, math.nan
    value, error = float(auc[0]), math.sqrt(max(float(covariance[0, 0]), 0.0))
    if error**2 < VANISHING:
        sizes = (len(np.unique(patient[truth])), len(np.unique(patient[~truth])))
        return value, *auc_score_interval(value, *sizes, confidence=confidence)
    if not logit:
        width = two_sided_quantile(checked_confidence(confidence)) * error
        return value, max(0.0, value - width), min(1.0, value + width)
    return value, *logit_interval(value, error, confidence=confidence)


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
    value = float(placements(truth, score)[0].mean())
    try:
        variance = float(clustered_covariance(truth, score[None], patient)[1][0, 0])
    except TableError:  # one patient of a kind
        variance = 0.0
    if variance < VANISHING:
        sizes = (len(np.unique(patient[truth])), len(np.unique(patient[~truth])))
        low, high = auc_score_interval(value, *sizes, confidence=confidence)
        return Interval(value, low, high, 0, "Newcombe score", n_units, 0, confidence)
    low, high = logit_interval(value, math.sqrt(variance), confidence=confidence)
    method = "DeLong, logit" if n_units == len(truth) else "Obuchowski clustered, logit"
    return Interval(value, low, high, 0, method, n_units, 0, confidence)


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
    auc, covariance = clustered_covariance(truth, np.stack([first, second]), numbered(cluster, len(truth)))
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    return AucTest.of(float(auc[0]), float(auc[1]), variance, confidence=confidence)
