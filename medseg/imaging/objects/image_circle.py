"""Circles in the coordinates of an image, as reports and presentation states store them.

Both count from the upper left corner of the first pixel, 0\\0, to the lower right corner of the last, Columns\\Rows
(PS3.3 C.18.6.1.1 for Graphic Data of reports, PS3.3 C.10.5 for annotations in PIXEL units): the centre of the first
pixel, index 0, lies at 0.5.
"""

import numpy as np

__all__ = ["PIXEL_CENTRE", "circle_points", "ellipse_outline"]

PIXEL_CENTRE = 0.5
OUTLINE_POINTS = 48  # corners of an outline: on a circle of 100 pixels they lie within 0.2 pixels of it


def circle_points(index_xy: np.ndarray, radius: float, shape: tuple[int, int]) -> np.ndarray | None:
    """Centre and a point on the perimeter, both within the image; None where no point of the circle is.

    Parameters
    ----------
    index_xy : ndarray, shape (2,)
        Centre as an index (x, y) of pixel centres from 0.
    radius : float
        Pixels.
    shape : tuple of int
        (rows, columns).

    Returns
    -------
    ndarray, shape (2, 2), or None
        (column, row) in the image's coordinates.

    Examples
    --------
    >>> circle_points(np.array([3.0, 2.0]), 1.5, (10, 10)).tolist()
    [[3.5, 2.5], [5.0, 2.5]]
    >>> circle_points(np.array([9.0, 2.0]), 1.5, (10, 10)).tolist()
    [[9.5, 2.5], [9.5, 4.0]]
    """
    size = np.array([shape[1], shape[0]], dtype=float)
    centre = np.asarray(index_xy, dtype=float) + PIXEL_CENTRE
    if (centre < 0).any() or (centre > size).any():
        return None
    angles = np.arange(0, 8) * np.pi / 4
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], size]) - centre
    away = np.linalg.norm(corners, axis=1, keepdims=True)
    directions = np.concatenate([np.stack([np.cos(angles), np.sin(angles)], axis=1), corners / np.maximum(away, 1e-9)])
    points = centre + radius * directions.round(12)
    inside = (points >= 0).all(axis=1) & (points <= size).all(axis=1)
    return np.stack([centre, points[inside.argmax()]]) if inside.any() else None


def ellipse_outline(index_xy: np.ndarray, radii: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Closed outline of an ellipse along rows and columns; what lies beyond the image runs along its edge.

    Parameters
    ----------
    radii : ndarray, shape (2,)
        Along (x, y), pixels.

    Returns
    -------
    ndarray, shape (n, 2)
        (column, row) in the image's coordinates; the last point is the first.
    """
    angles = np.linspace(0, 2 * np.pi, OUTLINE_POINTS + 1)
    points = np.asarray(index_xy) + PIXEL_CENTRE + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points[-1] = points[0]
    return np.clip(points, 0, [shape[1], shape[0]])
