"""Mask images among the images of a source, told by their names."""

import logging
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from medseg.data.sources.inventory import Inventory, Rows
from medseg.errors import AnnotationError
from medseg.imaging.find import ImageSource, stem_of
from medseg.imaging.formats import format_of

__all__ = ["MaskFile", "mask_files", "mask_rows"]

logger = logging.getLogger(__name__)
KINDS = ("nifti", "itk", "picture")
WORD = r"(?:masks?|seg|segmentation|labels?)"
FOLDER = re.compile(rf"^{WORD}$", re.IGNORECASE)
MARKED = re.compile(rf"^(?P<image>.+?)[-_.]{WORD}(?:[-_](?P<reader>\w+))?$", re.IGNORECASE)
ALONE = re.compile(rf"^{WORD}(?:[-_](?P<reader>\w+))?$", re.IGNORECASE)
UID = re.compile(r"^[0-9]+(\.[0-9]+){4,}$")


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A file that is a mask by its name.

    Parameters
    ----------
    image : str
        Name of its image; empty where it is that of the folder.
    reader : str
        Empty where the name says none.
    """

    path: Path
    image: str
    reader: str = ""


def mask_files(files: Iterable[Path], source: Path) -> list[MaskFile]:
    """Tell masks from images.

    A mask is named as its image (a file, or the UID of a DICOM series) with ``_mask``, ``_seg``, ``_label`` …, or lies
    under the image's name in a folder ``mask``, ``masks``, ``seg``, ``labels`` …, or is named ``mask``, ``seg`` … alone
    in the folder of its image. Of several readers: ``NAME_mask_READER``, ``mask/READER/NAME``, ``mask_READER``.

    Parameters
    ----------
    files : iterable of Path
        All files of the source.
    source : Path
        Folders above it say nothing.
    """
    plain = [file for file in files if format_of(file) in KINDS]
    in_folders = {file: found for file in plain if (found := _in_folder(file, source)) is not None}
    outside = [file for file in plain if file not in in_folders]
    names = {stem_of(file) for file in outside}
    masks = [found for file in outside if (found := _by_name(file, names)) is not None]
    # a folder of this name may also hold images: it holds masks where one of its files is named as an image elsewhere
    images = names - {stem_of(mask.path) for mask in masks}
    if any(_belongs(found.image, images) for found in in_folders.values()):
        masks += [found if found.image in images else _marked(found) for found in in_folders.values()]
    return masks


def _in_folder(file: Path, source: Path) -> MaskFile | None:
    folders = file.relative_to(source).parts[:-1]
    place = next((i for i, name in enumerate(folders) if FOLDER.match(name)), None)
    if place is None:
        return None
    return MaskFile(file, stem_of(file), folders[-1] if len(folders) > place + 1 else "")


def _by_name(file: Path, names: set[str]) -> MaskFile | None:
    stem = stem_of(file)
    if alone := ALONE.match(stem):
        return MaskFile(file, "", alone["reader"] or "")
    marked = MARKED.match(stem)
    if marked and _belongs(marked["image"], names):
        return MaskFile(file, marked["image"], marked["reader"] or "")
    return None


def _belongs(image: str, names: set[str]) -> bool:
    return image in names or UID.match(image) is not None


def _marked(mask: MaskFile) -> MaskFile:
    """A file of a mask folder whose name has ``_mask`` once more."""
    marked = MARKED.match(mask.image)
    return MaskFile(mask.path, marked["image"], mask.reader or marked["reader"] or "") if marked else mask


def mask_rows(masks: Iterable[MaskFile], inventory: Inventory) -> Rows:
    """The masks of each image.

    Raises
    ------
    AnnotationError
        When a mask named by its folder alone has not just one image there.
    """
    rows: Rows = defaultdict(list)
    unknown = []
    for mask in masks:
        item = inventory.named(mask.image) if mask.image else _only_image(mask, inventory)
        if item is None:
            unknown.append(mask.path)
        else:
            rows[item.case_id].append({"mask": str(mask.path.absolute()), "reader": mask.reader})
    if unknown:
        logger.warning("%d mask(s) belong to no image (--debug names them)", len(unknown))
        logger.debug("masks of no image: %s", ", ".join(map(str, unknown)))
    return dict(rows)


def _only_image(mask: MaskFile, inventory: Inventory) -> ImageSource:
    folder = mask.path.parent
    found = [item for item in inventory.items if item.path == folder or folder in item.path.parents]
    if len(found) != 1:
        raise AnnotationError(
            f"{mask.path}: its folder holds {len(found)} images, so its name must say whose mask it is: NAME_mask"
        )
    return found[0]
