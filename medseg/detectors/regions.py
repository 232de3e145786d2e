"""Candidates from a map: the region around each peak."""

from collections.abc import Callable

import numpy as np

from medseg.detectors.basins import peak_regions
from medseg.detectors.candidates import Candidate

__all__ = ["region_candidates"]


def region_candidates(
    maps: np.ndarray,
    *,
    floor: float,
    fraction: float,
    min_voxels: int,
    limit: int,
    score: Callable[[np.ndarray], float],
) -> list[Candidate]:
    """List the region of each peak of each class map, shape (class, z, y, x), from the highest score down.

    A candidate is what is connected to a peak and exceeds `fraction` of it (the idea of the dynamic lesion extraction
    of Bosma 2023, doi:10.1148/ryai.230031); see `peak_regions`. Its centre is the mean of its voxels, weighted by the
    map.

    Parameters
    ----------
    floor : float
        Peaks and scores below it are left out.
    min_voxels : int
        Smaller regions are left out.
    limit : int
        Candidates at most.
    score : callable
        From the values in a region to its score.
    """
    candidates: list[Candidate] = []
    for class_index, values in enumerate(maps):
        found = 0
        for zyx, inside in peak_regions(values, floor=floor, fraction=fraction):
            value = score(inside)
            if len(zyx) < min_voxels or value < floor:
                continue
            candidates.append(_candidate(zyx, inside, value, class_index))
            found += 1
            if found >= limit:
                break
    return sorted(candidates, key=lambda candidate: -candidate.score)[:limit]


def _candidate(zyx: np.ndarray, values: np.ndarray, score: float, class_index: int) -> Candidate:
    centre = np.average(zyx, axis=0, weights=values)
    return Candidate(
        centre=tuple(centre[::-1].tolist()),
        low=tuple(zyx.min(axis=0)[::-1].astype(float).tolist()),
        high=tuple((zyx.max(axis=0)[::-1] + 1.0).tolist()),
        voxels=float(len(zyx)),
        score=score,
        class_index=class_index,
        peak=tuple(zyx[int(values.argmax())].tolist()),
    )
