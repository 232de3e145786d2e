"""Voxel figures: Dice a case, and average precision and ROC area over the voxels of all cases."""

from dataclasses import dataclass

import numpy as np

__all__ = ["PixelCounts", "dice_score", "pooled_figures"]

BINS = 16384
LOGIT_RANGE = 16.0  # probabilities from 1e-7 to 1 - 1e-7 fall into bins of their own


def dice_score(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two masks; NaN where both are empty."""
    prediction, reference = np.asarray(prediction, bool), np.asarray(reference, bool)
    total = int(prediction.sum()) + int(reference.sum())
    return 2 * int((prediction & reference).sum()) / total if total else float("nan")


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """Voxels of one case by probability: what the pooled voxel figures are computed from.

    Parameters
    ----------
    lesion, other : ndarray of int, shape (BINS,)
        Lesion and other voxels in bins of equal width in log odds, from the lowest to the highest probability.
    """

    lesion: np.ndarray
    other: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, reference: np.ndarray) -> "PixelCounts":
        """Count the voxels of arrays of one shape; `probability` is between 0 and 1."""
        p = np.clip(np.asarray(probability, np.float64).ravel(), 1e-12, 1 - 1e-12)
        logit = np.log(p / (1 - p))
        place = np.clip((logit + LOGIT_RANGE) / (2 * LOGIT_RANGE) * BINS, 0, BINS - 1).astype(np.int64)
        inside = np.asarray(reference, bool).ravel()
        return cls(np.bincount(place[inside], minlength=BINS), np.bincount(place[~inside], minlength=BINS))


def pooled_figures(counts: list[PixelCounts], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and ROC area over all voxels, under case weights of shape (replicate, case).

    Voxels of one bin are tied. Average precision is the sum of (gain in recall) x precision.
    """
    lesion = weights @ np.array([c.lesion for c in counts], dtype=np.float64)
    other = weights @ np.array([c.other for c in counts], dtype=np.float64)
    true = np.cumsum(lesion[:, ::-1], axis=1)
    false = np.cumsum(other[:, ::-1], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(true + false > 0, true / (true + false), 0.0)
        recall = true / true[:, -1:]
        fraction = false / false[:, -1:]
    start = np.zeros((len(true), 1))
    ap = np.sum(np.diff(np.hstack([start, recall]), axis=1) * precision, axis=1)
    tpr, fpr = np.hstack([start, recall]), np.hstack([start, fraction])
    auc = np.sum(np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1)
    return ap, auc
