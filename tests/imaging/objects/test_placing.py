import itertools

import numpy as np
import pytest
from dicom_sources import ct_series, make_grid
from segmentations import build, random_mask, world_points

from medseg.errors import GeometryError
from medseg.imaging.objects.read_segmentation import read_segmentation
from medseg.volume import Grid


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_frames_are_placed_on_images_of_any_axis_order(order, saved):
    grid = make_grid("oblique", (4, 6, 5))
    mask = random_mask(grid.shape)
    found = read_segmentation(saved(build(mask, grid, ct_series(grid))))
    for flips in itertools.product((False, True), repeat=3):
        array, affine = mask.transpose(order), np.array(grid.affine)
        affine[:3, :3] = affine[:3, :3][:, [2 - order[2 - axis] for axis in range(3)]]
        for axis, flip in enumerate(flips):  # x, y, z
            if flip:
                array = np.flip(array, 2 - axis)
                affine[:3, 3] += affine[:3, axis] * (array.shape[2 - axis] - 1)
                affine[:3, axis] *= -1
        target = Grid(array.shape, affine)
        assert world_points(array, target) == world_points(mask, grid)  # the test itself
        np.testing.assert_array_equal(found.labels(grid=target)[0], array)


def test_larger_and_smaller_images(saved):
    grid = make_grid()
    mask = np.zeros(grid.shape, np.uint8)
    mask[1:4, 3:6, 3:6] = 1
    found = read_segmentation(saved(build(mask, grid, ct_series(grid))))
    larger = np.array(grid.affine)
    larger[:3, 3] -= larger[:3, :3] @ [2, 1, 3]
    array, _ = found.mask(grid=Grid((10, 16, 14), larger))
    np.testing.assert_array_equal(array[3:8, 1:13, 2:11], mask)
    assert array.sum() == mask.sum()
    smaller = np.array(grid.affine)
    smaller[:3, 3] += smaller[:3, :3] @ [3, 3, 1]
    array, _ = found.mask(grid=Grid((3, 3, 3), smaller))
    assert array.all()
    with pytest.raises(GeometryError, match=r"9 voxels of its frame \d lie off the image"):
        found.mask(grid=Grid((2, 3, 3), smaller))


@pytest.mark.parametrize(("change", "reason"), [
    ([0.3, 0, 0], "up to 0.30, 0.00, 0.00 voxels"), ([0, 0, 0.4], "0.40 voxels"),
    ([0, 0.2, 0], "0.00, 0.20, 0.00 voxels"),
])  # fmt: skip
def test_shifted_images_are_refused(change, reason, saved):
    grid = make_grid()
    found = read_segmentation(saved(build(random_mask(grid.shape), grid, ct_series(grid))))
    shifted = np.array(grid.affine)
    shifted[:3, 3] += shifted[:3, :3] @ change
    with pytest.raises(GeometryError, match=reason):
        found.mask(grid=Grid(grid.shape, shifted))


def test_turned_and_rescaled_images_are_refused(saved):
    grid = make_grid()
    found = read_segmentation(saved(build(random_mask(grid.shape), grid, ct_series(grid))))
    with pytest.raises(GeometryError, match="degrees"):
        found.mask(grid=make_grid("oblique"))
    scaled = np.array(grid.affine)
    scaled[:3, 0] *= 1.02  # drifts by 0.16 voxels over 9 columns
    with pytest.raises(GeometryError, match="off the image's grid"):
        found.mask(grid=Grid(grid.shape, scaled))
    with pytest.raises(GeometryError, match="projection"):
        found.mask(grid=Grid.projection((12, 9)))


def test_positions_rounded_to_a_tenth_are_read(saved):
    grid = make_grid("oblique", (20, 8, 8), spacing=(0.625, 0.7, 0.7))
    mask = random_mask(grid.shape)
    dataset = build(mask, grid, ct_series(grid))
    for group in dataset.PerFrameFunctionalGroupsSequence:
        position = group.PlanePositionSequence[0]
        position.ImagePositionPatient = [round(float(value), 1) for value in position.ImagePositionPatient]
    found = read_segmentation(saved(dataset))
    np.testing.assert_array_equal(found.labels(grid=grid)[0], mask)
    array, where = found.labels()
    assert array.sum() == mask.sum()
    np.testing.assert_allclose(where.spacing, grid.spacing, rtol=0.02)


@pytest.mark.parametrize(("shift", "sheared"), [(0.004, False), (0.6, True)])
def test_slices_shifted_sideways(shift, sheared, saved):
    grid = make_grid("oblique", (6, 8, 8))
    affine = np.array(grid.affine)
    affine[:3, 2] += affine[:3, 0] * shift
    tilted = Grid(grid.shape, affine)
    mask = random_mask(grid.shape)
    found = read_segmentation(saved(build(mask, tilted, ct_series(grid))))
    np.testing.assert_array_equal(found.labels(grid=tilted)[0], mask)
    array, where = found.labels()
    assert bool(abs(where.affine[:3, 0] @ where.affine[:3, 2]) > 1e-6) == sheared
    if sheared:
        assert world_points(array, where) == world_points(mask, tilted)
    else:
        assert array.sum() == mask.sum()


def test_irregular_frames_need_the_image(saved):
    grid = make_grid(shape=(6, 4, 4))
    dataset = build(np.ones(grid.shape, np.uint8), grid, ct_series(grid))
    frame = dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0]
    frame.ImagePositionPatient[2] += 1.0
    with pytest.raises(GeometryError, match="irregular distances"):
        read_segmentation(saved(dataset)).mask()


def test_one_slice_without_thickness_needs_the_image(saved):
    grid = make_grid(shape=(1, 6, 6))
    dataset = build(np.ones(grid.shape, np.uint8), grid, ct_series(grid))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SliceThickness, measures.SpacingBetweenSlices
    found = read_segmentation(saved(dataset))
    assert found.mask(grid=grid)[0].all()
    with pytest.raises(GeometryError, match="no thickness"):
        found.mask()


def test_gaps_are_empty_even_where_the_distance_is_not_stated(saved):
    grid = make_grid(shape=(8, 4, 4))
    mask = np.zeros(grid.shape, np.uint8)
    mask[[1, 2, 6]] = 1
    dataset = build(mask, grid, ct_series(grid))
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SliceThickness, measures.SpacingBetweenSlices
    array, where = read_segmentation(saved(dataset)).mask()
    np.testing.assert_array_equal(array, mask[1:7])
    np.testing.assert_allclose(where.affine[:3, 3], grid.to_world(np.array([[0, 0, 1]]))[0], atol=1e-9)
