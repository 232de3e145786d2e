"""Patches of prepared cases: cutting rows out, and where the lesions are, without holding whole arrays."""

from collections.abc import Iterable

import numpy as np
from scipy import ndimage

__all__ = ["count_lesion_voxels", "crop_or_pad", "lesion_boxes", "lesion_sizes", "pick_lesion_voxel"]

COUNTED_VOXELS = 1 << 20  # at once: counting takes 8 bytes a voxel


def crop_or_pad(
    array: np.ndarray, start: tuple[int, int, int], size: tuple[int, int, int], *, outside: np.ndarray
) -> np.ndarray:
    """Cut `size` out of `array` from `start`, which may lie outside.

    Parameters
    ----------
    array : ndarray, shape (channel, z, y, x)
    start, size : tuple of int
        Of the axes z, y, x.
    outside : ndarray, shape (channel,)
        Value of what lies outside.
    """
    (z, y, x), (depth, height, width) = start, size
    part = array[:, max(z, 0) : max(z + depth, 0), max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)]
    if part.shape[1:] == (depth, height, width):
        return np.array(part)
    padded = np.empty((len(array), depth, height, width), array.dtype)
    padded[:] = outside[:, None, None, None]
    z, y, x = max(-z, 0), max(-y, 0), max(-x, 0)
    padded[:, z : z + part.shape[1], y : y + part.shape[2], x : x + part.shape[3]] = part
    return padded


def count_lesion_voxels(instances: np.ndarray) -> np.ndarray:
    """Count the voxels of each lesion in blocks of `instances`, shape (z, y, x).

    Returns
    -------
    ndarray of int, shape (n, 3)
        Block, lesion number and voxels, sorted; only what is there.
    """
    flat = instances.reshape(-1)
    found = []
    for block, first in enumerate(range(0, len(flat), COUNTED_VOXELS)):
        counts = np.bincount(flat[first : first + COUNTED_VOXELS])
        counts[:1] = 0
        numbers = np.flatnonzero(counts)
        found.append(np.stack([np.full(len(numbers), block), numbers, counts[numbers]], axis=1))
    return np.concatenate(found)


def pick_lesion_voxel(
    instances: np.ndarray, counts: np.ndarray, random: np.random.Generator
) -> tuple[int, int, int] | None:
    """Pick a voxel (z, y, x) of a lesion, each lesion alike, each of its voxels alike; None without a lesion.

    Parameters
    ----------
    instances : ndarray of int, shape (z, y, x)
    counts : ndarray
        What `count_lesion_voxels` found there.
    """
    if len(counts) == 0:
        return None
    number = random.choice(np.unique(counts[:, 1]))
    own = counts[counts[:, 1] == number]
    until = np.cumsum(own[:, 2])
    place = int(random.integers(until[-1]))
    row = int(np.searchsorted(until, place, side="right"))
    first = int(own[row, 0]) * COUNTED_VOXELS
    block = instances.reshape(-1)[first : first + COUNTED_VOXELS]
    voxel = np.flatnonzero(block == number)[place - (int(until[row]) - int(own[row, 2]))]
    z, y, x = np.unravel_index(first + voxel, instances.shape)
    return int(z), int(y), int(x)


def lesion_boxes(blocks: Iterable[tuple[int, np.ndarray]], n_lesions: int) -> np.ndarray:
    """Find the boxes of lesions in an array that comes in blocks of rows.

    Parameters
    ----------
    blocks : iterable of (int, ndarray of int, shape (*spatial))
        Number of the first row, and lesion numbers up to `n_lesions`.
    n_lesions : int

    Returns
    -------
    ndarray of int, shape (n_lesions, axis, 2)
        Half-open ranges; [0, 0) for a lesion that is not there.
    """
    boxes: dict[int, np.ndarray] = {}
    axes = 0
    for first, block in blocks:
        axes = block.ndim
        for index, slices in enumerate(ndimage.find_objects(block, max_label=n_lesions) if n_lesions else []):
            if slices is None:
                continue
            box = np.array([(part.start, part.stop) for part in slices])
            box[0] += first
            if index in boxes:
                before = boxes[index]
                box = np.stack([np.minimum(before[:, 0], box[:, 0]), np.maximum(before[:, 1], box[:, 1])], axis=1)
            boxes[index] = box
    found = np.zeros((n_lesions, axes, 2), np.int64)
    for index, box in boxes.items():
        found[index] = box
    return found


def lesion_sizes(blocks: Iterable[tuple[int, np.ndarray]], n_lesions: int) -> np.ndarray:
    """Count the voxels of each lesion, and of the background, in an array that comes in blocks as of `lesion_boxes`.

    Returns
    -------
    ndarray of int, shape (n_lesions + 1,)
    """
    counts = np.zeros(n_lesions + 1, np.int64)
    for _, block in blocks:
        counts += np.bincount(block.ravel(), minlength=n_lesions + 1)
    return counts
