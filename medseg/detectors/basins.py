"""Divide a probability map into peaks and what belongs to them."""

from collections.abc import Iterator
from itertools import product

import numpy as np

__all__ = ["peak_regions"]


def peak_regions(probability: np.ndarray, *, floor: float, fraction: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the region of each peak, from the highest down.

    A region is what is connected (26 neighbours) to a peak and exceeds `fraction` of it. Peaks inside a region belong
    to it, and so do their skirts: the voxels from which steepest ascent ends at them. So one lesion gives one region,
    whatever its shape, and a lower lesion beside a higher one keeps a region of its own.

    Parameters
    ----------
    probability : ndarray, shape (z, y, x)
        Not negative.
    floor : float
        Peaks below it are left out.

    Yields
    ------
    voxels : ndarray of int, shape (n, 3)
        Indices (z, y, x), in the order of the array.
    values : ndarray, shape (n,)
        Their probabilities.
    """
    padded = np.pad(np.asarray(probability, np.float32), 1)
    steps = np.array(
        [np.dot(step, np.array(padded.strides) // 4) for step in product((-1, 0, 1), repeat=3) if any(step)]
    )
    flat = padded.ravel()
    voxels = np.flatnonzero(flat >= max(floor * fraction, 1e-6))
    if len(voxels) == 0:
        return
    place = np.full(flat.size, -1, np.int32)
    place[voxels] = np.arange(len(voxels), dtype=np.int32)
    value = flat[voxels]
    peak_of = _steepest_ascent(flat, voxels, steps, place)
    peaks = np.flatnonzero((peak_of == np.arange(len(voxels))) & (value >= floor))
    taken = np.zeros(len(voxels), bool)  # by place of the peak: its whole skirt is taken
    for peak in peaks[np.argsort(-value[peaks], kind="stable")]:
        if taken[peak]:
            continue
        region = _flood(int(peak), value[peak] * fraction, voxels, value, steps, place, taken, peak_of)
        taken[peak_of[region]] = True
        index = np.array(np.unravel_index(voxels[region], padded.shape)).T - 1
        yield index, value[region]


def _steepest_ascent(flat: np.ndarray, voxels: np.ndarray, steps: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Place of the peak that each voxel leads to; among equal neighbours the last one, so that there is no circle."""
    best, best_value = voxels.copy(), flat[voxels].copy()
    for step in steps:
        other = voxels + step
        other_value = flat[other]
        better = (other_value > best_value) | ((other_value == best_value) & (other > best))
        best[better], best_value[better] = other[better], other_value[better]
    leads_to = place[best]
    while True:
        further = leads_to[leads_to]
        if np.array_equal(further, leads_to):
            return leads_to
        leads_to = further


def _flood(
    start: int,
    threshold: float,
    voxels: np.ndarray,
    value: np.ndarray,
    steps: np.ndarray,
    place: np.ndarray,
    taken: np.ndarray,
    peak_of: np.ndarray,
) -> np.ndarray:
    """Places connected to `start` above the threshold, in the skirts of peaks that are not taken; sorted."""
    inside = np.zeros(len(voxels), bool)
    inside[start] = True
    front = np.array([start])
    while len(front):
        near = place[(voxels[front][:, None] + steps).ravel()]
        near = np.unique(near[near >= 0])
        near = near[~inside[near] & (value[near] > threshold) & ~taken[peak_of[near]]]
        inside[near] = True
        front = near
    return np.flatnonzero(inside)
