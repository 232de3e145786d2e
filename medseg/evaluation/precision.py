"""Average precision and the F score of lesions."""

import numpy as np

from medseg.evaluation.froc import LesionLevels
from medseg.evaluation.matches import Matches

__all__ = ["average_precision", "average_precision_weighted", "precision_recall"]


def average_precision(matches: Matches) -> float:
    """Sum over score levels of (gain in sensitivity) x precision; NaN without lesions.

    A lesion's mark is a true positive, false marks are false positives, marks that count as neither do not enter;
    lesions without a mark limit the sensitivity.
    """
    return float(average_precision_weighted(LesionLevels(matches), np.ones((1, matches.n_cases)))[0])


def average_precision_weighted(levels: LesionLevels, weights: np.ndarray) -> np.ndarray:
    """The same under case weights of shape (replicate, case); shape (replicate,)."""
    hits, _, false, _ = levels.counts(weights)
    n_lesions = levels.n_lesions(weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits + false > 0, hits / (hits + false), 0.0)
        gain = np.diff(hits, axis=1, prepend=0) / n_lesions[:, None]
    return np.where(n_lesions > 0, np.sum(gain * precision, axis=1), np.nan)


def precision_recall(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Precision and sensitivity at every score level that a lesion has, from the highest; both shape (level,)."""
    levels = LesionLevels(matches)
    hits, _, false, _ = levels.counts(np.ones((1, matches.n_cases)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return hits[0] / (hits[0] + false[0]), hits[0] / np.float64(matches.n_lesions)
