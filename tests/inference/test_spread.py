"""Prediction that is spread over slabs or processes: the maps of the network over the whole."""

import mmap

import numpy as np
import pytest
from spread_toys import CASES, CPU, apart

from medseg.inference.blending import Windows
from medseg.inference.spread import _file_of
from medseg.parallel.launch import run_ranks
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.team import Team

TOLERANCE = 1e-5


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("layout", [{"slabs": 2}, {"slabs": 3, "keep": "disk"}], ids=str)
def test_slabs_in_turn_give_the_maps_of_the_whole(name, layout):
    assert apart(Team(LayoutSettings(**layout), CPU), name) < TOLERANCE


@pytest.mark.parametrize("space", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_processes_give_the_maps_of_the_whole(space):
    found = run_ranks("spread_toys:all_apart", {"space": space}, n=space)
    assert found.keys() == CASES.keys()
    assert max(found.values()) < TOLERANCE, found


@pytest.mark.parametrize(("side", "patch"), [(5, 8), (8, 8), (13, 8), (20, 8)])
@pytest.mark.parametrize("flip", [None, -1])
def test_shares_of_all_windows_add_up_to_one(side, patch, flip):
    windows = Windows((side, side), (patch, patch), 0.5)
    total = np.zeros((side + 2 * patch, side + 2 * patch))  # with a border for what lies outside
    for start in windows.starts(flip):
        y, x = (low + patch for low in start)
        for first, n in ((0, 3), (3, patch - 3)):  # as two parts
            share = windows.share(start, first, n, flip)
            total[y + first : y + first + n, x : x + patch] += 1 if share is None else share
    np.testing.assert_allclose(total[patch:-patch, patch:-patch], 1, atol=1e-6)
    assert windows.reach_beyond == (side < patch)


def test_image_is_read_from_its_own_file_but_a_part_of_it_is_not(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3))
    image = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert isinstance(image.base, mmap.mmap)
    assert _file_of(image, tmp_path) == tmp_path / "a.npy"
    for part in (image[:, 1:3], image[:, 1:], np.array(image)):
        path = _file_of(part, tmp_path)
        assert path == tmp_path / "image.npy"
        np.testing.assert_array_equal(np.load(path), part)
