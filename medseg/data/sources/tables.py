"""Annotation tables in a folder of images: LUNA16's ``annotations.csv``, and our own."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medseg.data.annotations import BOX_COLUMNS, MASK_COLUMNS, POINT_COLUMNS, annotation_rows
from medseg.data.sources.inventory import Inventory, Rows
from medseg.errors import AnnotationError, TableError
from medseg.files import read_csv
from medseg.imaging.formats import split_member

__all__ = ["luna_points", "masks_of_table", "our_boxes", "our_masks", "our_points"]

logger = logging.getLogger(__name__)
LUNA = {"coordX": "x", "coordY": "y", "coordZ": "z", "diameter_mm": "diameter_mm"}


def luna_points(table: Path, inventory: Inventory) -> Rows:
    """Nodules of a table ``seriesuid, coordX, coordY, coordZ, diameter_mm``: LPS mm, as ITK has them.

    Every image of the source counts as read.

    Raises
    ------
    AnnotationError
        When a column is missing, or not one row belongs to an image.
    """
    try:
        _, rows = read_csv(table, needs=("seriesuid", *LUNA))
    except TableError as error:
        raise AnnotationError(str(error)) from error
    named: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        named.setdefault(row["seriesuid"], []).append({ours: row[theirs] for theirs, ours in LUNA.items()})
    return _of_cases(table, named, inventory)


def our_boxes(table: Path, inventory: Inventory) -> Rows:
    """Rows of a table of boxes in our columns; every image of the source counts as read."""
    return _of_cases(table, annotation_rows(table, BOX_COLUMNS), inventory)


def our_points(table: Path, inventory: Inventory) -> Rows:
    """Rows of a table of points in our columns; every image of the source counts as read."""
    return _of_cases(table, annotation_rows(table, POINT_COLUMNS), inventory)


def masks_of_table(table: Path) -> list[Path]:
    """The mask files that a table of masks in our columns names; none where there is no such table."""
    if not table.is_file():
        return []
    named = [row["mask"] for rows in annotation_rows(table, MASK_COLUMNS).values() for row in rows]
    return [split_member(table.parent.absolute() / name)[0] for name in named]


def our_masks(table: Path, inventory: Inventory) -> Rows:
    """Rows of a table of masks in our columns, with absolute paths; every image of the source counts as read."""
    named = {
        name: [{**row, "mask": str(table.parent.absolute() / row["mask"])} for row in rows]
        for name, rows in annotation_rows(table, MASK_COLUMNS).items()
    }
    return _of_cases(table, named, inventory)


def _of_cases(table: Path, named: Mapping[str, Iterable[dict[str, Any]]], inventory: Inventory) -> Rows:
    """Rows by our case names; images may be named in any way that `Inventory.named` knows."""
    found: Rows = {item.case_id: [] for item in inventory.items}
    unknown = []
    for name, rows in named.items():
        item = inventory.named(name)
        if item is None:
            unknown.append(name)
        else:
            found[item.case_id].extend(rows)
    if unknown and len(unknown) == len(named):
        raise AnnotationError(f"{table}: none of its rows belongs to an image; the first is of '{unknown[0]}'")
    if unknown:
        logger.warning("%s: rows of %d image(s) that are not here (--debug names them)", table.name, len(unknown))
        logger.debug("%s: images that are not here: %s", table, ", ".join(map(str, unknown)))
    return found
