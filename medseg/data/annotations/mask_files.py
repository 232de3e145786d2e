"""One mask file, whatever its format: the regions that it marks, each with the name it has there."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import AnnotationError, GeometryError
from medseg.imaging import read
from medseg.imaging.formats import format_of, split_member
from medseg.volume import Grid

if TYPE_CHECKING:
    from medseg.imaging.objects.structure_set import Roi

__all__ = ["Region", "grid_of_mask", "read_regions"]

logger = logging.getLogger(__name__)
Region = tuple[str, np.ndarray]  # name, empty where the file has none; uint8 of shape (z, y, x), 1 inside
GRID_TOLERANCE = 0.05  # of a voxel: affines are stored in single precision, positions as rounded text


def read_regions(name: str | Path, grid: Grid) -> list[Region]:
    """Read a mask: an image (NIfTI, NRRD, MHA, PNG ...), a DICOM Segmentation or an RT Structure Set.

    Parameters
    ----------
    name : str or Path
        ``FILE``, or ``FILE#CHOICE``: a value of an image; number or label of a segment; number or name of a region.
        Without a choice an image is one region, wherever it is above 0; segments and regions are one each, but for
        regions whose kind no lesion has, such as EXTERNAL or ORGAN (PS3.3 C.8.8.8): those count where chosen only.
    grid : Grid
        Of the image that the mask belongs to.

    Raises
    ------
    GeometryError
        When the mask does not lie on `grid`.
    AnnotationError
        When its values are not whole numbers from 0, it does not hold what was chosen, or nothing that
        may be a lesion.
    ImageError
        When it cannot be read.
    """
    path, choice = split_member(name)
    kind = _kind(path)
    if kind == "segmentation":
        return _segments(path, choice, grid)
    if kind == "structure set":
        return _contoured(path, choice, grid)
    if path.is_dir():  # a series: what follows # is its UID
        return [("", (_values(str(name), grid) > 0).astype(np.uint8))]
    values = _values(path, grid)
    if not choice:
        return [("", (values > 0).astype(np.uint8))]
    if not choice.isdecimal() or int(choice) < 1:
        raise AnnotationError(f"'{choice}' is no value of a mask: a whole number from 1 was expected")
    return [("", (values == int(choice)).astype(np.uint8))]


def grid_of_mask(name: str | Path) -> Grid:
    """Where a mask lies by itself, for a case whose image cannot be read.

    Raises
    ------
    GeometryError
        For contours, which lie on no grid of their own.
    """
    path, _ = split_member(name)
    kind = _kind(path)
    if kind == "segmentation":
        from medseg.imaging.objects.read_segmentation import read_segmentation

        return read_segmentation(path).mask()[1]
    if kind == "structure set":
        raise GeometryError("contours become a mask on their image only, which cannot be read")
    return read(name if path.is_dir() else path).grid


def _kind(path: Path) -> str:
    """What a file holds; ``image`` for all that are no DICOM objects made for marking."""
    if path.is_dir() or not path.exists() or format_of(path) != "dicom":
        return "image"
    from medseg.imaging.dicom.headers import DicomObject, read_header
    from medseg.imaging.objects import read_segmentation, structure_set

    found = read_header(path)
    if isinstance(found, DicomObject) and found.sop_class in read_segmentation.CLASSES:
        return "segmentation"
    if isinstance(found, DicomObject) and found.sop_class in structure_set.CLASSES:
        return "structure set"
    return "image"


def _values(name: str | Path, grid: Grid) -> np.ndarray:
    volume = read(name)
    if not volume.grid.same_as(grid, tolerance=GRID_TOLERANCE):
        raise GeometryError(
            f"the mask does not lie on its image: {_describe(volume.grid)}, the image has {_describe(grid)}; draw or "
            "resample it on the image"
        )
    values = volume.array[0]
    if not np.isfinite(values).all() or values.min() < 0 or not np.array_equal(values, np.rint(values)):
        raise AnnotationError("a mask holds whole numbers from 0, this one does not")
    return values


def _describe(grid: Grid) -> str:
    spacing = "x".join(f"{value:.4g}" for value in grid.spacing)
    origin = np.round(grid.affine[:3, 3], 2).tolist()
    return f"shape {grid.shape}, spacing {spacing} {grid.unit}, origin {origin}"


def _segments(path: Path, choice: str, grid: Grid) -> list[Region]:
    from medseg.imaging.objects.read_segmentation import read_segmentation

    segmentation = read_segmentation(path)
    segments = [(segment.number, segment.label) for segment in segmentation.segments]
    chosen = _chosen(choice, segments)
    return [(segments[i][1], segmentation.mask([segments[i][0]], grid=grid)[0]) for i in chosen]


def _contoured(path: Path, choice: str, grid: Grid) -> list[Region]:
    from medseg.imaging.objects.contour_mask import roi_mask
    from medseg.imaging.objects.structure_set import read_structure_set

    rois = read_structure_set(path).rois
    regions: list[Region] = []
    chosen = [rois[index] for index in _chosen(choice, [(roi.number, roi.name) for roi in rois])]
    for roi in chosen if choice else _lesions(chosen):
        if not roi.contours:  # named, but nothing was drawn
            regions.append((roi.name, np.zeros(grid.shape, np.uint8)))
            continue
        mask, notes = roi_mask(roi, grid)
        for note in notes:
            logger.warning("contours: %s", note.message)
        regions.append((roi.name, mask))
    return regions


def _lesions(rois: "Sequence[Roi]") -> "list[Roi]":
    """Regions that may be lesions; how many others there are is warned of."""
    found = [roi for roi in rois if roi.may_be_lesion]
    others = Counter(roi.kind for roi in rois if not roi.may_be_lesion)
    listed = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
    if not found:
        raise AnnotationError(
            f"none of the regions is a lesion by its kind: {listed}; where one is, choose it: FILE#NUMBER or FILE#NAME"
        )
    if others:
        logger.warning("contours: left out regions whose kind no lesion has: %s; FILE#NAME chooses one", listed)
    return found


def _chosen(choice: str, known: Sequence[tuple[int, str]]) -> list[int]:
    """Places of the segments or regions that are meant, by number, else by name."""
    if not choice:
        return list(range(len(known)))
    by_number = [i for i, (number, _) in enumerate(known) if str(number) == choice]
    found = by_number or [i for i, (_, name) in enumerate(known) if name == choice]
    if not found:
        listed = ", ".join(f"{number} '{name}'" for number, name in known)
        raise AnnotationError(f"the mask holds no '{choice}'; it holds {listed}")
    return found
