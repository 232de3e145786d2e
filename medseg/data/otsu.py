"""Otsu's threshold of values that come in parts."""

import numpy as np

from medseg.data.percentiles import Parts, percentiles

__all__ = ["otsu_threshold"]

BINS = 256
OUTLIERS = 0.1  # percent of the values at each end that the bins leave out: few voxels must not spread them thin


def otsu_threshold(parts: Parts) -> float:
    """Return the grey value that best splits an image into dark and bright (Otsu 1979, doi:10.1109/TSMC.1979.4310076).

    It lies between two of 256 bins, where the variance between both classes is largest; of several equal maxima it is
    the middle.

    Parameters
    ----------
    parts : callable
        Returns the finite values as arrays of any shape; called three times.

    Returns
    -------
    float
        Values above it are bright. The least value where 99.8 % of all values are equal.

    Examples
    --------
    >>> 2 < otsu_threshold(lambda: [np.float32([1, 2, 1, 2]), np.float32([9, 8, 9])]) < 8
    True
    """
    low, high = percentiles(parts, (OUTLIERS, 100 - OUTLIERS))
    if low == high:
        return low
    counts = np.zeros(BINS)
    for part in parts():
        counts += np.histogram(np.clip(part, low, high), BINS, (low, high))[0]
    places = np.arange(BINS) + 0.5
    below = np.cumsum(counts)[:-1]  # voxels in the bins up to each border
    above = counts.sum() - below
    sums = np.cumsum(counts * places)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = (sums[-1] - sums[:-1]) / above - sums[:-1] / below
        between = np.nan_to_num(below * above * apart**2)
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    border = (best[0] + best[-1]) / 2 + 1
    return float(low + (high - low) * border / BINS)
