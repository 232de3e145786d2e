"""All annotations of a folder of images, of whatever format, in our three tables."""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.coco import coco_boxes
from medseg.data.sources.dicom_objects import find_mask_objects, object_masks
from medseg.data.sources.inventory import Inventory, Readers, Rows
from medseg.data.sources.masks import MaskFile, mask_rows
from medseg.data.sources.reports import report_points
from medseg.data.sources.tables import luna_points, our_boxes, our_masks, our_points
from medseg.data.sources.voc import voc_boxes
from medseg.data.sources.yolo import yolo_boxes
from medseg.files import write_csv

__all__ = ["Gathered", "gather_annotations"]

MORE = ("class", "reader", "ignore")
COLUMNS = {
    "masks": ("case_id", "mask", *MORE),
    "boxes": ("case_id", "x_min", "y_min", "x_max", "y_max", "z_min", "z_max", *MORE),
    "points": ("case_id", "x", "y", "z", "diameter_mm", "diameter_px", *MORE),
}


@dataclass(frozen=True, slots=True)
class Gathered:
    """The rows of each case in the three tables, and its readers; a case that is in no table is unlabelled."""

    masks: Rows
    boxes: Rows
    points: Rows
    readers: Readers

    def write(self, output: Path) -> dict[str, dict[str, Path]]:
        """Write the tables that are needed into `output`.

        Returns
        -------
        dict of str to dict
            By ``mask``, ``boxes`` and ``points``: the file that a case's cell names. A single mask is named itself.
        """
        single = {
            name: Path(str(rows[0]["mask"]))
            for name, rows in self.masks.items()
            if len(rows) == 1 and not any(rows[0].get(column) for column in MORE)
        }
        masks = {name: rows for name, rows in self.masks.items() if name not in single}
        root = os.path.abspath(output)
        relative = {
            name: [{**row, "mask": os.path.relpath(str(row["mask"]), root)} for row in rows]
            for name, rows in masks.items()
        }
        return {
            "mask": {**single, **_write(output, "masks", relative)},
            "boxes": _write(output, "boxes", self.boxes),
            "points": _write(output, "points", self.points),
        }


def _write(output: Path, name: str, rows: Rows) -> dict[str, Path]:
    """Write a table of several cases; return its path for each of them."""
    target = (output / f"{name}.csv").absolute()
    if rows:
        write_csv(target, COLUMNS[name], ({**row, "case_id": case} for case, mine in rows.items() for row in mine))
    return dict.fromkeys(rows, target)


def gather_annotations(
    source: Path, files: Sequence[Path], inventory: Inventory, masks: Iterable[MaskFile], pseudonyms: Pseudonyms,
    *, exclude: Path | Collection[Path] | None = None,
) -> Gathered:  # fmt: skip
    """Read every annotation of a folder.

    Parameters
    ----------
    files : sequence of Path
        The files of the source.
    inventory : Inventory
        Its images.
    masks : iterable of MaskFile
        Those of its files that are masks.

    Raises
    ------
    MedsegError
        When an annotation file is damaged, or a whole file belongs to no image.
    """
    of_kind = {suffix: [file for file in files if file.suffix.lower() == suffix] for suffix in (".xml", ".json")}
    of_coco, coco_readers = coco_boxes(of_kind[".json"], inventory)
    of_reports, report_readers = report_points(source, inventory, pseudonyms, exclude=exclude)
    drawn = _merged(
        mask_rows(masks, inventory),
        object_masks(find_mask_objects(source, exclude=exclude), inventory, pseudonyms),
        *(our_masks(table, inventory) for table in _present(source, "masks.csv")),
    )
    boxes = _merged(
        voc_boxes(of_kind[".xml"], inventory),
        yolo_boxes(files, inventory),
        of_coco,
        *(our_boxes(table, inventory) for table in _present(source, "boxes.csv")),
    )
    points = _merged(
        of_reports,
        *(luna_points(table, inventory) for table in _present(source, "annotations.csv")),
        *(our_points(table, inventory) for table in _present(source, "points.csv")),
    )
    # of a case that is in several tables masks count before boxes, boxes before points, and so do their readers
    readers = {name: found for name, found in report_readers.items() if name not in boxes} | coco_readers
    return Gathered(drawn, boxes, points, {name: found for name, found in readers.items() if name not in drawn})


def _present(source: Path, name: str) -> list[Path]:
    return [source / name] if (source / name).is_file() else []


def _merged(*parts: Rows) -> Rows:
    merged: Rows = {}
    for part in parts:
        for case, rows in part.items():
            merged.setdefault(case, []).extend(rows)
    return merged
