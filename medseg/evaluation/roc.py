"""ROC curve and its area."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from medseg.evaluation.areas import area_weighted, weighted_roc
from medseg.evaluation.checks import checked_ratings

__all__ = ["RocCurve", "roc_auc", "roc_auc_weighted", "roc_curve"]


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """Points of a ROC curve from (0, 0) to (1, 1).

    Parameters
    ----------
    fpr, tpr : ndarray, shape (n,)
        False- and true-positive fractions.
    threshold : ndarray, shape (n,)
        Scores at or above it are called positive; infinity at (0, 0).
    """

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


def roc_curve(y_true: ArrayLike, y_score: ArrayLike) -> RocCurve:
    """ROC curve; tied scores make one point.

    Raises
    ------
    TableError
        For labels other than 0 and 1, scores that are missing or infinite, or one kind of case only.
    """
    truth, score = checked_ratings(y_true, y_score)
    fpr, tpr, threshold = weighted_roc(truth, score, np.ones((1, len(score))))
    return RocCurve(fpr[0], tpr[0], threshold)


def roc_auc(y_true: ArrayLike, y_score: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a diseased case scores higher, ties counting half.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    y_score : array-like of float, shape (n,)

    Raises
    ------
    TableError
        As `roc_curve`.

    See Also
    --------
    delong_interval : with its interval.
    clustered_auc : where patients have several images.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    truth, score = checked_ratings(y_true, y_score)
    return float(roc_auc_weighted(truth, score, np.ones((1, len(score))))[0])


def roc_auc_weighted(y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The area under case weights.

    Parameters
    ----------
    y_true : ndarray of bool, shape (case,)
    y_score : ndarray, shape (case,)
        Minus infinity is allowed here: cases without any mark.
    weights : ndarray, shape (replicate, case)
        How often each case was drawn.

    Returns
    -------
    ndarray, shape (replicate,)
        NaN in replicates without one kind of case.
    """
    return area_weighted(y_true, y_score, weights, 0.0, 1.0)
