"""Cutting patches, and where lesions are, against plain NumPy on the whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.data import patches
from medseg.data.patches import count_lesion_voxels, crop_or_pad, lesion_boxes, pick_lesion_voxel


def scene():
    """Three lesions of 6, 2 and 0 voxels, the first crossing rows."""
    instances = np.zeros((4, 3, 5), np.int16)
    instances[0:3, 1, 1:3] = 1
    instances[3, 0, 3:5] = 3
    return instances


@given(st.lists(st.integers(-9, 9), min_size=3, max_size=3), st.lists(st.integers(0, 9), min_size=3, max_size=3))
def test_a_patch_is_cut_from_the_padded_whole(start, size):
    array = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    outside = np.array([7.0, -7.0], np.float32)
    wide = np.stack([np.pad(channel, 20, constant_values=value) for channel, value in zip(array, outside)])
    expected = wide[(slice(None), *(slice(20 + s, 20 + s + n) for s, n in zip(start, size)))]
    found = crop_or_pad(array, start, size, outside=outside)
    assert np.array_equal(found, expected)
    assert not np.shares_memory(found, array)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_lesion_voxels_are_counted_and_picked_as_from_the_whole(at_once, monkeypatch):
    monkeypatch.setattr(patches, "COUNTED_VOXELS", at_once)
    instances = scene()
    counts = count_lesion_voxels(instances)
    assert {n: counts[counts[:, 1] == n][:, 2].sum() for n in (1, 2, 3)} == {1: 6, 2: 0, 3: 2}
    for seed in range(30):
        random = np.random.default_rng(seed)
        where = np.argwhere(instances == random.choice([1, 3]))
        expected = tuple(where[random.integers(len(where))])
        assert pick_lesion_voxel(instances, counts, np.random.default_rng(seed)) == expected


def test_each_lesion_is_picked_alike_whatever_its_size():
    instances = scene()
    counts, random = count_lesion_voxels(instances), np.random.default_rng(0)
    picked = [instances[pick_lesion_voxel(instances, counts, random)] for _ in range(400)]
    assert picked.count(1) == pytest.approx(200, abs=45)  # 4.5 standard deviations
    assert picked.count(3) == 400 - picked.count(1)


def test_no_lesion_no_voxel():
    empty = np.zeros((2, 3, 4), np.int16)
    assert pick_lesion_voxel(empty, count_lesion_voxels(empty), np.random.default_rng(0)) is None


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_boxes_of_blocks_are_those_of_the_whole(step):
    instances = scene()
    boxes = lesion_boxes(((first, instances[first : first + step]) for first in range(0, 4, step)), 3)
    assert boxes.tolist() == [[[0, 3], [1, 2], [1, 3]], [[0, 0]] * 3, [[3, 4], [0, 1], [3, 5]]]
    assert lesion_boxes([(0, instances * 0)], 0).shape == (0, 3, 2)
