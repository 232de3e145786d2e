"""Placement of slices, counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from medseg.imaging.dicom.geometry import Placement, Problem, place
from medseg.imaging.dicom.instance import Frame
from medseg.imaging.dicom.straighten import straighten

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def frame(z, *, x=0.0, y=0.0, orientation=AXIAL, spacing=(0.8, 0.5), thickness=2.0, position=True):
    where = (float(x), float(y), float(z)) if position else None
    return Frame(Path(f"{z}"), 0, str(z), where, orientation, spacing, thickness, (1.0, 0.0), ())


def problem_of(frames):
    found = place(frames)
    return found if isinstance(found, Problem) else found.problem


def test_slices_are_sorted_by_position():
    placed = place([frame(4), frame(0), frame(2)])
    assert placed.order.tolist() == [1, 2, 0]
    assert placed.problem is None
    assert placed.step == pytest.approx(2.0)
    # PixelSpacing is (between rows, between columns): 0.8 along y, 0.5 along x
    assert np.allclose(np.diag(placed.affine), [0.5, 0.8, 2.0, 1.0])


def test_normal_that_points_down_keeps_the_world():
    flipped = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # normal is -z
    placed = place([frame(z, orientation=flipped) for z in (0, 2, 4)])
    assert placed.order.tolist() == [2, 1, 0]
    assert np.allclose(placed.affine[:3, 3], [0, 0, 4])
    assert np.allclose(placed.affine[:3, 2], [0, 0, -2])


@pytest.mark.parametrize(
    ("places", "code", "words"),
    [
        ((0, 2, 6, 8), "missing_slices", "1 slice(s) missing: gaps of 4.00 mm after 2.00 mm"),
        ((0, 2, 4, 10, 12), "missing_slices", "2 slice(s) missing"),
        ((0, 2, 3, 5, 7), "irregular_slices", "1.00 mm after 2.00 mm"),
        ((0, 2, 2, 4), "doubled_slices", "1 doubled slice position(s), at 2.00 mm"),
        ((0, 3), "too_few_slices", "nothing confirms their distance of 3.00 mm"),
    ],
)
def test_what_is_wrong_is_named_with_places(places, code, words):
    problem = problem_of([frame(z) for z in places])
    assert problem.code == code
    assert words in problem.message


def test_two_slices_are_enough_where_the_thickness_confirms_them():
    assert problem_of([frame(0), frame(2)]) is None


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(0), frame(2), frame(4, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))], "mixed_orientation"),
        ([frame(0), frame(2), frame(4, spacing=(0.8, 0.8))], "mixed_spacing"),
        ([frame(z, spacing=(0.0, 0.5)) for z in (0, 2, 4)], "bad_spacing"),
        ([frame(z, orientation=(1.0, 0.0, 0.0, 1.0, 0.0, 0.0)) for z in (0, 2, 4)], "bad_orientation"),
        ([frame(0), frame(2), frame(4, position=False)], "no_position"),
        ([frame(0, thickness=None)], "no_thickness"),
    ],
)
def test_no_common_plane_no_volume(frames, code):
    assert problem_of(frames).code == code


def test_positions_rounded_to_a_tenth_are_regular():
    exact = np.arange(20) * 0.625
    placed = place([frame(round(z, 1)) for z in exact])
    assert placed.problem is None
    assert [note.code for note in placed.notes] == ["rounded_positions"]
    assert placed.step == pytest.approx(0.625, abs=0.01)


def test_tilt_is_measured():
    # each slice lies 1 mm further along y for 2 mm along z: arctan(1 / 2)
    placed = place([frame(z, y=z / 2) for z in (0, 2, 4, 6)])
    assert placed.problem is None
    assert placed.tilt_degrees == pytest.approx(np.degrees(np.arctan(0.5)))


def test_a_drift_below_half_a_pixel_is_put_in_line():
    placed = place([frame(z, x=z * 0.01) for z in (0, 2, 4, 6)])  # 0.06 mm over the volume, pixels of 0.5 mm
    assert placed.tilt_degrees == 0
    assert placed.affine[0, 3] == pytest.approx(0.03)


def test_straightened_tilt_keeps_every_value_where_it_was():
    # the value of a pixel is its world coordinate y, which a shift by whole pixels must keep exactly
    frames = [frame(z, y=z * 0.8) for z in range(0, 10, 2)]  # 1.6 mm = 2 pixels a slice
    placed = place(frames)
    y = np.arange(6)[:, None] * 0.8 + np.zeros((1, 4))
    slices = [np.float32(y + 0.8 * z) for z in range(0, 10, 2)]
    straight = straighten(slices, placed)
    assert straight.array.shape == (5, 6 + 8, 4)
    assert [note.code for note in straight.notes] == ["tilt_resampled"]
    for k in range(5):
        inside = straight.array[k, 2 * k : 2 * k + 6]
        world = straight.grid.to_world(np.array([[0, 2 * k + row, k] for row in range(6)]))[:, 1]
        assert np.allclose(inside[:, 0], world, atol=1e-5)
    assert straight.array[0, 10, 0] == straight.array.min()


def test_missing_slice_is_interpolated_when_asked():
    placed = place([frame(z) for z in (0, 2, 6, 8)])
    assert isinstance(placed, Placement)
    slices = [np.full((3, 4), value, dtype=np.float32) for value in (10, 20, 40, 50)]
    straight = straighten(slices, placed)
    assert straight.array[:, 0, 0].tolist() == [10, 20, 30, 40, 50]
    assert straight.grid.spacing[0] == pytest.approx(2.0)
    assert [note.code for note in straight.notes] == ["irregular_resampled"]
