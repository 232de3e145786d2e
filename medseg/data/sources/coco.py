"""COCO: one JSON file with the boxes of many images."""

import json
import logging
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.data.sources.inventory import Inventory, Readers, Rows
from medseg.errors import AnnotationError

__all__ = ["CocoImage", "coco_boxes", "read_coco"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CocoImage:
    """An image that a COCO file lists: its file name, width and height as stated, and its boxes in our columns."""

    name: str
    size: tuple[int, int] | None
    rows: tuple[dict[str, Any], ...]


def read_coco(path: Path) -> list[CocoImage] | None:
    """Read a COCO file; None where the JSON is of another kind.

    ``bbox`` is ``[x, y, width, height]`` from the top left corner of the image, pixel 0 reaching from 0 to 1. Crowds
    (``iscrowd``) are ignored. An image without annotations was read and has no lesion.

    Raises
    ------
    AnnotationError
        When the file is damaged, lists two images of one id, a box is missing, empty or not finite, or its image or
        category is not listed.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict) or not {"images", "annotations"} <= set(content):
        return None
    try:
        names = {item["id"]: str(item["name"]) for item in content.get("categories") or []}
        boxes: dict[Any, list[dict[str, Any]]] = {item["id"]: [] for item in content["images"]}
        if len(boxes) < len(content["images"]):
            raise AnnotationError(f"{path}: lists several images of one id, so that whose boxes are which is open")
        for item in content["annotations"]:
            _add(path, item, names, boxes)
        return [CocoImage(str(item["file_name"]), _size(item), tuple(boxes[item["id"]])) for item in content["images"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise AnnotationError(f"{path}: an entry is not as COCO has it ({type(error).__name__}: {error})") from error


def _add(path: Path, item: dict[str, Any], names: dict[Any, str], boxes: dict[Any, list[dict[str, Any]]]) -> None:
    where = f"{path}: annotation {item.get('id', '')}"
    if item["image_id"] not in boxes or (names and item["category_id"] not in names):
        raise AnnotationError(f"{where}: its image or category is not listed")
    box: Any = item.get("bbox")
    numbers = isinstance(box, list) and len(box) == 4 and all(isinstance(value, (int, float)) for value in box)
    if not numbers or not all(map(math.isfinite, box)) or not (box[2] > 0 and box[3] > 0):
        raise AnnotationError(f"{where}: its bbox is not [x, y, width, height], finite and with sides above 0")
    x, y, width, height = box
    boxes[item["image_id"]].append(
        {
            "x_min": x, "y_min": y, "x_max": x + width, "y_max": y + height,
            "class": names.get(item.get("category_id"), ""), "ignore": int(bool(item.get("iscrowd"))),
        }
    )  # fmt: skip


def _size(item: dict[str, Any]) -> tuple[int, int] | None:
    return (item["width"], item["height"]) if item.get("width") and item.get("height") else None


def coco_boxes(files: Iterable[Path], inventory: Inventory) -> tuple[Rows, Readers]:
    """Boxes of the COCO files among `files`, each of the image with its file name.

    Where several files list the same image, each is a reader, named as its file.

    Raises
    ------
    AnnotationError
        When a file is damaged, lists an image twice, states another size than its image, or not one of its images is
        here.
    """
    by_case: dict[str, list[tuple[str, CocoImage]]] = defaultdict(list)
    for path in files:
        images = read_coco(path)
        if images is None:
            continue
        missing = 0
        for image in images:
            item = inventory.named(image.name)
            if item is None:
                missing += 1
                continue
            if image.size not in (None, inventory.size(item)):
                raise AnnotationError(
                    f"{path}: states {image.size} pixels (width, height) for case {item.case_id}, the image has "
                    f"{inventory.size(item)}; was it resized?"
                )
            if any(reader == path.stem for reader, _ in by_case[item.case_id]):
                raise AnnotationError(
                    f"{path}: lists case {item.case_id} twice, or another file of this name does; keep one entry"
                )
            by_case[item.case_id].append((path.stem, image))
        if missing and missing == len(images):
            raise AnnotationError(f"{path}: not one of its {missing} images is here; they are matched by file name")
        if missing:
            logger.warning("%s: %d of its %d images are not here", path.name, missing, len(images))
    several = {name: {reader for reader, _ in read} for name, read in by_case.items() if len(read) > 1}
    rows = {
        name: [{**row, "reader": reader if name in several else ""} for reader, image in read for row in image.rows]
        for name, read in by_case.items()
    }
    return rows, several
