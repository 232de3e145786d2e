"""The weighted alternative FROC area."""

import numpy as np

from medseg.evaluation.matching import Matches

__all__ = ["wafroc_auc", "wafroc_auc_weighted"]


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
    return float(wafroc_auc_weighted(matches, np.ones((1, matches.n_cases)))[0])


def wafroc_auc_weighted(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """The same under case weights of shape (replicate, case); shape (replicate,)."""
    free = np.flatnonzero(~matches.positive)
    highest = np.full(matches.n_cases, -np.inf)
    np.maximum.at(highest, matches.false_case.astype(int), matches.false_score)
    order = free[np.argsort(highest[free], kind="stable")]
    ranked = highest[order]
    below = np.searchsorted(ranked, matches.lesion_score, side="left")
    upto = np.searchsorted(ranked, matches.lesion_score, side="right")
    cumulative = np.hstack([np.zeros((len(weights), 1)), np.cumsum(weights[:, order], axis=1, dtype=float)])
    psi = (cumulative[:, below] + cumulative[:, upto]) / 2  # (replicate, lesion)
    drawn = weights[:, matches.lesion_case] * matches.lesion_weight
    with np.errstate(invalid="ignore", divide="ignore"):
        return (psi * drawn).sum(axis=1) / (drawn.sum(axis=1) * cumulative[:, -1])
