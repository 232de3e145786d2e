"""Mirroring and the affine map by rows, against MONAI and NumPy on the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Affine
from monai.transforms.utils import create_rotate
from row_sources import all_rows, as_rows, put_together

from medseg.data import augmentation_geometry
from medseg.data.augmentation_geometry import affine_matrix, flipped, moved

SHAPES = [(11, 9), (6, 13), (7, 6, 9)]


def image(shape, channels=2, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(channels, *shape)).astype(np.float32))


def numbers(shape):
    return torch.from_numpy(np.random.default_rng(1).integers(0, 9, (1, *shape)).astype(np.int16))


@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1), (0, 1, 2)])
def test_mirrored_rows_are_those_of_the_mirrored_whole(axes):
    whole = image((5, 4, 3))
    expected = torch.from_numpy(np.flip(whole.numpy(), [axis + 1 for axis in axes]).copy())
    rows = flipped(as_rows(whole), axes)
    assert torch.equal(all_rows(rows), expected)
    assert torch.equal(put_together(rows, [1, 1, 3]), expected)


@pytest.mark.parametrize(("shape", "others"), [*((shape, (0.0, 0.0)) for shape in SHAPES), (SHAPES[-1], (0.3, -0.5))])
def test_the_affine_map_is_that_of_monai(shape, others):
    n = len(shape)
    turn, shifts, scales = 0.4, [1.3, -0.7, 0.6][:n], [1.2, 0.9, 1.1][:n]
    whole = image(shape)
    angles = (turn, *others) if n == 3 else (turn,)
    reference = Affine(rotate_params=angles, translate_params=shifts, scale_params=scales, padding_mode="border",
                       image_only=True)  # fmt: skip
    found = all_rows(moved(as_rows(whole), affine_matrix(turn, shifts, scales, others), nearest=False))
    assert np.allclose(found, np.asarray(reference(whole)), atol=1e-4)  # its grid is float32
    assert affine_matrix(turn, [0] * n, [1] * n, others) == pytest.approx(create_rotate(n, angles))


def test_a_shift_of_one_row_by_hand():
    whole = torch.tensor([[[1.0, 2], [3, 4], [5, 6]]])
    for nearest in (False, True):
        rows = moved(as_rows(whole), affine_matrix(0.0, [1, 0], [1, 1]), nearest=nearest)
        assert all_rows(rows).tolist() == [[[3, 4], [5, 6], [5, 6]]]  # beyond the edge: the edge


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.floats(-3.2, 3.2),
    st.lists(st.floats(-20, 20), min_size=3, max_size=3),
    st.lists(st.floats(0.2, 3), min_size=3, max_size=3),
    st.lists(st.integers(0, 6), max_size=4),
)
def test_rows_of_any_division_are_the_same_bit_for_bit(shape, turn, shifts, scales, cuts):
    matrix = affine_matrix(turn, shifts[: len(shape)], scales[: len(shape)], (0.3 * turn, -0.2 * turn))
    for whole, nearest in ((image(shape), False), (numbers(shape), True)):
        rows = moved(as_rows(whole), matrix, nearest=nearest)
        expected = all_rows(rows)
        assert expected.dtype == whole.dtype
        assert torch.equal(put_together(rows, cuts), expected)


def test_larger_requests_are_mapped_piece_by_piece(monkeypatch):
    whole = image((30, 8, 8))
    matrix = affine_matrix(0.2, [0.4, 0, 0], [1, 1, 1])
    expected = all_rows(moved(as_rows(whole), matrix, nearest=False))
    monkeypatch.setattr(augmentation_geometry, "GRID_VOXELS", 4 * 64)
    asked = []
    assert torch.equal(all_rows(moved(as_rows(whole, asked), matrix, nearest=False)), expected)
    assert len(asked) == 8
    assert max(stop - start for start, stop in asked) == 5  # four rows and the next, as the shift is a part of a voxel


def test_only_rows_that_are_sampled_are_read():
    asked = []
    rows = moved(as_rows(image((40, 4, 4)), asked), affine_matrix(0.5, [2.5, 0, 0], [1, 1, 1]), nearest=False)
    rows.read(10, 12)  # from 12.5 and 13.5
    assert asked == [(12, 15)]
    rows.read(39, 40)  # beyond the edge
    assert asked[-1] == (39, 40)
