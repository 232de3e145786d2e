"""Shapes of real nodules, from the contours that radiologists drew in the LIDC-IDRI scans."""

import sqlite3
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from medseg.data.sample.wheels import LIDC_MARKS, obtain
from medseg.errors import SampleDataError

__all__ = ["nodule_shapes"]

STEP_MM = 1.0
DIAMETERS_MM = (7.0, 24.0)
QUERY = """
select a.id, s.pixel_spacing, c.image_z_position, c.coords
from annotations a join scans s on s.id = a.scan_id join contours c on c.annotation_id = a.id
where c.inclusion = 1 and a.id % 7 = 0 and a.texture >= 4 order by a.id, c.image_z_position
"""


@lru_cache(maxsize=1)
def nodule_shapes(limit: int = 250) -> tuple[np.ndarray, ...]:
    """Load shapes of solid nodules of 7 to 24 mm.

    Returns
    -------
    tuple of ndarray of bool, shape (z, y, x)
        On a grid of 1 mm; ellipsoids where the contours cannot be had.
    """
    try:
        return tuple(_load(obtain(LIDC_MARKS), limit))
    except SampleDataError:
        return tuple(_ellipsoids(60))


def _load(database: Path, limit: int) -> list[np.ndarray]:
    marks: dict[int, list[tuple[float, float, str]]] = defaultdict(list)
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        for mark, spacing, z, coords in connection.execute(QUERY):
            marks[mark].append((float(spacing), float(z), coords))
    except sqlite3.Error as error:
        raise SampleDataError(f"{database.name}: not the expected database ({error})") from error
    finally:
        connection.close()
    shapes = []
    for contours in marks.values():
        shape = _rasterise(contours)
        if shape is not None:
            shapes.append(shape)
        if len(shapes) == limit:
            break
    return shapes


def _rasterise(contours: list[tuple[float, float, str]]) -> np.ndarray | None:
    """Fill the contours of one mark on a grid of 1 mm; None where the shape is too small, large or thin."""
    levels = sorted({z for _, z, _ in contours})
    if len(levels) < 4:
        return None
    spacing = contours[0][0]
    polygons = [
        (z, np.array([tuple(map(float, line.split(","))) for line in coords.split()]) * spacing)
        for _, z, coords in contours
    ]
    points = np.concatenate([polygon for _, polygon in polygons])
    low = points.min(axis=0) - 2
    width, height = (int(n) for n in np.ceil(points.max(axis=0) - low) + 3)
    if max(width, height) > 60:
        return None
    slices: dict[float, np.ndarray] = {}
    for z, polygon in polygons:
        if len(polygon) < 3:
            continue
        picture = Image.new("1", (width, height))
        ImageDraw.Draw(picture).polygon([tuple(p) for p in (polygon - low) / STEP_MM], fill=1)
        slices[z] = slices.get(z, np.zeros((height, width), bool)) | np.asarray(picture)
    known = np.array(sorted(slices))
    heights = np.arange(known[0], known[-1] + STEP_MM / 2, STEP_MM)
    shape = np.stack([slices[known[np.abs(known - z).argmin()]] for z in heights])
    diameter = float(np.cbrt(6 * shape.sum() / np.pi))
    return np.pad(shape, 3) if DIAMETERS_MM[0] <= diameter <= DIAMETERS_MM[1] else None


def _ellipsoids(number: int) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    shapes = []
    for _ in range(number):
        radii = random.uniform(4, 10, 3)
        axes = np.meshgrid(*(np.arange(-14, 15),) * 3, indexing="ij", sparse=True)
        shapes.append(sum((axis / r) ** 2 for axis, r in zip(axes, radii)) <= 1)
    return shapes
