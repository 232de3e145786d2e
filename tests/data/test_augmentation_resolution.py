"""Simulated low resolution by rows, against torch on the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from row_sources import all_rows, as_rows, put_together
from torch.nn import functional

from medseg.data.augmentation_resolution import coarsened


def image(shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32))


@pytest.mark.parametrize("shape", [(24, 31), (13, 20, 17)])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.77, 0.999])
def test_it_is_torchs_nearest_down_and_linear_up(shape, share):
    whole = image(shape)
    size = [max(1, round(side * share)) for side in shape]
    small = functional.interpolate(whole[None], size=size, mode="nearest")
    up = functional.interpolate(small, size=shape, mode="bilinear" if len(shape) == 2 else "trilinear")[0]
    assert torch.allclose(all_rows(coarsened(as_rows(whole), share)), up, atol=1e-5)


def test_half_resolution_by_hand():
    """Of 0 4 8 12 the first and third are kept; a quarter of the way between their areas: 0, 2, 6, 8."""
    line = torch.tensor([0.0, 4, 8, 12]).reshape(1, 4, 1)
    assert all_rows(coarsened(as_rows(line), 0.5)).flatten().tolist() == [0, 2, 6, 8]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(11, 9), (7, 6, 9)]),
    st.floats(0.05, 1),
    st.lists(st.integers(0, 7), max_size=4),
)
def test_rows_of_any_division_are_the_same_bit_for_bit(shape, share, cuts):
    whole = image(shape)
    assert torch.equal(put_together(coarsened(as_rows(whole), share), cuts), all_rows(coarsened(as_rows(whole), share)))


def test_only_the_rows_in_between_are_read():
    asked = []
    coarsened(as_rows(image((100, 4)), asked), 0.5).read(40, 50)
    assert asked == [(38, 51)]
