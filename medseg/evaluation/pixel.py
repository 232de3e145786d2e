"""Voxels of a case counted by probability: what the intervals of the voxel figures are computed from."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medseg.evaluation.areas import area, partial_area

__all__ = ["BINS", "PixelCounts", "pooled_figures"]

BINS = 8192  # levels of 1/256 in log odds; 0.1 MB a case
LOGIT_RANGE = 16.0  # probabilities from 1e-7 to 1 - 1e-7 fall into bins of their own


@dataclass(frozen=True, slots=True, eq=False)
class PixelCounts:
    """Voxels of one case by probability.

    The figures themselves are exact (`voxel_figures`); their bootstrap, which needs each case apart, takes voxels of
    one of 8,192 levels as tied.

    Parameters
    ----------
    lesion, other : ndarray of int, shape (BINS,)
        Lesion and other voxels in bins of equal width in log odds, from the lowest to the highest probability.
    overlap : ndarray of float, shape (BINS,)
        Lesion voxels, each counting one over the size of its connected component.
    """

    lesion: np.ndarray
    other: np.ndarray
    overlap: np.ndarray

    @classmethod
    def of(cls, probability: np.ndarray, reference: np.ndarray, counted: np.ndarray | None = None) -> "PixelCounts":
        """Count the voxels of arrays of one shape; `probability` is between 0 and 1, `counted` says which count."""
        p = np.clip(np.asarray(probability, np.float64), 1e-12, 1 - 1e-12)
        logit = np.log(p / (1 - p))
        place = np.clip((logit + LOGIT_RANGE) / (2 * LOGIT_RANGE) * BINS, 0, BINS - 1).astype(np.int64)
        inside = np.asarray(reference, bool)
        regions, _ = ndimage.label(inside, np.ones((3,) * inside.ndim))
        sizes = np.bincount(regions.ravel())
        return cls(
            np.bincount(place[inside], minlength=BINS).astype(np.int32),
            np.bincount(place[~inside if counted is None else ~inside & counted], minlength=BINS).astype(np.int32),
            np.bincount(place[inside], 1 / sizes[regions[inside]], BINS).astype(np.float32),
        )


def pooled_figures(counts: list[PixelCounts], weights: np.ndarray, *, max_fpr: float = 0.3) -> np.ndarray:
    """Average precision, ROC area and per-region overlap over all voxels, under case weights.

    Parameters
    ----------
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    ndarray, shape (replicate, 3)
        Voxels of one bin are tied.
    """
    lesion, other, overlap = (
        np.cumsum(weights @ np.array([getattr(c, name)[::-1] for c in counts], dtype=np.float64), axis=1)
        for name in ("lesion", "other", "overlap")
    )
    start = np.zeros((len(weights), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(lesion + other > 0, lesion / (lesion + other), 0.0)
        recall, pro, fpr = (np.hstack([start, part / part[:, -1:]]) for part in (lesion, overlap, other))
    ap = np.sum(np.diff(recall, axis=1) * precision, axis=1)
    return np.stack([ap, area(fpr, recall), partial_area(fpr, pro, 0.0, max_fpr) / max_fpr], axis=1)
