"""Components of masks: which stay, and the choice on out-of-fold cases; counted by hand."""

import numpy as np
import pytest

from medseg.detectors.mask_components import kept_components, lower_components
from medseg.experiment.postprocessing import choose_postprocessing, mask_components


def case(patient, *, false_voxels):
    """A lesion of 4 x 4 found whole, and a false component of so many voxels in a row."""
    probability, reference = np.zeros((1, 8, 32), np.float32), np.zeros((1, 8, 32), int)
    probability[0, :4, :4], reference[0, :4, :4] = 0.9, 1
    probability[0, 6, 0:false_voxels] = 0.8
    return mask_components(probability, reference, patient)


def test_components_are_counted():
    counted = case("a", false_voxels=5)
    assert counted.reference == 16
    assert counted.sizes[0.5].tolist() == [16, 5]
    assert counted.overlaps[0.5].tolist() == [16, 0]
    assert counted.sizes[0.85].tolist() == [16]
    assert counted.dice(0.5) == pytest.approx(32 / 37)
    assert counted.dice(0.5, mask_min_voxels=10) == counted.dice(0.5, mask_largest=True) == 1.0
    assert counted.dice(0.5, mask_min_voxels=30) == 0.0


def test_only_what_improves_beyond_chance_is_chosen():
    small = [case(str(number), false_voxels=4 + number) for number in range(4)]
    chosen = choose_postprocessing(small, 0.5)
    assert chosen["detector"] == {"mask_min_voxels": 10}
    assert chosen["before"] == pytest.approx(np.mean([32 / (36 + number) for number in range(4)]))
    assert choose_postprocessing([case(str(n), false_voxels=20) for n in range(4)], 0.5)["detector"] == {}
    none = [case(str(number), false_voxels=0) for number in range(4)]
    assert choose_postprocessing(none, 0.5)["detector"] == {}
    one_of_four = [case("0", false_voxels=5), *none[1:]]  # a quarter of the gain, and a standard error as large
    assert choose_postprocessing(one_of_four, 0.5)["detector"] == {}
    assert choose_postprocessing(small[:1], 0.5)["detector"] == {}
    assert choose_postprocessing([], 0.5)["detector"] == {}


def test_the_largest_is_one_and_there_need_be_none():
    assert kept_components(np.array([3, 7, 7]), min_voxels=0, largest_only=True).tolist() == [False, True, False]
    assert kept_components(np.array([], int), min_voxels=0, largest_only=True).tolist() == []


def test_what_leaves_the_mask_stays_just_below_its_threshold():
    maps = np.zeros((2, 1, 4, 8), np.float32)
    maps[0, 0, 0, 0:3], maps[1, 0, 0, 3] = 0.9, 0.7  # one component over two classes
    maps[0, 0, 3, 7], maps[1, 0, 3, 7] = 0.8, 0.1
    before = maps.copy()
    cleaned = lower_components(maps, threshold=0.5, min_voxels=2, largest_only=False)
    np.testing.assert_array_equal(maps, before)
    assert cleaned.dtype == np.float32
    assert (cleaned >= 0.5).sum() == 4
    assert 0.4999 < cleaned[0, 0, 3, 7] < 0.5
    assert cleaned[1, 0, 3, 7] == np.float32(0.1)
    assert lower_components(maps, threshold=0.5, min_voxels=1, largest_only=False) is maps
