"""Figures over the voxels of all cases, exact, in memory that grows with the lesions and not with the images.

Recall, and the overlap of regions, change only at scores that lesion voxels have; between two of them the curves run
level. So a first pass over the cases keeps the scores of lesion voxels, and a second one only counts how many of the
other voxels lie on and between them.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medseg.errors import TableError
from medseg.evaluation.masks import bounding_box, checked_mask

__all__ = ["VoxelFigures", "voxel_figures"]

CHUNK = 1 << 20  # voxels or levels worked on at a time: a few arrays of 8 MB

Cases = Iterable[tuple[np.ndarray, np.ndarray] | tuple[np.ndarray, np.ndarray, np.ndarray | None]]


@dataclass(frozen=True, slots=True)
class VoxelFigures:
    """How well a probability separates the lesion voxels of all cases from the other voxels.

    Parameters
    ----------
    average_precision : float
        Sum over the distinct scores of gain in recall x precision, as scikit-learn's ``average_precision_score``.
    roc_auc : float
        Probability that a lesion voxel scores higher than another voxel, ties counting half (Hanley and McNeil 1982,
        doi:10.1148/radiology.143.1.7063747).
    aupro : float
        Area under the curve of per-region overlap against the false-positive fraction, up to `max_fpr` and divided by
        it (Bergmann et al. 2021, doi:10.1007/s11263-020-01400-4).
    max_fpr : float
    n_voxels, n_lesion_voxels : int
    n_regions : int
        Connected components of the references.
    """

    average_precision: float
    roc_auc: float
    aupro: float
    max_fpr: float
    n_voxels: int
    n_lesion_voxels: int
    n_regions: int


@dataclass(frozen=True, slots=True, eq=False)
class _Lesions:
    """Distinct scores of the lesion voxels (levels), from the lowest, and what the first pass counted.

    Parameters
    ----------
    score : ndarray, shape (level,)
    below : ndarray of int, shape (level + 1,)
        Lesion voxels with a lower score; at the end their number.
    overlap : ndarray of float64, shape (level + 1,)
        Sum over the regions of the share of each that scores at least this; at the end 0.
    """

    score: np.ndarray
    below: np.ndarray
    overlap: np.ndarray
    n_cases: int
    n_voxels: int
    n_regions: int

    @property
    def n_lesion_voxels(self) -> int:
        return int(self.below[-1])


def voxel_figures(cases: Cases, *, max_fpr: float = 0.3, names: Sequence[str] | None = None) -> VoxelFigures:
    """Average precision, ROC area and per-region overlap over the voxels of all cases together.

    Parameters
    ----------
    cases : re-iterable of (probability, reference[, counted])
        Arrays of one shape a case, with any number of axes; what is not 0 in the reference is lesion. `counted` says
        which of the other voxels count (None: all); lesion voxels always do. They are gone through twice: a list, or
        an object whose ``__iter__`` starts anew and may load one case at a time.
    max_fpr : float
        Highest false-positive fraction of the area of per-region overlap.
    names : sequence of str, optional
        Of the cases, for messages; else they are numbered from 0.

    Returns
    -------
    VoxelFigures
        The figures are NaN where there is no lesion voxel or no other voxel.

    Raises
    ------
    TableError
        For an iterator that can be gone through once only, cases that differ the second time, arrays that differ in
        shape, a probability that is NaN or infinite, a reference that is no mask, and a `max_fpr` outside (0, 1].

    Notes
    -----
    Nothing is binned: voxels are tied where their scores are equal. Scores stay float32 where all cases are float32
    (or narrower), and are compared as float64 where one is float64. All that matters is their order: logits do.

    Regions are the connected components of each reference, with neighbours across corners. The curve of per-region
    overlap is the mean over all regions of the share of a region at or above a threshold, against the share of all
    other voxels there. It runs straight between the points of successive scores, and is cut at `max_fpr` exactly.

    With n lesion voxels and scores of b bytes, about n (2 b + 25) bytes are held at the peak (measured).

    Examples
    --------
    >>> probability, reference = np.array([[0.9, 0.8, 0.3, 0.1]]), np.array([[1, 0, 1, 0]])
    >>> figures = voxel_figures([(probability, reference)], max_fpr=1.0)
    >>> round(figures.average_precision, 4), figures.roc_auc, figures.aupro, figures.n_regions
    (0.8333, 0.75, 0.75, 2)
    """
    if not 0 < max_fpr <= 1:
        raise TableError(f"max_fpr lies in (0, 1], found {max_fpr}")
    if iter(cases) is cases:
        raise TableError("the cases are gone through twice: give a list, or an object whose __iter__ starts anew")
    lesions = _collect(cases, names)
    counts = lesions.n_voxels, lesions.n_lesion_voxels, lesions.n_regions
    if not 0 < lesions.n_lesion_voxels < lesions.n_voxels:
        return VoxelFigures(np.nan, np.nan, np.nan, float(max_fpr), *counts)
    above, tied = _count_others(cases, names, lesions)
    return VoxelFigures(*_areas(lesions, above, tied, max_fpr), float(max_fpr), *counts)


def _checked(cases: Cases, names: Sequence[str] | None) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Each case as its probability, its lesion voxels and its other voxels that count; errors name the case."""
    for number, (probability, reference, *rest) in enumerate(cases):
        case = f"case {names[number]}" if names is not None and number < len(names) else f"case number {number}"
        probability = np.asarray(probability)
        try:
            mask = checked_mask(reference, name="reference")
        except TableError as error:
            raise TableError(f"{case}: {error}") from None
        if probability.shape != mask.shape:
            raise TableError(f"{case}: probability of shape {probability.shape}, reference of shape {mask.shape}")
        if probability.dtype.kind not in "fbui":
            raise TableError(f"{case}: the probability must hold numbers, found {probability.dtype}")
        # the lowest and the highest value are finite where all are, and need no array
        if probability.size and not (np.isfinite(probability.min()) and np.isfinite(probability.max())):
            raise TableError(f"{case}: the probability is NaN or infinite at some voxels")
        yield probability, mask, _others(mask, rest[0] if rest else None, case)


def _others(mask: np.ndarray, counted: np.ndarray | None, case: str) -> np.ndarray:
    if counted is None:
        return ~mask
    if counted.shape != mask.shape or counted.dtype != bool:
        raise TableError(f"{case}: which voxels count must be an array of bool of shape {mask.shape}")
    return counted & ~mask


def _collect(cases: Cases, names: Sequence[str] | None) -> _Lesions:
    """First pass: scores of the lesion voxels, each weighed by 1 / size of its region."""
    scores: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    dtype: np.dtype = np.dtype(np.float32)
    n_cases = n_voxels = n_regions = 0
    for probability, mask, others in _checked(cases, names):
        dtype = np.result_type(dtype, probability.dtype)
        n_cases, n_voxels = n_cases + 1, n_voxels + int(np.count_nonzero(mask) + np.count_nonzero(others))
        box = bounding_box(mask)
        inside = mask[box]
        label, n = ndimage.label(inside, ndimage.generate_binary_structure(mask.ndim, mask.ndim))
        region = label[inside]
        n_regions += n
        scores.append(probability[box][inside])
        weights.append(1 / np.bincount(region, minlength=1)[region])
    if names is not None and len(names) != n_cases:
        raise TableError(f"{len(names)} names were given for {n_cases} cases")
    return _Lesions(*_levels(scores, weights, dtype), n_cases, n_voxels, n_regions)


def _levels(
    scores: list[np.ndarray], weights: list[np.ndarray], dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores, lesion voxels below each, and region overlap at or above each; empties both lists."""
    score, weight = _joined(scores, dtype), _joined(weights, np.dtype(np.float64), spare=1)
    order = np.argsort(score)
    score.sort()  # not score[order]: in place
    weight[:-1] = weight[order]
    del order
    falling = weight[:-1][::-1]
    np.cumsum(falling, out=falling)  # from the highest score
    starts = np.ones(len(score) + 1, bool)  # the first voxel of each score, and the end
    np.not_equal(score[1:], score[:-1], out=starts[1:-1])
    score = score[starts[:-1]]
    below = np.flatnonzero(starts)
    return score, below, weight[below]


def _joined(arrays: list[np.ndarray], dtype: np.dtype, *, spare: int = 0) -> np.ndarray:
    """Arrays one after another, with `spare` zeros at the end; each is let go when it has been copied."""
    joined = np.zeros(sum(map(len, arrays)) + spare, dtype)
    end = len(joined) - spare
    while arrays:
        part = arrays.pop()
        joined[end - len(part) : end] = part
        end -= len(part)
    return joined


def _count_others(cases: Cases, names: Sequence[str] | None, lesions: _Lesions) -> tuple[np.ndarray, np.ndarray]:
    """Second pass: other voxels above each level, and on it.

    Returns
    -------
    above, tied : ndarray of int, shape (level + 1,)
        The last entry stands for a level above all scores: 0.
    """
    n_levels, n_others = len(lesions.score), lesions.n_voxels - lesions.n_lesion_voxels
    count = np.uint32 if n_others < 2**32 else np.uint64
    passed, tied = np.zeros(n_levels + 2, count), np.zeros(n_levels + 1, count)
    n_cases = n_voxels = 0
    for probability, mask, outside in _checked(cases, names):
        n_cases, n_voxels = n_cases + 1, n_voxels + int(np.count_nonzero(mask) + np.count_nonzero(outside))
        flat, outside = probability.reshape(-1), outside.reshape(-1)
        for start in range(0, mask.size, CHUNK):
            others = flat[start : start + CHUNK][outside[start : start + CHUNK]].astype(lesions.score.dtype, copy=False)
            others.sort()  # neighbours then look at the same levels, which is what a search of long lists waits for
            level = np.searchsorted(lesions.score, others)  # levels that each voxel surpasses
            _add_runs(passed, level)
            level, others = level[level < n_levels], others[: np.count_nonzero(level < n_levels)]
            _add_runs(tied, level[lesions.score[level] == others])
    falling = passed[::-1]
    np.cumsum(falling, out=falling)  # from the top: others that surpass at least so many levels
    if (n_cases, n_voxels, int(passed[0])) != (lesions.n_cases, lesions.n_voxels, n_others):
        raise TableError("the cases were others when gone through again: __iter__ must start anew with the same cases")
    return passed[1:], tied


def _add_runs(target: np.ndarray, place: np.ndarray) -> None:
    """Add to each entry of `target` how often its index stands in `place`, which is sorted."""
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    target[place[starts]] += np.diff(starts, append=len(place)).astype(target.dtype)


def _areas(lesions: _Lesions, above: np.ndarray, tied: np.ndarray, max_fpr: float) -> tuple[float, float, float]:
    """Average precision, ROC area and area of region overlap, summed over chunks of levels.

    Each level adds a level run of the curves, over others between it and the next higher level, and a straight rise
    over the others that are tied with it.
    """
    n_lesion, n_others = lesions.n_lesion_voxels, lesions.n_voxels - lesions.n_lesion_voxels
    limit = max_fpr * n_others
    precision = pairs = overlap = 0.0
    for start in range(0, len(lesions.score), CHUNK):
        end = min(start + CHUNK, len(lesions.score))
        here, higher = slice(start, end), slice(start + 1, end + 1)
        own = np.diff(lesions.below[start : end + 1])
        true = n_lesion - lesions.below[here]
        left = above[here].astype(np.int64)  # of the rise: others above the level
        right = left + tied[here]
        precision += float(np.sum(own * (true / (true + right))))
        pairs += float(np.sum(own * (n_others - (left + right) / 2)))
        low, high = lesions.overlap[higher], lesions.overlap[here]
        run = np.minimum(left, limit) - np.minimum(above[higher].astype(np.int64) + tied[higher], limit)
        rise = np.minimum(right, limit) - np.minimum(left, limit)
        share = rise / np.maximum(tied[here], 1)  # of the rise that lies before the limit
        overlap += float(np.sum(run * low + rise * (low + (high - low) * share / 2)))
    complete = lesions.overlap[0]  # the number of regions, as rounded as the other sums
    overlap += (limit - min(int(above[0]) + int(tied[0]), limit)) * complete
    return precision / n_lesion, pairs / (n_lesion * n_others), float(overlap / (limit * complete))
