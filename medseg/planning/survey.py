"""What the training images are like, as far as the choices of grid and grey values need it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.data.manifest import Case
from medseg.data.resample import canonical_grid
from medseg.errors import MedsegError
from medseg.imaging import read

__all__ = ["SURVEYED", "ImageFacts", "survey"]

logger = logging.getLogger(__name__)
SURVEYED = 50  # images: enough for a median


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """Facts of one image, with axes as on the working grid: z, y, x towards S, P, L.

    Parameters
    ----------
    zero_border : float
        Share of the voxels on the image's faces that are exactly 0.
    """

    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    is_projection: bool
    modality: str
    zero_border: float


def survey(cases: Sequence[Case]) -> list[ImageFacts]:
    """Look at the first images of up to `SURVEYED` cases; those that cannot be read are left out."""
    found = []
    for case in cases[:SURVEYED]:
        try:
            volume = read(case.files[0])
        except (MedsegError, FileNotFoundError):
            continue  # named, with its reason, when the cache is built
        grid = canonical_grid(volume.grid)
        found.append(
            ImageFacts(
                spacing_mm=grid.spacing, shape=grid.shape, is_projection=volume.is_projection,
                modality=case.modality or volume.modality, zero_border=zero_border(volume.array[0]),
            )
        )  # fmt: skip
    return found


def zero_border(array: np.ndarray) -> float:
    """Share of the voxels on the faces of an array, (z, y, x), that are 0; of a single slice, on its edges."""
    faces = [array.take((0, -1), axis=axis) for axis, side in enumerate(array.shape) if side > 1]
    return sum(int((face == 0).sum()) for face in faces) / max(1, sum(face.size for face in faces))
