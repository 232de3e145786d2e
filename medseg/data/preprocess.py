"""From an image as it was read to what a network is given: grid, crop, grey values.

Training and prediction call the same function, so that they cannot differ.
"""

from dataclasses import dataclass

import numpy as np

from medseg.data.resample import canonical_grid, resample, resized_grid, respaced_grid
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.errors import GeometryError, ImageError
from medseg.volume import Grid, Volume

__all__ = ["Prepared", "normalise", "prepare_image", "working_grid"]


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
    if settings.dimensions == 3:
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
    if volume.array.shape[0] != settings.channels:
        raise ImageError(f"the pipeline takes {settings.channels} channel(s), the image has {volume.array.shape[0]}")
    grid = working_grid(volume.grid, settings, spacing)
    image = np.stack([resample(channel, volume.grid, grid, outside=None) for channel in volume.array])
    if settings.crop == "above_zero":
        image, grid = _crop(image, grid)
    image = np.stack([
        channel if _stands_for_missing(number, channel, settings) else normalise(channel, settings.intensity)
        for number, channel in enumerate(image)
    ])  # fmt: skip
    if settings.mirrored_channel:
        image = np.concatenate([image, image[..., ::-1]])
    return Prepared(np.ascontiguousarray(image, dtype=np.float32), grid, volume.grid, volume.pixel_spacing_mm)


def _stands_for_missing(number: int, channel: np.ndarray, settings: InputSettings) -> bool:
    """Whether these are the zeros that stand for a missing channel: `stack_channels` refuses images that are zero."""
    return bool(settings.series) and settings.series[number].fallback is not None and not channel.any()


def _crop(image: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    occupied: np.ndarray = np.asarray((image > 0).any(axis=0))
    if not occupied.any():
        raise ImageError("nothing in the image is above 0, so there is no body to crop to")
    spans = []
    for axis in range(3):
        line = np.flatnonzero(occupied.any(axis=tuple(a for a in range(3) if a != axis)))
        spans.append(slice(int(line[0]), int(line[-1]) + 1))
    cropped = image[(slice(None), *spans)]
    offset = np.eye(4)
    offset[:3, 3] = [span.start for span in spans[::-1]]
    return cropped, Grid(cropped.shape[1:], grid.affine @ offset, grid.unit)  # type: ignore[arg-type]


def normalise(channel: np.ndarray, settings: IntensitySettings) -> np.ndarray:
    """Bring the grey values of one channel, shape (z, y, x), to a common scale.

    Raises
    ------
    ImageError
        When the values are not finite, or constant.
    """
    if not np.isfinite(channel).all():
        raise ImageError("the image holds values that are not finite (NaN or infinity)")
    if channel.min() == channel.max():
        found = "constant" if channel.any() else "all zero"
        raise ImageError(f"the image is {found}: there is nothing to see in it")
    if settings.method in ("window", "range"):
        scaled = (channel - settings.low) / (settings.high - settings.low)
        return np.clip(scaled, 0, 1) if settings.method == "window" else scaled
    values = channel[channel > 0] if settings.foreground == "above_zero" else channel.ravel()
    if values.size == 0 or values.min() == values.max():
        raise ImageError("the image is constant inside the foreground: there is nothing to see in it")
    if settings.method == "zscore":
        scaled = (channel - values.mean(dtype=np.float64)) / max(float(values.std(dtype=np.float64)), 1e-6)
        if settings.foreground == "above_zero":  # the empty background stays apart from dark tissue
            scaled = np.where(channel > 0, scaled, min(float(scaled.min()), -3.0))
        return scaled
    low, high = np.percentile(values, settings.percentiles)
    return np.clip((channel - low) / max(float(high - low), 1e-6), -0.5, 1.5)
