"""Matching of detection maps: candidates and lesions are connected components."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from medseg.errors import TableError
from medseg.evaluation.masks import checked_mask
from medseg.evaluation.matches import Matches
from medseg.evaluation.matching import Assignment, Duplicates, match_pairs

__all__ = ["component_overlaps", "match_maps"]

Overlap = Literal["iou", "ior"]


def component_overlaps(
    detection_map: ArrayLike, reference: ArrayLike, *, overlap: Overlap = "iou"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Candidates of a detection map and their overlaps with the lesions of a reference.

    Parameters
    ----------
    detection_map : array-like, any number of axes
        Score of the candidate a voxel belongs to, 0 outside of candidates.
    reference : array-like of the same shape
        What is not 0 is lesion.
    overlap : str
        ``iou``: intersection over union; ``ior``: over the lesion.

    Returns
    -------
    score : ndarray, shape (candidate,)
        Highest value in each connected component (neighbours across corners).
    size : ndarray of int, shape (lesion,)
        Voxels of each lesion.
    overlap : ndarray, shape (candidate, lesion)

    Raises
    ------
    TableError
        For arrays of two shapes, or a map with NaN, infinite or negative scores.
    """
    if overlap not in ("iou", "ior"):
        raise TableError(f"overlap '{overlap}': allowed are iou and ior")
    scores, truth = np.asarray(detection_map), checked_mask(reference, name="reference")
    if scores.shape != truth.shape:
        raise TableError(f"the detection map has shape {scores.shape}, the reference {truth.shape}")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise TableError("the detection map holds scores that are negative, infinite or not a number")
    structure = np.ones((3,) * scores.ndim)
    candidate, n_candidates = ndimage.label(scores > 0, structure)
    lesion, n_lesions = ndimage.label(truth, structure)
    shared = np.bincount(
        (candidate * np.int64(n_lesions + 1) + lesion).ravel(), minlength=(n_candidates + 1) * (n_lesions + 1)
    ).reshape(n_candidates + 1, n_lesions + 1)
    own, size, common = shared[1:].sum(axis=1), shared[:, 1:].sum(axis=0), shared[1:, 1:]
    whole = own[:, None] + size[None] - common if overlap == "iou" else np.broadcast_to(size[None], common.shape)
    highest = ndimage.maximum(scores, candidate, np.arange(1, n_candidates + 1)) if n_candidates else []
    return np.asarray(highest, float), size, common / np.maximum(whole, 1)


def match_maps(
    maps: Mapping[str, tuple[ArrayLike, ArrayLike]],
    *,
    min_overlap: float = 0.1,
    overlap: Overlap = "iou",
    assignment: Assignment = "one_to_one",
    duplicates: Duplicates = "neither",
    patients: Mapping[str, str] | None = None,
) -> Matches:
    """Match the candidates of detection maps with the lesions of reference masks.

    The defaults are those of the PI-CAI challenge: intersection over union of 0.1 or more, each candidate for one
    lesion at most, further candidates that overlap enough count as neither (Bosma 2023, doi:10.1148/ryai.230031).

    Parameters
    ----------
    maps : mapping of str to (detection map, reference)
        By case.
    min_overlap : float
        Least overlap of a hit; 0 is any.
    patients : mapping of str to str, optional
        Patient of each case; the case itself where not given.

    Returns
    -------
    Matches
        Without diameters: lesions have voxels here, not millimetres.

    Raises
    ------
    TableError
        As `component_overlaps`, naming the case.

    Examples
    --------
    >>> matches = match_maps({"a": ([[0.8, 0.8, 0, 0.3]], [[0, 1, 0, 0]])})
    >>> matches.lesion_score.tolist(), matches.false_score.tolist()
    ([0.8], [0.3])
    """
    if not 0 <= min_overlap < 1:
        raise TableError(f"the least overlap is a number from 0 to below 1, found {min_overlap}")
    marks: dict[str, list] = {name: [] for name in ("case_id", "x", "y", "z", "score")}
    lesions: dict[str, list] = {name: [] for name in ("case_id", "x", "y", "z", "diameter_mm")}
    pairs = []
    for case_id, (detection_map, reference) in maps.items():
        try:
            scores, sizes, overlaps = component_overlaps(detection_map, reference, overlap=overlap)
        except TableError as error:
            raise TableError(f"case {case_id}: {error}") from None
        first = len(marks["score"]), len(lesions["x"])
        hits = np.argwhere((overlaps >= min_overlap) & (overlaps > 0))
        pairs += [(first[0] + mark, first[1] + lesion, overlaps[mark, lesion]) for mark, lesion in hits]
        _append(marks, case_id, len(scores))
        marks["score"] += scores.tolist()
        _append(lesions, case_id, len(sizes))
        lesions["diameter_mm"] += [0.0] * len(sizes)
    cases = {"case_id": list(maps), "patient_id": [(patients or {}).get(name, name) for name in maps]}
    rule = f"{overlap}:{min_overlap:g} of components"
    return match_pairs(cases, marks, lesions, pairs, rule=rule, assignment=assignment, duplicates=duplicates)


def _append(table: dict[str, list], case_id: str, n: int) -> None:
    table["case_id"] += [case_id] * n
    for axis in "xyz":
        table[axis] += [0.0] * n
