"""Average precision of lesions."""

import numpy as np

from medseg.evaluation.froc import froc_curves
from medseg.evaluation.matching import Matches

__all__ = ["average_precision", "average_precision_weighted"]


def average_precision(matches: Matches) -> float:
    """Sum over score levels of (gain in sensitivity) x precision; NaN without lesions.

    A lesion's best mark is a true positive, false marks are false positives, marks that count as neither do
    not enter; lesions without a mark limit the sensitivity.
    """
    return float(average_precision_weighted(matches, np.ones((1, matches.n_cases)))[0])


def average_precision_weighted(matches: Matches, weights: np.ndarray) -> np.ndarray:
    """The same under case weights of shape (replicate, case); shape (replicate,)."""
    fp, sensitivity, _ = froc_curves(matches, weights)
    n_lesions = weights[:, matches.lesion_case].sum(axis=1, keepdims=True)
    hits, false = sensitivity * n_lesions, fp * weights.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits + false > 0, hits / (hits + false), 0.0)
    area = np.sum(np.diff(sensitivity, axis=1) * precision[:, 1:], axis=1)
    return np.where(n_lesions[:, 0] > 0, area, np.nan)
