"""What is known of a case, read for its evaluation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from medseg.data.annotations import mask_grid, read_labels, read_lesions, unplaced_lesions
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
    labels : ndarray or None, shape (z, y, x)
        Beside a mask: number of the lesion of each voxel, in the order of `lesions` from 1, also of ignored ones.
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
    labels: np.ndarray | None = None


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
        own_grid = mask_grid(case)
        if own_grid is None:
            return Reference(unplaced_lesions(case), None, None, None)
        return _masked(case, own_grid, np.ones(own_grid.shape), own_grid.spacing if own_grid.unit == "mm" else None)
    grid, image = volume.grid, volume.array[0]
    if case.annotation == "label":  # label 0: read, no lesion
        nothing = np.zeros(grid.shape, np.int32)
        return Reference([], nothing > 0, image, grid, _spacing(volume), nothing)
    if case.mask is not None:
        return _masked(case, grid, image, _spacing(volume))
    lesions = read_lesions(case, grid, volume.pixel_spacing_mm) or []
    return Reference(lesions, None, image, grid, _spacing(volume))


def _masked(case: Case, grid: Grid, image: np.ndarray, spacing_mm: tuple[float, float, float] | None) -> Reference:
    labelled = read_labels(case, grid)
    assert labelled is not None
    return Reference(list(labelled.lesions), labelled.mask > 0, image, grid, spacing_mm, labelled.labels)


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
