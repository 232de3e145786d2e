"""Crops: exact for a ramp, as SimpleITK resamples, padded beyond the border, whatever the order of the axes."""

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.data.crops import crop_grid, multi_scale_crop
from medseg.errors import GeometryError
from medseg.volume import Grid

RNG = np.random.default_rng(0)


def turned_grid(shape=(20, 24, 28)):
    """Axes in another order and direction: x runs to S, y to R, z to A, spacings 1.5, 2 and 3 mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, -1, 0], [0, 0, -1], [1, 0, 0]], float) @ np.diag([1.5, 2.0, 3.0])
    affine[:3, 3] = (10, 20, -30)
    return Grid(shape, affine)


def oblique_grid(shape=(20, 24, 28)):
    a = np.deg2rad(25)
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.2, 1.4, 2.0])
    affine[:3, 3] = (-5, 3, 8)
    return Grid(shape, affine)


def ramp(grid, weights=(2.0, -1.0, 0.5)):
    """Values that rise linearly through the world."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)[..., ::-1]
    return (grid.to_world(index.reshape(-1, 3)) @ weights).reshape(grid.shape).astype(np.float32)


@pytest.mark.parametrize("grid", [turned_grid(), oblique_grid(), Grid((20, 24, 28), np.diag([1.0, 1.0, 1.0, 1.0]))])
def test_a_ramp_is_exact_at_every_scale(grid):
    middle = grid.to_world((np.array(grid.shape[::-1])[None] - 1) / 2)[0] + 0.3
    crop = multi_scale_crop(ramp(grid)[None], grid, middle, sizes=(6, 12), n_voxels=8, smooth=False)
    assert crop.shape == (2, 8, 8, 8)
    for number, size in enumerate((6, 12)):
        steps = (np.arange(8) - 3.5) * size / 8
        z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
        expected = (middle[0] + x) * 2 - (middle[1] + y) + 0.5 * (middle[2] + z)
        assert np.allclose(crop[number], expected, atol=1e-3)


@pytest.mark.parametrize("grid", [turned_grid(), oblique_grid()])
def test_it_is_what_simpleitk_resamples(grid):
    values = RNG.normal(size=grid.shape).astype(np.float32)
    centre, size, n = grid.to_world(np.array([[3.2, 5.1, 17.4]]))[0], 14.0, 9
    image = sitk.GetImageFromArray(values)
    spacing = np.linalg.norm(grid.affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection((grid.affine[:3, :3] / spacing).ravel().tolist())
    filter_ = sitk.ResampleImageFilter()
    filter_.SetSize([n] * 3)
    filter_.SetOutputSpacing([size / n] * 3)
    filter_.SetOutputOrigin((centre - (n - 1) / 2 * size / n).tolist())
    filter_.SetDefaultPixelValue(float(values.min()))
    expected = sitk.GetArrayFromImage(filter_.Execute(image))
    (crop,) = multi_scale_crop(values[None], grid, centre, sizes=(size,), n_voxels=n, smooth=False)
    assert (expected == values.min()).any(), "the crop reaches beyond the border"
    assert (expected != values.min()).any()
    assert np.allclose(crop, expected, atol=1e-4)


def test_beyond_the_border_lies_the_lowest_value_of_each_channel():
    grid = Grid((10, 10, 10), np.eye(4))
    image = np.stack([np.full(grid.shape, 5.0), np.full(grid.shape, 7.0)]).astype(np.float32)
    image[0, 9, 9, 9], image[1, 9, 9, 9] = -2, 1
    crop = multi_scale_crop(image, grid, (0, 4.5, 4.5), sizes=(4,), n_voxels=4)
    # x at -1.5, -0.5, 0.5, 1.5: the first lies beyond the outer half of the first voxel
    assert crop[:, 1, 1].tolist() == [[-2, 5, 5, 5], [1, 7, 7, 7]]
    far = multi_scale_crop(image, grid, (100, 100, 100), sizes=(4,), n_voxels=4)
    assert (far[0] == -2).all()


def test_the_order_of_the_axes_changes_nothing():
    grid = turned_grid()
    values = RNG.normal(size=grid.shape).astype(np.float32)
    centre = grid.to_world(np.array([[12.0, 9.0, 8.0]]))[0]
    once = multi_scale_crop(values[None], grid, centre, sizes=(10, 30), n_voxels=8)
    swap = np.eye(4)[[2, 1, 0, 3]]  # the axes x and z exchanged
    other = Grid(values.T.shape, grid.affine @ swap)
    again = multi_scale_crop(values.transpose(2, 1, 0)[None], other, centre, sizes=(10, 30), n_voxels=8)
    assert np.allclose(once, again, atol=1e-4)


def test_a_radiograph_is_cropped_in_pixels():
    image = np.arange(30 * 40, dtype=np.float32).reshape(1, 1, 30, 40)
    crop = multi_scale_crop(image, Grid.projection((30, 40)), (20.5, 10.5, 0), sizes=(4, 8), n_voxels=4, smooth=False)
    assert crop.shape == (2, 4, 4)
    assert np.array_equal(crop[0], image[0, 0, 9:13, 19:23])
    assert np.allclose(crop[1], image[0, 0, 7:15, 17:25].reshape(4, 2, 4, 2).mean(axis=(1, 3)))
    half = Grid((1, 15, 20), np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "px")
    small = image.reshape(1, 1, 15, 2, 20, 2).mean(axis=(3, 5))  # on a working grid of half the pixels
    halved = multi_scale_crop(small, half, (20.5, 10.5, 0), sizes=(8,), n_voxels=4, smooth=False)
    assert np.allclose(halved[0], crop[1])


def test_an_oblique_slice_is_cropped_in_its_plane():
    grid = oblique_grid((1, 24, 28))
    values = RNG.normal(size=grid.shape).astype(np.float32)
    centre = grid.to_world(np.array([[10.0, 12.0, 0.3]]))[0]
    assert crop_grid(grid, centre, size=8, n_voxels=5).shape == (1, 5, 5)
    (crop,) = multi_scale_crop(values[None], grid, centre, sizes=(3 * 1.4,), n_voxels=3, smooth=False)
    assert crop[1, 1] == pytest.approx(values[0, 12, 10], abs=1e-4)
    assert crop[2, 1] == pytest.approx(values[0, 13, 10], abs=1e-4)


def test_what_cannot_be_cropped_is_refused():
    grid = Grid((4, 4, 4), np.eye(4))
    with pytest.raises(GeometryError, match="sizes above 0"):
        multi_scale_crop(np.zeros((1, 4, 4, 4)), grid, (0, 0, 0), sizes=(0,), n_voxels=4)
