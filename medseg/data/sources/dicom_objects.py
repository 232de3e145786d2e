"""DICOM objects that hold masks, wherever they lie in a tree: Segmentations and RT Structure Sets."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.inventory import Inventory, Rows
from medseg.imaging.dicom import scan

__all__ = ["MaskObject", "find_mask_objects", "object_masks"]

logger = logging.getLogger(__name__)
AUTHORS = ("ContentCreatorName", "ReviewerName", "OperatorsName")


@dataclass(frozen=True, slots=True)
class MaskObject:
    """An object and the images that it refers to.

    Parameters
    ----------
    author : str
        Name of who made it, empty where not stated. It must leave the program as a pseudonym only.
    series_uids, instance_uids : tuple of str
        Series and instances that it refers to.
    """

    path: Path
    author: str
    series_uids: tuple[str, ...]
    instance_uids: tuple[str, ...]


def find_mask_objects(source: Path, *, exclude: Path | Collection[Path] | None = None) -> list[MaskObject]:
    """List the Segmentations and RT Structure Sets of a tree.

    Parameters
    ----------
    exclude : Path or collection of Path, optional
        Files and folders that are left out.

    Raises
    ------
    AnnotationError, ImageError
        When one of them is damaged.
    """
    from medseg.imaging.objects import read_segmentation, structure_set

    found = []
    automatic = 0
    for item in scan(source, exclude=exclude).objects:
        if item.sop_class in read_segmentation.CLASSES:
            segmentation = read_segmentation.read_segmentation(item.path)
            automatic += all(segment.algorithm_type == "AUTOMATIC" for segment in segmentation.segments)
            uids = segmentation.series_uids, segmentation.instance_uids
        elif item.sop_class in structure_set.CLASSES:
            structures = structure_set.read_structure_set(item.path)
            uids = structures.series_uids, structures.instance_uids
        else:
            continue
        found.append(MaskObject(item.path, _author(item.path), *uids))
    if automatic:
        logger.warning("%d segmentation(s) were made by an algorithm alone, and are taken as reference", automatic)
    return found


def _author(path: Path) -> str:
    import pydicom

    header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(AUTHORS))
    return next((str(header.get(name)) for name in AUTHORS if header.get(name)), "")


def object_masks(objects: Iterable[MaskObject], inventory: Inventory, pseudonyms: Pseudonyms) -> Rows:
    """Segmentations and structure sets of each image, as masks.

    Objects of one image are of several readers where they state different authors; else all together are its mask.
    """
    by_case: dict[str, list[MaskObject]] = defaultdict(list)
    alone = []
    for item in objects:
        images = inventory.referred_to(item.series_uids, item.instance_uids)
        if not images:
            alone.append(item.path)
        for image in images:
            by_case[image.case_id].append(item)
    if alone:
        logger.warning("%d object(s) refer to no image that is here (--debug names them)", len(alone))
        logger.debug("objects of no image: %s", ", ".join(map(str, alone)))
    rows: Rows = {}
    for case_id, mine in by_case.items():
        several = len({item.author for item in mine if item.author}) > 1
        rows[case_id] = [
            {"mask": str(item.path.absolute()), "reader": pseudonyms.of(item.author, "r") if several else ""}
            for item in mine
        ]
    return rows
