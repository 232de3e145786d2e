"""Moving an array from one grid to another."""

from typing import Literal

import numpy as np
import SimpleITK as sitk

from medseg.volume import Grid

__all__ = [
    "Box",
    "canonical_grid",
    "index_map",
    "needed_box",
    "resample",
    "resized_grid",
    "respaced_grid",
    "whole_box",
]

Box = tuple[slice, slice, slice]  # half-open ranges of voxels along (z, y, x)

INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}
RECURSIVE_VOXELS = 4  # the recursive Gaussian needs so many along an axis
# Standard deviations after which a voxel no longer counts: the filter's slowest term falls by exp(-1.37) in each
# (Deriche 1993, INRIA RR-1893), so that 16 leave 3e-10 of it.
BLUR_REACH = 16
ROUNDING = 1e-6  # voxels


def resample(
    array: np.ndarray,
    source: Grid,
    target: Grid,
    *,
    interpolation: Literal["linear", "nearest"] = "linear",
    outside: float | None = 0.0,
    smooth: bool = True,
    begin: tuple[int, int, int] = (0, 0, 0),
    box: Box | None = None,
) -> np.ndarray:
    """Resample `array`, shape (z, y, x) on `source`, to `target`, or a part of one to a part of the other.

    Parameters
    ----------
    outside : float or None
        Value beyond the source; None continues its border.
    smooth : bool
        With linear interpolation, blur axes that get coarser first (Gaussian, standard deviation 0.4 of the
        factor, in source voxels), so that fine structure does not alias.
    begin : tuple of int
        Voxel (z, y, x) of `source` that the first of `array` is, where that holds a part of the source.
    box : tuple of slice, optional
        Voxels (z, y, x) of `target` that are wanted: all by default. From the part of the source that `needed_box`
        names they come out as from the whole.

    Returns
    -------
    ndarray, shape `target.shape` or that of `box`
        float32 for linear, the type of `array` for nearest.
    """
    box = box or whole_box(target)
    linear = interpolation == "linear"
    values = np.ascontiguousarray(array, dtype=np.float32 if linear else None)
    if source.same_as(target, tolerance=1e-6):
        return values[tuple(slice(s.start - first, s.stop - first) for s, first in zip(box, begin))].copy()
    matrix = index_map(source, target)
    image = sitk.GetImageFromArray(values)
    image.SetOrigin([float(first) for first in begin[::-1]])  # at a spacing of 1, its points are indices of the source
    if linear and smooth:
        for axis, sigma in enumerate(_sigmas(matrix, source)):
            if sigma:
                image = sitk.RecursiveGaussian(image, sigma=sigma, direction=axis)
    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([s.stop - s.start for s in box[::-1]])
    resampler.SetOutputOrigin([float(s.start) for s in box[::-1]])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(0.0 if outside is None else float(outside))
    resampler.SetUseNearestNeighborExtrapolator(outside is None)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def index_map(source: Grid, target: Grid) -> np.ndarray:
    """Return the matrix, shape (4, 4), from the index (x, y, z, 1) on `target` to that on `source`."""
    return np.linalg.inv(source.affine) @ target.affine


def whole_box(grid: Grid) -> Box:
    """Return the box, (z, y, x), of all voxels of a grid."""
    z, y, x = (slice(0, size) for size in grid.shape)
    return z, y, x


def _sigmas(matrix: np.ndarray, source: Grid) -> list[float]:
    """Standard deviation of the blur along the source's axes (x, y, z), in voxels; 0 where an axis stays as fine."""
    factors = np.linalg.norm(matrix[:3, :3], axis=1)
    return [
        0.4 * float(factor) if factor > 1.2 and size >= RECURSIVE_VOXELS else 0.0
        for factor, size in zip(factors, source.shape[::-1])
    ]


def needed_box(source: Grid, target: Grid, box: Box, *, smooth: bool = True) -> Box:
    """Return the part of `source`, (z, y, x), from which `resample` makes `box` of `target`.

    Parameters
    ----------
    smooth : bool
        As of `resample` with linear interpolation. The blur has no end; what lies beyond the part returned would
        change values by less than float32 resolves.
    """
    matrix = index_map(source, target)
    corners = np.array(np.meshgrid(*[(s.start, s.stop - 1) for s in box[::-1]])).reshape(3, -1)
    index = matrix[:3, :3] @ corners + matrix[:3, 3:]
    sigmas = _sigmas(matrix, source) if smooth else [0.0] * 3
    parts = []
    for line, sigma, size in zip(index, sigmas, source.shape[::-1]):
        margin = int(np.ceil(BLUR_REACH * sigma))
        ends = np.floor([line.min() - ROUNDING, line.max() + ROUNDING + 1])  # the neighbours that are interpolated
        first, last = (int(end) for end in np.clip(ends, 0, size - 1))  # beyond the source, its border counts
        parts.append(slice(max(first - margin, 0), min(last + margin + 1, size)))
    x, y, z = parts
    return z, y, x


def canonical_grid(grid: Grid) -> Grid:
    """Permute and flip the axes of a volume's grid so that x, y, z run towards L, P, S.

    The voxels stay where they are in the world; an oblique grid stays oblique. Projections stay as they are.
    """
    if grid.unit == "px":
        return grid
    direction = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    order = _closest_axes(direction)
    size = np.array(grid.shape[::-1])
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for world_axis, axis in enumerate(order):
        forward = direction[world_axis, axis] > 0
        matrix[axis, world_axis] = 1 if forward else -1
        matrix[axis, 3] = 0 if forward else size[axis] - 1
    return Grid(tuple(int(n) for n in size[order][::-1]), grid.affine @ matrix, grid.unit)  # type: ignore[arg-type]


def _closest_axes(direction: np.ndarray) -> list[int]:
    """Index axis closest to each world axis, every axis used once."""
    cosines = np.abs(direction)
    order = [-1, -1, -1]
    for _ in range(3):
        world, axis = np.unravel_index(int(cosines.argmax()), (3, 3))
        order[int(world)] = int(axis)
        cosines[world, :] = cosines[:, axis] = -1
    return order


def respaced_grid(grid: Grid, spacing: tuple[float, float, float]) -> Grid:
    """Return the grid over the same extent with another spacing, (z, y, x) in the grid's unit."""
    factor = np.array(spacing) / np.array(grid.spacing)  # (z, y, x)
    shape = np.maximum(1, np.round(np.array(grid.shape) / factor)).astype(int)
    return _scaled(grid, shape, factor)


def resized_grid(grid: Grid, longest: int) -> Grid:
    """Return the grid whose longer in-plane side has `longest` pixels; z stays."""
    factor = max(grid.shape[1:]) / longest
    shape = [grid.shape[0], *(max(1, round(side / factor)) for side in grid.shape[1:])]
    return _scaled(grid, np.array(shape), np.array(grid.shape) / np.array(shape))


def _scaled(grid: Grid, shape: np.ndarray, factor: np.ndarray) -> Grid:
    scale = np.eye(4)
    scale[[0, 1, 2], [0, 1, 2]] = factor[::-1]
    # the centres of both extents agree
    scale[:3, 3] = (np.array(grid.shape[::-1]) - 1) / 2 - factor[::-1] * (shape[::-1] - 1) / 2
    return Grid(tuple(int(n) for n in shape), grid.affine @ scale, grid.unit)  # type: ignore[arg-type]
