"""What is known of a case, read for its evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medseg.data.annotations import lesions_of_mask, read_lesions, read_mask, unplaced_lesions
from medseg.data.manifest import Case
from medseg.errors import AnnotationError, ImageError
from medseg.imaging import read
from medseg.lesion import Lesion
from medseg.volume import Grid, Volume

__all__ = ["Reference", "VoxelCases", "counted_voxels", "read_map", "read_reference"]

Region = Literal["all", "above_zero"]


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What is known of a case.

    Parameters
    ----------
    lesions : list of Lesion
    mask, image : ndarray or None, shape (z, y, x)
        Lesion mask (bool), where the reference has one, and the image.
    grid : Grid or None
        None where the image cannot be read.
    spacing_mm : tuple of float or None
        (z, y, x); None where the image has no spacing.
    """

    lesions: list[Lesion]
    mask: np.ndarray | None
    image: np.ndarray | None
    grid: Grid | None
    spacing_mm: tuple[float, float, float] | None = None


def read_reference(case: Case, *, failed: bool) -> Reference:
    """Read the lesions of a case, and its mask where it has one.

    Parameters
    ----------
    failed : bool
        The case has no prediction: where its image cannot be read either, its lesions are still known.

    Raises
    ------
    MedsegError
        When the reference cannot be read.
    """
    try:
        volume = read(case.files[0])
    except ImageError:
        if not failed:
            raise
        # the case failed because of its image: its lesions stay, as missed
        if case.mask is None:
            return Reference(unplaced_lesions(case), None, None, None)
        volume = read(case.mask)
        mask = volume.array[0] > 0
        lesions = lesions_of_mask(mask, volume.grid, name=case.name, reader=case.reader)
        return Reference(lesions, mask, np.ones(mask.shape), None, _spacing(volume))
    grid, image = volume.grid, volume.array[0]
    if case.annotation == "label":  # label 0: read, no lesion
        return Reference([], np.zeros(grid.shape, bool), image, grid, _spacing(volume))
    lesions = read_lesions(case, grid, volume.pixel_spacing_mm) or []
    mask = read_mask(case, grid)
    return Reference(lesions, None if mask is None else mask > 0, image, grid, _spacing(volume))


def _spacing(volume: Volume) -> tuple[float, float, float] | None:
    """Spacing in mm (z, y, x), None where it is not known: a projection's only in its plane."""
    if not volume.is_projection:
        return volume.spacing_mm
    return None if volume.pixel_spacing_mm is None else (1.0, *volume.pixel_spacing_mm)


def read_map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a saved mask or probability map of the shape of its reference.

    Raises
    ------
    AnnotationError
        When it has another shape, or holds values that are not finite.
    """
    values = read(path).array[0]
    if values.shape != shape:
        raise AnnotationError(f"{path}: has the shape {values.shape}, the reference {shape}; predict again")
    if not np.isfinite(values).all():
        raise AnnotationError(f"{path}: holds values that are not finite; predict again")
    return values


def counted_voxels(
    probability: np.ndarray, known: Reference, region: Region
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Probability, reference, and which voxels count (None: all), each shape (z, y, x).

    ``above_zero`` leaves out voxels whose image is 0, except lesion voxels: they cannot be seen there, and count as
    missed.
    """
    assert known.mask is not None
    assert known.image is not None
    if region == "all":
        return probability, known.mask, None
    return np.where(known.image > 0, probability, 0), known.mask, (known.image > 0) | known.mask


class VoxelCases:
    """Probability, reference and counted voxels of each case, read anew whenever they are gone through.

    Parameters
    ----------
    cases : sequence of (Case, Path or None)
        With the probability map that was saved; None for a case that failed, whose probability is 0 everywhere.
    region : str
        As in `counted_voxels`.
    """

    def __init__(self, cases: Sequence[tuple[Case, Path | None]], region: Region) -> None:
        self._cases, self._region = cases, region

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
        for case, path in self._cases:
            known = read_reference(case, failed=path is None)
            assert known.mask is not None
            probability = np.zeros(known.mask.shape, np.float32) if path is None else read_map(path, known.mask.shape)
            yield counted_voxels(probability, known, self._region)
