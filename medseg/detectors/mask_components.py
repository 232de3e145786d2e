"""Components of a mask that are too small to be kept, or not the largest."""

import cc3d
import numpy as np

__all__ = ["kept_components", "lower_components"]


def kept_components(sizes: np.ndarray, *, min_voxels: int, largest_only: bool) -> np.ndarray:
    """Which components stay, by their sizes in voxels, shape (n,); of equally large ones the first.

    Examples
    --------
    >>> kept_components(np.array([5, 2, 9]), min_voxels=3, largest_only=False)
    array([ True, False,  True])
    """
    kept = sizes >= max(min_voxels, 1)
    if largest_only and len(sizes):
        kept &= np.arange(len(sizes)) == sizes.argmax()
    return kept


def lower_components(maps: np.ndarray, *, threshold: float, min_voxels: int, largest_only: bool) -> np.ndarray:
    """Take components out of the mask: their probabilities become the number just below the mask's threshold.

    Parameters
    ----------
    maps : ndarray of float32, shape (class, z, y, x)
        The mask is where the largest of them reaches `threshold`; components have 26 neighbours.

    Returns
    -------
    ndarray, shape (class, z, y, x)
        `maps` itself where nothing is taken out.
    """
    mask = np.zeros(maps.shape[1:], bool)
    for values in maps:
        mask |= values >= threshold
    labels = cc3d.connected_components(mask, connectivity=26)
    sizes = np.bincount(labels.ravel())[1:]
    kept = kept_components(sizes, min_voxels=min_voxels, largest_only=largest_only)
    if kept.all():
        return maps
    taken = np.concatenate([[False], ~kept])[labels]
    below = np.nextafter(np.float32(threshold), np.float32(0))
    return np.where(taken, np.minimum(maps, below), maps).astype(np.float32)
