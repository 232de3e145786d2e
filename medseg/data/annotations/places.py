"""Boxes and points of a table as lesions in the world."""

from typing import Any

import numpy as np

from medseg.data.annotations.tables import Row, is_ignored, reader_of
from medseg.data.manifest import Case
from medseg.errors import AnnotationError
from medseg.lesion import Lesion, equivalent_diameter
from medseg.volume import Grid

__all__ = ["box_lesion", "lesion_of_box", "lesion_of_point", "size_dimensions"]


def size_dimensions(grid: Grid) -> int:
    """Whether lesions of an image are measured as areas (2: projections and single slices) or as volumes (3)."""
    return 2 if grid.unit == "px" or grid.shape[0] == 1 else 3


def box_lesion(low: np.ndarray, high: np.ndarray, grid: Grid, **facts: Any) -> Lesion:
    """Lesion of a half-open voxel box; its diameter is that of the ellipse or ellipsoid inside.

    Parameters
    ----------
    low, high : ndarray, shape (3,)
        Corners (x, y, z).
    **facts
        Further fields of `Lesion`: name, reader, ignore.
    """
    x, y, z = grid.to_world(((low + high - 1) / 2)[None])[0].tolist()
    sides = (high - low) * np.array(grid.spacing[::-1])
    flat = size_dimensions(grid) == 2
    size = np.pi / 4 * sides[0] * sides[1] if flat else np.pi / 6 * sides.prod()
    diameter = float(equivalent_diameter(size, dimensions=2 if flat else 3))
    box: Any = tuple(map(float, (*low, *high)))
    return Lesion(x, y, 0.0 if grid.unit == "px" else z, diameter, grid.unit, box, **facts)


def lesion_of_box(case: Case, row: Row, grid: Grid) -> Lesion:
    """Lesion of a row of a table of boxes; a box without z reaches through all slices.

    Raises
    ------
    AnnotationError
        When a number is missing, or the box is empty or outside the image.
    """
    depth = float(grid.shape[0])
    low = np.array([_number(case, row, "x_min"), _number(case, row, "y_min"), _number(case, row, "z_min", 0.0)])
    high = np.array([_number(case, row, "x_max"), _number(case, row, "y_max"), _number(case, row, "z_max", depth)])
    if (high <= low).any() or (low < -0.5).any() or (high > np.array(grid.shape[::-1]) + 0.5).any():
        raise AnnotationError(
            f"case {case.case_id}: box {low.tolist()} to {high.tolist()} is empty or outside the image of "
            f"{grid.shape[::-1]} voxels (x, y, z)"
        )
    return box_lesion(low, high, grid, **_facts(case, row))


def lesion_of_point(case: Case, row: Row, grid: Grid, pixel_spacing_mm: tuple[float, float] | None) -> Lesion:
    """Lesion of a row of a table of points.

    Raises
    ------
    AnnotationError
        When a number is missing, the point lies outside the image, or nothing could hit it for want of a diameter.
    """
    position = [_number(case, row, axis) for axis in "xyz"]
    index = grid.to_index(np.array([position]))[0]
    if (index < -1).any() or (index > np.array(grid.shape[::-1])).any():
        raise AnnotationError(
            f"case {case.case_id}: point {position} {grid.unit} lies outside the image "
            f"(voxel {np.round(index, 1).tolist()} of {grid.shape[::-1]}); are the positions LPS mm?"
        )
    diameter = _diameter(case, row, grid, pixel_spacing_mm)
    facts = _facts(case, row)
    if diameter <= 0 and not facts["ignore"]:
        raise AnnotationError(
            f"case {case.case_id}: the point {position} has no diameter above 0, so nothing could hit it; give "
            "diameter_mm (diameter_px for images without a pixel spacing)"
        )
    x, y, z = position
    return Lesion(x, y, z, max(diameter, 0.0), grid.unit, None, **facts)


def _diameter(case: Case, row: Row, grid: Grid, pixel_spacing_mm: tuple[float, float] | None) -> float:
    """Diameter in the unit of the grid, 0 where the row has none."""
    if grid.unit == "px" and row.get("diameter_px"):
        return _number(case, row, "diameter_px")
    diameter = _number(case, row, "diameter_mm", 0.0)
    if grid.unit == "mm" or diameter <= 0:
        return diameter
    if pixel_spacing_mm is None:
        raise AnnotationError(
            f"case {case.case_id}: diameter_mm cannot be brought to pixels, because the image does not say its "
            "pixel spacing; give diameter_px"
        )
    return diameter / float(np.sqrt(pixel_spacing_mm[0] * pixel_spacing_mm[1]))


def _facts(case: Case, row: Row) -> dict[str, Any]:
    return {
        "name": row.get("class", "") or case.name,
        "reader": reader_of(case, row),
        "ignore": is_ignored(row),
    }


def _number(case: Case, row: Row, column: str, default: float | None = None) -> float:
    text = row.get(column, "")
    if not text and default is not None:
        return default
    try:
        value = float(text)
    except ValueError:
        raise AnnotationError(f"case {case.case_id}: {column} '{text}' of an annotation is not a number") from None
    if not np.isfinite(value):
        raise AnnotationError(f"case {case.case_id}: {column} '{text}' of an annotation is not finite")
    return value
