"""Pascal VOC: an XML file an image, or a slice, with boxes."""

import logging
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.data.sources.inventory import Inventory, Rows
from medseg.data.sources.slices import join_slices
from medseg.errors import AnnotationError
from medseg.imaging.find import ImageSource

__all__ = ["VocFile", "VocObject", "read_voc", "voc_boxes"]

logger = logging.getLogger(__name__)
CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object: its class, and its corners (x_min, y_min, x_max, y_max) as they stand in the file."""

    name: str
    corners: tuple[float, float, float, float]
    difficult: bool = False

    def row(self, *, one_based: bool = True) -> dict[str, Any]:
        """Box in our columns: half-open, the first pixel being 0.

        Corners of VOC are pixels that belong to the box. By the convention of its makers the first pixel is 1; many
        tools count from 0. Objects marked difficult are ignored, as in its evaluation.
        """
        first = 1 if one_based else 0
        x_min, y_min, x_max, y_max = self.corners
        return {
            "x_min": x_min - first, "y_min": y_min - first, "x_max": x_max - first + 1, "y_max": y_max - first + 1,
            "class": self.name, "ignore": int(self.difficult),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class VocFile:
    """One XML file.

    Parameters
    ----------
    image : str
        File name of its image, as stated.
    size : tuple of int or None
        Width and height, as stated.
    objects : tuple of VocObject
        Possibly none: read, no lesion.
    """

    path: Path
    image: str
    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]


def read_voc(path: Path) -> VocFile | None:
    """Read an XML file; None where it is of another kind.

    Raises
    ------
    AnnotationError
        When it is damaged, or a box is incomplete or empty.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise AnnotationError(f"{path}: not readable as XML ({error})") from error
    if root.tag != "annotation":
        return None
    objects = []
    for number, item in enumerate(root.findall("object"), start=1):
        where = f"{path}: object {number}"
        box = item.find("bndbox")
        texts = [(box.findtext(corner) if box is not None else None) for corner in CORNERS]
        try:
            corners = tuple(float(text) for text in texts)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise AnnotationError(f"{where}: {', '.join(CORNERS)} of its bndbox are not all numbers") from None
        if not (0 <= corners[0] <= corners[2] < float("inf") and 0 <= corners[1] <= corners[3] < float("inf")):
            raise AnnotationError(f"{where}: the corners {corners} are not those of a box")
        difficult = next((child.text for child in item if child.tag.lower() == "difficult"), "0") or "0"
        name = (item.findtext("name") or "").strip()
        objects.append(VocObject(name, corners, difficult.strip() not in ("", "0")))  # type: ignore[arg-type]
    sides = [root.findtext(f"size/{side}") or "" for side in ("width", "height")]
    size = (int(sides[0]), int(sides[1])) if all(side.isdecimal() and int(side) for side in sides) else None
    return VocFile(path, (root.findtext("filename") or "").strip(), size, tuple(objects))


def voc_boxes(files: Iterable[Path], inventory: Inventory) -> Rows:
    """Boxes of XML files, each of the image with its name, or of the slice whose SOP Instance UID is its name.

    A coordinate of 0 anywhere shows that the whole set counts pixels from 0. Boxes on the slices of a volume become
    boxes of lesions (`join_slices`).

    Raises
    ------
    AnnotationError
        When a file is damaged, states another size or name than its image's, several belong to one image, or none does.
    """
    found = [annotation for annotation in map(read_voc, files) if annotation is not None]
    one_based = all(min(item.corners) >= 1 for annotation in found for item in annotation.objects)
    if not one_based:
        logger.info("VOC boxes: a coordinate is 0, so pixels are counted from 0")
    rows: Rows = defaultdict(list)
    volumes: set[str] = set()
    seen: dict[tuple[str, int], Path] = {}  # case and slice
    unknown = []
    for annotation in found:
        item, index = _image_of(annotation, inventory)
        if item is None:
            unknown.append(annotation.path)
            continue
        other = seen.setdefault((item.case_id, index or 0), annotation.path)
        if other != annotation.path:
            raise AnnotationError(f"{annotation.path}: is of the same image as {other}; keep one of them")
        boxes = [each.row(one_based=one_based) for each in annotation.objects]
        if index is not None and item.description is not None and item.description.kind == "volume":
            pixels = item.description.first.format
            size = (pixels.columns, pixels.rows)
            boxes = [{**box, "z_min": index, "z_max": index + 1} for box in boxes]
            volumes.add(item.case_id)
        else:
            size = inventory.size(item)
        if annotation.size not in (None, size):
            raise AnnotationError(
                f"{annotation.path}: is of an image of {annotation.size} pixels (width, height), case {item.case_id} "
                f"has {size}; was it resized?"
            )
        rows[item.case_id] += boxes
    if unknown and len(unknown) == len(found):
        raise AnnotationError(
            f"{unknown[0]}: belongs to no image, nor does any other VOC file; name them as the images"
        )
    if unknown:
        logger.warning("%d VOC file(s) belong to no image (--debug names them)", len(unknown))
        logger.debug("VOC files of no image: %s", ", ".join(map(str, unknown)))
    return {name: join_slices(mine) if name in volumes else mine for name, mine in rows.items()}


def _image_of(annotation: VocFile, inventory: Inventory) -> tuple[ImageSource | None, int | None]:
    """The image that a file is named as, else the one that it states; and the slice that it is named as."""
    on_slice = inventory.slice_of(annotation.path.stem)
    named, index = on_slice or (inventory.named(annotation.path.stem), None)
    stated = inventory.named(annotation.image)
    if named is not None and stated is not None and named.case_id != stated.case_id:
        raise AnnotationError(
            f"{annotation.path}: is named as case {named.case_id}, its <filename> is that of case {stated.case_id}; "
            "correct one of them"
        )
    return named or stated, index
