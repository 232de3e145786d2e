"""Polygons as pixels."""

from collections.abc import Sequence

import numpy as np

__all__ = ["fill_polygons"]

ON_EDGE = 1e-6  # of a pixel: a centre this near to an edge lies on it, whatever the rounding of the last digits


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre lies inside an odd number of polygons (even-odd rule).

    A polygon inside another is a hole, and so is one that is joined to the outer by a cut (a keyhole). A centre on an
    edge belongs to what lies to its right and below, so polygons that share an edge share no pixel.

    Parameters
    ----------
    polygons : sequence of ndarray, shape (n, 2)
        Corners (x, y) in pixels, centres of pixels at whole numbers; the last corner is joined to the first.
    shape : tuple of int
        (rows, columns).

    Returns
    -------
    ndarray of bool, shape (rows, columns)

    Examples
    --------
    >>> fill_polygons([np.array([[0.5, 0.5], [2.5, 0.5], [2.5, 1.5], [0.5, 1.5]])], (3, 4)).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    rows, columns = shape
    changes = np.zeros((rows, columns + 1), np.int32)  # edges that lie at or left of a centre, after the one before
    for polygon in polygons:
        start, end = polygon, np.roll(polygon, -1, axis=0)
        upward = start[:, 1] > end[:, 1]  # top to bottom, so that an edge gives the same crossings from either side
        top, bottom = np.where(upward[:, None], end, start), np.where(upward[:, None], start, end)
        # rows crossed by each edge: top <= row < bottom
        first = np.clip(np.ceil(top[:, 1] - ON_EDGE), 0, rows).astype(int)
        last = np.clip(np.ceil(bottom[:, 1] - ON_EDGE), 0, rows).astype(int)
        count = last - first
        edge = np.repeat(np.arange(len(polygon)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        share = (row - top[edge, 1]) / (bottom[edge, 1] - top[edge, 1])
        crossing = top[edge, 0] + share * (bottom[edge, 0] - top[edge, 0])
        column = np.clip(np.ceil(crossing - ON_EDGE), 0, columns).astype(int)
        np.add.at(changes, (row, column), 1)
    return (np.cumsum(changes[:, :-1], axis=1) & 1).astype(bool)
