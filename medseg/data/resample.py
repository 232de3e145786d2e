"""Moving an array from one grid to another."""

from typing import Literal

import numpy as np
import SimpleITK as sitk

from medseg.volume import Grid

__all__ = ["canonical_grid", "resample", "resized_grid", "respaced_grid"]

INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


def resample(
    array: np.ndarray,
    source: Grid,
    target: Grid,
    *,
    interpolation: Literal["linear", "nearest"] = "linear",
    outside: float | None = 0.0,
    smooth: bool = True,
) -> np.ndarray:
    """Resample `array`, shape (z, y, x) on `source`, to `target`.

    Parameters
    ----------
    outside : float or None
        Value beyond the source; None continues its border.
    smooth : bool
        With linear interpolation, blur axes that get coarser first (Gaussian, standard deviation 0.4 of the
        factor, in source voxels), so that fine structure does not alias.

    Returns
    -------
    ndarray, shape `target.shape`
        float32 for linear, the type of `array` for nearest.
    """
    linear = interpolation == "linear"
    values = np.ascontiguousarray(array, dtype=np.float32 if linear else None)
    if source.same_as(target, tolerance=1e-6):
        return values.copy()
    matrix = np.linalg.inv(source.affine) @ target.affine  # index (x, y, z) of target -> of source
    image = sitk.GetImageFromArray(values)  # spacing 1, origin 0: its points are indices
    if linear and smooth:
        image = _blur(image, np.linalg.norm(matrix[:3, :3], axis=1))
    transform = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize(target.shape[::-1])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(INTERPOLATORS[interpolation])
    resampler.SetDefaultPixelValue(0.0 if outside is None else float(outside))
    resampler.SetUseNearestNeighborExtrapolator(outside is None)
    return sitk.GetArrayFromImage(resampler.Execute(image))


def _blur(image: sitk.Image, factor_xyz: np.ndarray) -> sitk.Image:
    for axis, factor in enumerate(factor_xyz):
        if factor > 1.2 and image.GetSize()[axis] >= 4:  # the recursive filter needs four voxels
            image = sitk.RecursiveGaussian(image, sigma=0.4 * float(factor), direction=axis)
    return image


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
