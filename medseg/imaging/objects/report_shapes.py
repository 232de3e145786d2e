"""What the graphics of a report outline: centre and diameter of points, circles, ellipses, polygons and ellipsoids."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.lesion import equivalent_diameter

__all__ = ["Shape", "combined", "shape_of"]

POINTS_OF = {"POINT": 1, "CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}  # PS3.3 C.18.6.1.2, C.18.9.1.2
LEAST_POINTS = {"MULTIPOINT": 1, "POLYLINE": 2, "POLYGON": 3}
SAME_PLANE_MM = 1e-3  # outlines nearer to each other lie in one plane
PARALLEL = 1e-3  # 1 - |cosine| of the normals of outlines that lie in parallel planes
CLOSED = 1e-6  # of its extent: how near the ends of a closed polyline are to each other


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One graphic.

    Parameters
    ----------
    centre : ndarray, shape (3,)
    size : float
        Length of a line, area, or volume, by `dimensions`.
    dimensions : int
        0 for points, 1 for lines, 2 for areas, 3 for volumes.
    normal : ndarray, shape (3,), optional
        Unit vector of the plane of an area.
    """

    centre: np.ndarray
    size: float = 0.0
    dimensions: int = 0
    normal: np.ndarray | None = None

    @property
    def diameter(self) -> float:
        """Of the circle or sphere of equal area or volume; the length of a line; 0 for points."""
        if self.dimensions < 2:
            return self.size
        return float(equivalent_diameter(self.size, dimensions=self.dimensions))


def shape_of(kind: str, points: np.ndarray) -> Shape | None:
    """Understand one graphic.

    Parameters
    ----------
    kind : str
        Graphic Type.
    points : ndarray, shape (n, 3)
        Its Graphic Data, in mm or px.

    Returns
    -------
    Shape or None
        None where the number of points is not that of its kind, or the kind is unknown.
    """
    if len(points) != POINTS_OF.get(kind, len(points)) or len(points) < LEAST_POINTS.get(kind, 1):
        return None
    if kind in ("POINT", "MULTIPOINT"):
        return Shape(points.mean(axis=0))
    if kind == "CIRCLE":
        return Shape(points[0], float(np.pi * ((points[1] - points[0]) ** 2).sum()), 2)
    if kind == "ELLIPSE":
        first, second = points[1] - points[0], points[3] - points[2]
        area = np.pi / 4 * np.linalg.norm(first) * np.linalg.norm(second)
        return Shape(points.mean(axis=0), float(area), 2, _unit(np.cross(first, second)))
    if kind == "ELLIPSOID":
        axes = np.linalg.norm(points[1::2] - points[::2], axis=1)
        return Shape(points.mean(axis=0), float(np.pi / 6 * axes.prod()), 3)
    if kind == "POLYGON" or (kind == "POLYLINE" and len(points) > 3 and _is_closed(points)):
        return _polygon(points)
    return _line(points) if kind == "POLYLINE" else None


def _unit(vector: np.ndarray) -> np.ndarray | None:
    length = np.linalg.norm(vector)
    return vector / length if length > 0 else None


def _is_closed(points: np.ndarray) -> bool:
    return bool(np.linalg.norm(points[-1] - points[0]) <= CLOSED * np.ptp(points, axis=0).max())


def _line(points: np.ndarray) -> Shape:
    """A path, taken as the line between its two points that are farthest apart."""
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    one, other = np.unravel_index(apart.argmax(), apart.shape)
    return Shape((points[one] + points[other]) / 2, float(apart.max()), 1)


def _polygon(points: np.ndarray) -> Shape:
    """Area and centroid by triangles from the first corner."""
    corners = points - points[0]
    doubled = np.cross(corners[1:-1], corners[2:])
    normal = _unit(doubled.sum(axis=0))
    if normal is None:  # all in one line
        return _line(points)
    areas = doubled @ normal / 2
    centre = points[0] + (areas[:, None] * (corners[1:-1] + corners[2:]) / 3).sum(axis=0) / areas.sum()
    return Shape(centre, float(areas.sum()), 2, normal)


def combined(shapes: Sequence[Shape]) -> Shape:
    """One shape of the graphics of a lesion: what has the most dimensions counts.

    Areas in parallel planes are slices of a volume, each as thick as the planes are apart. Of several lines the longest
    counts, as of a long and a short axis.
    """
    most = max(shape.dimensions for shape in shapes)
    chosen = [shape for shape in shapes if shape.dimensions == most]
    if len(chosen) == 1:
        return chosen[0]
    if most == 1:
        return max(chosen, key=lambda shape: shape.size)
    centres = np.array([shape.centre for shape in chosen])
    if most == 0:
        return Shape(centres.mean(axis=0))
    sizes = np.array([shape.size for shape in chosen])
    weights = sizes / sizes.sum() if sizes.sum() > 0 else np.full(len(sizes), 1 / len(sizes))
    centre, normal = weights @ centres, chosen[0].normal
    if most == 3 or normal is None or not all(_parallel(shape, normal) for shape in chosen):
        return Shape(centre, float(sizes.sum()), most)
    heights = np.sort(centres @ normal)
    gaps = np.diff(heights)
    gaps = gaps[gaps > SAME_PLANE_MM]
    if len(gaps) == 0:
        return Shape(centre, float(sizes.sum()), 2, normal)
    return Shape(centre, float(sizes.sum() * np.median(gaps)), 3)


def _parallel(shape: Shape, normal: np.ndarray) -> bool:
    return shape.normal is not None and 1 - abs(float(shape.normal @ normal)) < PARALLEL
