"""Areas under the AFROC curves and the LROC curve."""

from typing import Literal, get_args

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.areas import area_weighted
from medseg.evaluation.matches import Matches

__all__ = [
    "AfrocCurve",
    "afroc_auc",
    "afroc_weighted",
    "lroc_auc",
    "lroc_weighted",
    "wafroc_auc",
    "wafroc_auc_weighted",
]

AfrocCurve = Literal["afroc", "afroc1", "wafroc", "wafroc1"]


def wafroc_auc(matches: Matches) -> float:
    """Area under the weighted AFROC curve.

    The probability that a lesion, drawn with its weight, is rated higher than the highest false positive of a
    lesion-free case, ties counting half, unmarked meaning minus infinity (Chakraborty and Zhai 2016,
    doi:10.1118/1.4947125). False positives of cases with lesions do not enter.

    Returns
    -------
    float
        NaN without lesion-free cases or without lesions.
    """
    return afroc_auc(matches, curve="wafroc")


def afroc_auc(matches: Matches, *, curve: AfrocCurve = "wafroc") -> float:
    """Area under one of the alternative FROC curves.

    Parameters
    ----------
    curve : str
        ``afroc``: lesions against the highest false positive of lesion-free cases, every lesion counting the same
        (Chakraborty and Berbaum 2004, doi:10.1118/1.1769352); ``wafroc``: every case with lesions counting the same,
        lesions by their weights; ``afroc1`` and ``wafroc1``: against the highest false positive of all cases, also
        those with lesions. The areas include the straight line to (1, 1).

    Returns
    -------
    float
        NaN without lesions, and for ``afroc`` and ``wafroc`` without lesion-free cases.

    Notes
    -----
    The curves of all cases are defined without lesion-free cases, but a false positive on a case with lesions
    then stands for one on a normal case: report which curve it is.
    """
    return float(afroc_weighted(matches, np.ones((1, matches.n_cases)), curve=curve)[0])


def wafroc_auc_weighted(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """`wafroc_auc` under case weights of shape (replicate, case); shape (replicate,)."""
    return afroc_weighted(matches, weights, curve="wafroc")


def afroc_weighted(matches: Matches, weights: np.ndarray, *, curve: AfrocCurve) -> np.ndarray:
    """`afroc_auc` under case weights of shape (replicate, case); shape (replicate,)."""
    if curve not in get_args(AfrocCurve):
        raise TableError(f"curve '{curve}': allowed are {', '.join(get_args(AfrocCurve))}")
    free = np.arange(matches.n_cases) if curve.endswith("1") else np.flatnonzero(~matches.positive)
    highest = matches.highest_false
    order = free[np.argsort(highest[free], kind="stable")]
    ranked = highest[order]
    below = np.searchsorted(ranked, matches.lesion_score, side="left")
    upto = np.searchsorted(ranked, matches.lesion_score, side="right")
    cumulative = np.hstack([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1, dtype=float)])
    psi = (cumulative[:, below] + cumulative[:, upto]) / 2  # (replicate, lesion)
    drawn = weights[:, matches.lesion_case].astype(np.float64)
    if curve.startswith("w"):
        drawn = drawn * matches.lesion_weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return (psi * drawn).sum(axis=1) / (drawn.sum(axis=1) * cumulative[:, -1])


def lroc_auc(matches: Matches) -> float:
    """Area under the LROC curve: a case with lesions is right when its highest mark lies on one and is rated above
    the highest mark of a lesion-free case, ties counting half, also between the marks of the case itself (Swensson
    1996, doi:10.1118/1.597758).

    Returns
    -------
    float
        From 0 to 1, 0 for chance; NaN without cases of either kind.
    """
    return float(lroc_weighted(matches, np.ones((1, matches.n_cases)))[0])


def lroc_weighted(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """`lroc_auc` under case weights of shape (replicate, case); shape (replicate,)."""
    positive, true, false = matches.positive, matches.highest_true, matches.highest_false
    marked = np.isfinite(true)
    areas = []
    for right in (positive & (true > false), positive & (true >= false) & marked):
        score = np.where(positive, np.where(right, true, -np.inf), false)
        # a wrongly localised case gains nothing, also not against a case without mark: it is kept below all
        rank = np.unique(score, return_inverse=True)[1].astype(float)
        rank[positive & ~right] = -1
        areas.append(area_weighted(positive, rank, weights, 0.0, 1.0))
    return (areas[0] + areas[1]) / 2  # where the highest true and false mark of a case tie, it is half right
