"""Lesions as a map of numbers on the working grid: what training draws its targets from."""

import cc3d
import numpy as np

from medseg.data.resample import resample
from medseg.lesion import Lesion
from medseg.volume import Grid

__all__ = ["draw_lesions", "mask_instances"]


def mask_instances(mask: np.ndarray, source: Grid, working: Grid) -> np.ndarray:
    """Resample a binary mask and number its components (26 neighbours); int16 of shape `working.shape`.

    Coarser grids keep a voxel where at least half of it is covered, and the nearest voxel of a lesion that
    would vanish.
    """
    covered = resample(mask.astype(np.float32), source, working) >= 0.5
    lost = cc3d.connected_components(mask > 0, connectivity=26)
    kept = resample(covered.astype(np.uint8), working, source, interpolation="nearest")
    for number in range(1, int(lost.max()) + 1):
        part = lost == number
        if not kept[part].any():
            centre = np.argwhere(part).mean(axis=0)[::-1][None]
            x, y, z = np.round(working.to_index(source.to_world(centre))[0]).astype(int)
            if all(0 <= i < n for i, n in zip((z, y, x), working.shape)):
                covered[z, y, x] = True
    return cc3d.connected_components(covered, connectivity=26).astype(np.int16)


def draw_lesions(lesions: list[Lesion], source: Grid, working: Grid) -> np.ndarray:
    """Draw boxes as the ellipsoid inside them and points as spheres; int16, number = place in the list + 1."""
    instances = np.zeros(working.shape, np.int16)
    order = sorted(range(len(lesions)), key=lambda i: -lesions[i].diameter)  # small ones stay on top
    for index in order:
        lesion = lesions[index]
        if lesion.ignore:
            continue
        centre, half = _centre_and_half(lesion, source, working)
        low = np.maximum(np.floor(centre - half), 0).astype(int)
        high = np.minimum(np.ceil(centre + half) + 1, working.shape).astype(int)
        if (high <= low).any():
            continue
        z, y, x = (np.arange(a, b) for a, b in zip(low, high))
        distance = (
            ((z - centre[0]) / half[0])[:, None, None] ** 2
            + ((y - centre[1]) / half[1])[None, :, None] ** 2
            + ((x - centre[2]) / half[2])[None, None, :] ** 2
        )
        block = instances[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        block[distance <= 1] = index + 1
    return instances


def _centre_and_half(lesion: Lesion, source: Grid, working: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Centre and half axes, both (z, y, x) in working voxels; a half axis is at least one voxel."""
    if lesion.box is not None:
        low, high = np.array(lesion.box[:3]) - 0.5, np.array(lesion.box[3:]) - 0.5
        corners = working.to_index(source.to_world(np.array([low, high])))
        centre, half = corners.mean(axis=0), np.abs(corners[1] - corners[0]) / 2
    else:
        centre = working.to_index(np.array([[lesion.x, lesion.y, lesion.z]]))[0]
        half = lesion.diameter / 2 / np.array(working.spacing[::-1])
    return centre[::-1], np.maximum(half[::-1], 1.0)
