"""A multi-frame object that was read: its frames' pixels and places."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import AnnotationError, GeometryError, ImageError
from medseg.imaging.dicom.decode import PixelFormat, read_frames
from medseg.imaging.dicom.instance import instance_of
from medseg.imaging.objects.opened import damage_named
from medseg.imaging.objects.placing import Placing, place_on
from medseg.imaging.objects.planes import Planes, planes_of, regular_grid
from medseg.volume import Grid

if TYPE_CHECKING:
    import pydicom

__all__ = ["MultiFrame", "multiframe_of"]


@dataclass(frozen=True, slots=True, eq=False)
class MultiFrame:
    """Frames of one object; pixels are read when they are asked for.

    Parameters
    ----------
    path : Path
        The file, which must stay.
    format : PixelFormat
        How its pixels are stored.
    planes : Planes or None
        Where its frames lie; None for those of a projection image.
    """

    path: Path
    format: PixelFormat
    planes: Planes | None

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a frame."""
        return self.format.rows, self.format.columns

    def placing(self, grid: Grid | None) -> Placing:
        """Where the frames lie on the grid of an image, or on one that just holds them.

        Raises
        ------
        GeometryError
            When they do not lie on it, or on no regular grid.
        """
        try:
            if grid is None:
                grid = Grid.projection(self.shape) if self.planes is None else regular_grid(self.planes)
            return place_on(self.planes, grid, self.format.frames, self.shape)
        except GeometryError as error:
            raise GeometryError(f"{self.path}: {error}", code=error.code) from error

    def frames(self, numbers: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Number and stored values, shape (y, x), of frames.

        Raises
        ------
        ImageError
            When pixels are missing or cannot be decoded.
        """
        for number, decoded in zip(numbers, read_frames(self.path, self.format, numbers)):
            if decoded.array.ndim != 2:
                raise AnnotationError(f"{self.path}: its frames are in colour, one value a pixel was expected")
            yield number, decoded.array

    def on_grid(
        self, array: np.ndarray, placing: Placing, numbers: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Number, stored values and view of `array` at their place, for each of `numbers`.

        Raises
        ------
        GeometryError
            When values other than 0 lie outside of the grid.
        """
        for number, values in self.frames(numbers):
            inside, view = placing.target(array, number, self.shape)
            part = values[inside]
            if part.size < values.size:
                lost = np.count_nonzero(values) - np.count_nonzero(part)
                if lost:
                    raise GeometryError(f"{self.path}: {lost} voxels of its frame {number + 1} lie off the image")
            yield number, part, view


def multiframe_of(path: Path, header: "pydicom.Dataset", offset: int) -> MultiFrame:
    """Take the frames of an object from its header.

    Raises
    ------
    AnnotationError, ImageError
        When the object is damaged.
    GeometryError
        When its frames are not parallel planes.
    """
    with damage_named(path):
        count = int(header.get("NumberOfFrames") or 0)
        groups = header.get("PerFrameFunctionalGroupsSequence") or []
        if count < 1 or len(groups) != count:
            raise AnnotationError(f"{path}: describes {len(groups)} frames, NumberOfFrames is {count}: it is damaged")
        try:
            instance = instance_of(path, header, offset)
            planes = planes_of(instance.frames, (instance.format.rows, instance.format.columns))
        except ImageError as error:
            if str(path) in str(error):
                raise
            raise type(error)(f"{path}: {error}", code=error.code) from error
    return MultiFrame(path, instance.format, planes)
