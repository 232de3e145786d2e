"""From an image as it was read to what a network is given: grid, crop, grey values.

Training and prediction call the same function, so that they cannot differ.
"""

from dataclasses import dataclass

import numpy as np

from medseg.data.channel_settings import fallback_of
from medseg.data.intensity import scale_of
from medseg.data.resample import Box, canonical_grid, resample, resized_grid, respaced_grid
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.errors import GeometryError, ImageError
from medseg.volume import Grid, Volume

__all__ = ["Occupied", "Prepared", "check_channels", "grid_of_part", "normalise", "prepare_image", "working_grid"]


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An image ready for a network.

    Parameters
    ----------
    image : ndarray of float32, shape (channel, z, y, x)
        On `grid`.
    grid : Grid
        The working grid.
    source : Grid
        The grid of the image as it was read.
    pixel_spacing_mm : tuple of float, optional
        Of a projection image, (y, x), where it is known.
    """

    image: np.ndarray
    grid: Grid
    source: Grid
    pixel_spacing_mm: tuple[float, float] | None = None


def working_grid(source: Grid, settings: InputSettings, spacing: tuple[float, float, float] | None) -> Grid:
    """Return the grid that `settings` ask for; `spacing` (z, y, x) is the planned one of 3D pipelines."""
    grid = canonical_grid(source)
    if settings.n_dimensions == 3:
        if grid.unit == "px":
            raise GeometryError("a 3D pipeline needs volumes with a position in space, found a projection image")
        return respaced_grid(grid, spacing) if spacing else grid
    return resized_grid(grid, settings.size) if settings.size else grid


def prepare_image(volume: Volume, settings: InputSettings, *, spacing: tuple[float, float, float] | None) -> Prepared:
    """Bring `volume` to the working grid and its grey values to a common scale.

    Raises
    ------
    ImageError
        When the channels do not fit, or the image holds nothing (constant, not finite).
    """
    check_channels(volume.array.shape[0], settings)
    grid = working_grid(volume.grid, settings, spacing)
    image = np.stack([resample(channel, volume.grid, grid, outside=None) for channel in volume.array])
    if settings.crop == "above_zero":
        occupied = Occupied(grid.shape)
        occupied.add(image)
        spans = occupied.spans()
        image, grid = image[(slice(None), *spans)], grid_of_part(grid, spans)
    image = np.stack([
        channel if _stands_for_missing(number, channel, settings) else normalise(channel, settings.intensity)
        for number, channel in enumerate(image)
    ])  # fmt: skip
    if settings.mirrored_channel:
        image = np.concatenate([image, image[..., ::-1]])
    return Prepared(np.ascontiguousarray(image, dtype=np.float32), grid, volume.grid, volume.pixel_spacing_mm)


def check_channels(found: int, settings: InputSettings) -> None:
    """Refuse an image of another number of channels than the pipeline takes."""
    if found != settings.channels:
        raise ImageError(f"the pipeline takes {settings.channels} channel(s), the image has {found}")


def _stands_for_missing(number: int, channel: np.ndarray, settings: InputSettings) -> bool:
    """Whether these are the zeros that stand for a missing channel: `stack_channels` refuses images that are zero."""
    return fallback_of(settings.series, number, settings.missing_channel) is not None and not channel.any()


class Occupied:
    """Which part of a grid of the shape (z, y, x) holds anything above 0, in any channel."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._lines = [np.zeros(size, dtype=bool) for size in shape]

    def add(self, image: np.ndarray, *, begin: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Look at a part, shape (channel, z, y, x), whose first voxel is `begin`, (z, y, x)."""
        occupied = np.zeros(image.shape[1:], dtype=bool)
        for channel in image:
            occupied |= channel > 0
        for axis, line in enumerate(self._lines):
            others = tuple(a for a in range(3) if a != axis)
            line[begin[axis] : begin[axis] + image.shape[1 + axis]] |= occupied.any(axis=others)

    def spans(self) -> Box:
        """Return the range along (z, y, x) outside of which nothing is above 0.

        Raises
        ------
        ImageError
            When nothing is.
        """
        if not self._lines[0].any():
            raise ImageError("nothing in the image is above 0, so there is no body to crop to")
        ends = [np.flatnonzero(line)[[0, -1]].tolist() for line in self._lines]
        z, y, x = (slice(first, last + 1) for first, last in ends)
        return z, y, x


def grid_of_part(grid: Grid, spans: Box) -> Grid:
    """Return the grid of the voxels in `spans`, (z, y, x)."""
    offset = np.eye(4)
    offset[:3, 3] = [span.start for span in spans[::-1]]
    z, y, x = (span.stop - span.start for span in spans)
    return Grid((z, y, x), grid.affine @ offset, grid.unit)


def normalise(channel: np.ndarray, settings: IntensitySettings) -> np.ndarray:
    """Bring the grey values of one channel, shape (z, y, x), to a common scale, float32.

    Raises
    ------
    ImageError
        When the values are not finite, or constant.
    """
    return scale_of(lambda: [channel], settings).apply(channel)
