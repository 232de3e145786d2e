"""The spacing that volumes are resampled to, counted by hand."""

import pytest

from medseg.planning.spacing import target_spacing

THIN = (20, 100, 100)


def test_median_of_each_axis():
    spacing, reason = target_spacing([(1, 0.5, 0.6), (2, 0.7, 0.8), (3, 0.6, 0.7)], [(50, 60, 60)] * 3)
    assert spacing == pytest.approx((2, 0.6, 0.7))
    assert reason == "median of 3 training images"


def test_coarse_axis_with_few_voxels_takes_its_tenth_percentile():
    spacings = [(z, 0.7, 0.7) for z in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)]  # the second of eleven: exactly 10 %
    spacing, reason = target_spacing(spacings, [THIN] * 11)
    assert spacing == pytest.approx((4, 0.7, 0.7))
    assert "z is coarse (median 8 mm against 0.7 mm)" in reason
    assert "median 20 against 100" in reason


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_any_axis_may_be_the_coarse_one(axis):
    spacings, shape = [[1.0, 1.0, 1.0] for _ in range(11)], [100, 100, 100]
    for number, spacing in enumerate(spacings):
        spacing[axis] = 4.0 + number
    shape[axis] = 20
    found = target_spacing([tuple(s) for s in spacings], [tuple(shape)] * 11)[0]
    assert found == pytest.approx(tuple(5.0 if a == axis else 1.0 for a in range(3)))


@pytest.mark.parametrize(
    ("spacings", "shape"),
    [
        ([(3.0, 1, 1)] * 9 + [(1.0, 1, 1)] * 2, THIN),  # exactly 3 times is not more
        ([(5.0, 1, 1)] * 9 + [(1.0, 1, 1)] * 2, (34, 100, 100)),  # a third of the voxels or more
        ([(5.0, 1, 1)] * 9 + [(1.0, 1, 1)] * 2, (30, 100, 90)),  # exactly a third of one of the others
    ],
)
def test_both_conditions_are_needed(spacings, shape):
    spacing, reason = target_spacing(spacings, [shape] * 11)
    assert spacing == (spacings[0][0], 1, 1)
    assert "coarse" not in reason


def test_coarse_axis_gets_no_finer_than_the_others():
    spacings = [(5.0, 1, 1)] * 9 + [(0.5, 1, 1)] * 4
    assert target_spacing(spacings, [THIN] * 13)[0] == (1, 1, 1)


def test_no_image_is_refused():
    with pytest.raises(ValueError, match="without images"):
        target_spacing([], [])
