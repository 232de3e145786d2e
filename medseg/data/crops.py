"""Crops around a place at several scales: the same centre with more or less around it, each of n voxels a side."""

from collections.abc import Sequence

import numpy as np

from medseg.data.resample import needed_box, resample, whole_box
from medseg.errors import GeometryError
from medseg.volume import Grid

__all__ = ["crop_grid", "is_flat", "lowest_values", "multi_scale_crop"]


def is_flat(grid: Grid) -> bool:
    """Whether crops of an image are squares: a projection, or a single slice."""
    return grid.unit == "px" or grid.shape[0] == 1


def crop_grid(source: Grid, centre: Sequence[float], *, size: float, n_voxels: int) -> Grid:
    """Return the grid of a cube, or of a square where the image is flat.

    A cube has the axes x, y, z towards L, P, S, whatever the order of the image's own; a square those of its image, in
    whose plane it lies.

    Parameters
    ----------
    centre : sequence of float
        (x, y, z) in LPS mm, or in pixels of the original image: of the middle of the crop, between its two middle
        voxels where `n_voxels` is even.
    size : float
        Side from edge to edge in the unit of `source`.
    """
    step = size / n_voxels
    offset = -(n_voxels - 1) / 2
    affine = np.eye(4)
    if not is_flat(source):
        affine[:3, :3] *= step
        affine[:3, 3] = np.asarray(centre, float) + offset * step
        return Grid((n_voxels,) * 3, affine, source.unit)
    axes = source.affine[:3, :3] / np.linalg.norm(source.affine[:3, :3], axis=0)
    index = source.to_index(np.asarray(centre, float)[None])[0]
    index[2] = 0  # the plane of the slice
    affine[:3, :3] = axes * [step, step, source.spacing[0]]
    affine[:3, 3] = source.to_world(index[None])[0] + offset * step * (axes[:, 0] + axes[:, 1])
    return Grid((1, n_voxels, n_voxels), affine, source.unit)


def lowest_values(image: np.ndarray) -> np.ndarray:
    """Lowest value of each channel of an image (channel, z, y, x): what lies beyond its border in crops."""
    return np.array([min(float(rows.min()) for rows in channel) for channel in image])  # rows: it may lie in a file


def multi_scale_crop(
    image: np.ndarray,
    grid: Grid,
    centre: Sequence[float],
    *,
    sizes: Sequence[float],
    n_voxels: int,
    outside: np.ndarray | None = None,
    smooth: bool = True,
) -> np.ndarray:
    """Cut crops of several sizes around a place, linearly interpolated, stacked as channels.

    Parameters
    ----------
    image : ndarray, shape (channel, z, y, x)
        On `grid`; may be mapped from a file, of which the rows around the place alone are read.
    centre : sequence of float
        (x, y, z), as of `crop_grid`.
    sizes : sequence of float
        Sides of the crops in the unit of `grid`.
    outside : ndarray, shape (channel,), optional
        Value beyond the image's border (half a voxel beyond the outermost centres): the lowest of each channel unless
        given.
    smooth : bool
        As of `resample`: blur before a crop that is coarser than the image.

    Returns
    -------
    ndarray of float32, shape (size * channel, n, n, n), or (size * channel, n, n) where the image is flat
        All channels of the first size first.

    Raises
    ------
    GeometryError
        When the image and its grid differ in shape, or no size is above 0.
    """
    if image.shape[1:] != grid.shape or not sizes or min(sizes) <= 0:
        raise GeometryError(f"a crop needs an image on its grid and sizes above 0, found {image.shape}, {tuple(sizes)}")
    values = lowest_values(image) if outside is None else outside
    crops = []
    for size in sizes:
        target = crop_grid(grid, centre, size=size, n_voxels=n_voxels)
        box = needed_box(grid, target, whole_box(target), smooth=smooth)
        begin = (box[0].start, box[1].start, box[2].start)
        for channel, value in zip(image, values):
            part = np.asarray(channel[box])
            crops.append(
                _beyond_border(part, begin, grid, target, value, smooth)
                if is_flat(grid)
                else resample(part, grid, target, outside=float(value), begin=begin, smooth=smooth)
            )
    stacked = np.stack(crops)
    return stacked[:, 0] if is_flat(grid) else stacked


def _beyond_border(
    part: np.ndarray, begin: tuple[int, int, int], grid: Grid, target: Grid, value: float, smooth: bool
) -> np.ndarray:
    """As `resample` in the plane: a slice has no thickness that rounding could leave."""
    flat, aim = (Grid(g.shape, _in_plane(g, grid), g.unit) for g in (grid, target))
    return resample(part, flat, aim, outside=float(value), begin=begin, smooth=smooth)


def _in_plane(grid: Grid, source: Grid) -> np.ndarray:
    """Affine from the index on `grid` to that on `source`, exact across the plane."""
    affine = np.linalg.inv(source.affine) @ grid.affine
    affine[2] = affine[:3, 2] = 0
    affine[2, 2] = 1
    return np.vstack([affine[:3], [0, 0, 0, 1]])
