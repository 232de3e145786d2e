"""Masks, boxes and points as `Lesion` lists."""

import logging
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from medseg.data.manifest import Case
from medseg.errors import AnnotationError, GeometryError, ImageError, TableError
from medseg.files import read_csv
from medseg.imaging import read
from medseg.lesion import Lesion, equivalent_diameter
from medseg.volume import Grid

__all__ = ["check_annotations", "lesions_of_mask", "read_lesions", "read_mask", "unplaced_lesions"]

logger = logging.getLogger(__name__)
BOX_COLUMNS: tuple[str, ...] = ("case_id", "x_min", "y_min", "x_max", "y_max")
POINT_COLUMNS: tuple[str, ...] = ("case_id", "x", "y", "z")


def read_mask(case: Case, grid: Grid) -> np.ndarray | None:
    """Read a case's mask, uint8 of shape (z, y, x) with 1 inside lesions; None where there is none.

    Raises
    ------
    GeometryError
        When the mask does not lie on `grid`.
    AnnotationError
        When its values are negative or not whole numbers.
    """
    if case.mask is None:
        return None
    try:
        volume = read(case.mask)
    except ImageError as error:
        raise AnnotationError(f"case {case.case_id}: mask cannot be read: {error}") from error
    if not volume.grid.same_as(grid, tolerance=0.05):
        raise GeometryError(
            f"case {case.case_id}: the mask does not lie on its image: {_describe(volume.grid)}, "
            f"the image has {_describe(grid)}; draw or resample it on the image"
        )
    values = volume.array[0]
    if not np.isfinite(values).all() or values.min() < 0 or not np.array_equal(values, np.rint(values)):
        raise AnnotationError(f"case {case.case_id}: a mask holds whole numbers from 0, {case.mask.name} does not")
    return (values > 0).astype(np.uint8)


def _describe(grid: Grid) -> str:
    spacing = "x".join(f"{value:.4g}" for value in grid.spacing)
    origin = np.round(grid.affine[:3, 3], 2).tolist()
    return f"shape {grid.shape}, spacing {spacing} {grid.unit}, origin {origin}"


def read_lesions(case: Case, grid: Grid, pixel_spacing_mm: tuple[float, float] | None = None) -> list[Lesion] | None:
    """Read the lesions of a case in world coordinates.

    Parameters
    ----------
    pixel_spacing_mm : tuple of float, optional
        Of a projection image, (y, x): brings diameters given in mm to pixels.

    Returns
    -------
    list of Lesion or None
        None for a case that is unlabelled or has only a label; an empty list where a reader found none.
    """
    if case.mask is not None:
        mask = read_mask(case, grid)
        assert mask is not None
        return lesions_of_mask(mask, grid, name=case.name, reader=case.reader)
    if case.boxes is not None:
        rows = annotation_rows(case.boxes, BOX_COLUMNS).get(case.case_id, [])
        return [_box(case, row, grid) for row in rows]
    if case.points is not None:
        rows = annotation_rows(case.points, POINT_COLUMNS).get(case.case_id, [])
        return [_point(case, row, grid, pixel_spacing_mm) for row in rows]
    return None


def lesions_of_mask(mask: np.ndarray, grid: Grid, *, name: str = "", reader: str = "") -> list[Lesion]:
    """Connected components (26 neighbours) of a mask, shape (z, y, x), as lesions numbered as cc3d labels them."""
    labels = cc3d.connected_components(mask > 0, connectivity=26)
    statistics = cc3d.statistics(labels)
    flat = grid.unit == "px" or grid.shape[0] == 1
    lesions = []
    for number in range(1, int(labels.max()) + 1):
        centre = statistics["centroids"][number][::-1]
        size = float(statistics["voxel_counts"][number]) * grid.voxel_size
        if flat:
            size /= grid.spacing[0]
        spans = statistics["bounding_boxes"][number]  # (z, y, x)
        x, y, z = grid.to_world(centre[None])[0].tolist()
        diameter = float(equivalent_diameter(size, dimensions=2 if flat else 3))
        box = (*(float(s.start) for s in spans[::-1]), *(float(s.stop) for s in spans[::-1]))
        lesions.append(Lesion(x, y, z, diameter, grid.unit, box, name, reader, mask_label=number))  # type: ignore[arg-type]
    return lesions


@lru_cache(maxsize=8)
def _table(path: Path, modified: int, needed: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    try:
        _, rows = read_csv(path, needs=needed)
    except TableError as error:
        raise AnnotationError(str(error)) from error
    by_case: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_case.setdefault(row["case_id"], []).append(row)
    return by_case


def annotation_rows(path: Path, needed: tuple[str, ...]) -> dict[str, list[dict[str, str]]]:
    try:
        return _table(path, path.stat().st_mtime_ns, needed)
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such annotation file") from None


def check_annotations(cases: Iterable[Case]) -> None:
    """Look for rows of the tables of boxes and points that belong to no case: a name that is misspelt hides a lesion.

    Raises
    ------
    AnnotationError
        When not one row of a table belongs to a case; a few that do not are warned of.
    """
    known: dict[tuple[Path, tuple[str, ...]], set[str]] = defaultdict(set)
    for case in cases:
        for path, columns in ((case.boxes, BOX_COLUMNS), (case.points, POINT_COLUMNS)):
            if path is not None:
                known[path, columns].add(case.case_id)
    for (path, columns), names in known.items():
        rows = annotation_rows(path, columns)
        unknown = sorted(set(rows) - names)
        if unknown and len(unknown) == len(rows):
            raise AnnotationError(f"{path}: none of its rows belongs to a case; the first is of case '{unknown[0]}'")
        if unknown:
            logger.warning("%s: rows of %d case(s) that are not here, the first '%s'", path, len(unknown), unknown[0])


def unplaced_lesions(case: Case) -> list[Lesion]:
    """Lesions in the tables of a case whose image cannot be read: they count, though not where they lie."""
    rows: list[dict[str, str]] = []
    if case.boxes is not None:
        rows = annotation_rows(case.boxes, BOX_COLUMNS).get(case.case_id, [])
    elif case.points is not None:
        rows = annotation_rows(case.points, POINT_COLUMNS).get(case.case_id, [])
    nowhere = (0.0,) * 6
    return [
        Lesion(
            0.0, 0.0, 0.0, 0.0, "mm", nowhere if case.boxes is not None else None, row.get("class", "") or case.name,
            row.get("reader", "") or case.reader, _is_ignored(row),
        )
        for row in rows
    ]  # fmt: skip


def _is_ignored(row: dict[str, str]) -> bool:
    return row.get("ignore", "").lower() in ("1", "true", "yes")


def _number(case: Case, row: dict[str, str], column: str, default: float | None = None) -> float:
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


def _box(case: Case, row: dict[str, str], grid: Grid) -> Lesion:
    """A half-open voxel box; the diameter is that of the ellipse or ellipsoid inside it."""
    depth = float(grid.shape[0])
    low = np.array([_number(case, row, "x_min"), _number(case, row, "y_min"), _number(case, row, "z_min", 0.0)])
    high = np.array([_number(case, row, "x_max"), _number(case, row, "y_max"), _number(case, row, "z_max", depth)])
    if (high <= low).any() or (low < -0.5).any() or (high > np.array(grid.shape[::-1]) + 0.5).any():
        raise AnnotationError(
            f"case {case.case_id}: box {low.tolist()} to {high.tolist()} is empty or outside the image of "
            f"{grid.shape[::-1]} voxels (x, y, z)"
        )
    x, y, z = grid.to_world(((low + high - 1) / 2)[None])[0].tolist()
    sides = (high - low) * np.array(grid.spacing[::-1])
    flat = grid.unit == "px" or grid.shape[0] == 1
    size = np.pi / 4 * sides[0] * sides[1] if flat else np.pi / 6 * sides.prod()
    diameter = float(equivalent_diameter(size, dimensions=2 if flat else 3))
    if grid.unit == "px":
        z = 0.0
    box: Any = tuple(map(float, (*low, *high)))
    return Lesion(
        x,
        y,
        z,
        diameter,
        grid.unit,
        box,
        row.get("class", "") or case.name,
        row.get("reader", "") or case.reader,
    )


def _point(case: Case, row: dict[str, str], grid: Grid, pixel_spacing_mm: tuple[float, float] | None) -> Lesion:
    position = [_number(case, row, axis) for axis in "xyz"]
    index = grid.to_index(np.array([position]))[0]
    if (index < -1).any() or (index > np.array(grid.shape[::-1])).any():
        raise AnnotationError(
            f"case {case.case_id}: point {position} {grid.unit} lies outside the image "
            f"(voxel {np.round(index, 1).tolist()} of {grid.shape[::-1]}); are the positions LPS mm?"
        )
    diameter = _number(case, row, "diameter_mm", 0.0)
    if grid.unit == "px" and row.get("diameter_px"):
        diameter = _number(case, row, "diameter_px", 0.0)
    elif grid.unit == "px" and diameter > 0:
        if pixel_spacing_mm is None:
            raise AnnotationError(
                f"case {case.case_id}: diameter_mm cannot be brought to pixels, because the image does not say its "
                "pixel spacing; give diameter_px"
            )
        diameter /= float(np.sqrt(pixel_spacing_mm[0] * pixel_spacing_mm[1]))
    ignore = _is_ignored(row)
    if diameter <= 0 and not ignore:
        raise AnnotationError(
            f"case {case.case_id}: the point {position} has no diameter above 0, so nothing could hit it; give "
            "diameter_mm (diameter_px for images without a pixel spacing)"
        )
    px, py, pz = position
    return Lesion(
        px, py, pz, max(diameter, 0.0), grid.unit, None, row.get("class", "") or case.name,
        row.get("reader", "") or case.reader, ignore,
    )  # fmt: skip
