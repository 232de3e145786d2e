"""Changes of grey values by rows, against MONAI on the whole."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import AdjustContrast, GaussianSmooth
from row_sources import all_rows, as_rows, put_together

from medseg.data import augmentation_grey
from medseg.data import rows as rows_module
from medseg.data.augmentation_grey import blurred, brightened, curved, noisy
from medseg.data.rows import collect

SHAPES = [(13, 9), (9, 6, 7)]


def image(shape, channels=2):
    return torch.from_numpy(np.random.default_rng(0).normal(2, 3, (channels, *shape)).astype(np.float32))


def test_noise_has_the_stated_deviation_and_no_pattern():
    zeros = torch.zeros(2, 60, 50, 20)
    noise = all_rows(noisy(as_rows(zeros), std=0.3, seed=5)).numpy()
    assert not zeros.any()  # the source is as it was
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert noise.mean() == pytest.approx(0, abs=0.005)
    flat = noise.reshape(2, 60, -1)
    between_rows = np.corrcoef(flat[0])[np.triu_indices(60, 1)]
    assert np.abs(between_rows).max() < 0.2  # 6 standard deviations of 1 / sqrt(1000)
    assert abs(np.corrcoef(flat[0].ravel(), flat[1].ravel())[0, 1]) < 0.02
    assert not np.array_equal(noise, all_rows(noisy(as_rows(zeros), std=0.3, seed=6)).numpy())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("sigma", [0.25, 0.8, 1.7])
def test_blur_is_that_of_monai(shape, sigma):
    whole, sigmas = image(shape), (sigma, 0.5 * sigma, 1.2 * sigma)[: len(shape)]
    assert torch.allclose(all_rows(blurred(as_rows(whole), sigmas)), GaussianSmooth(sigmas)(whole), atol=1e-5)


def test_blur_reads_as_many_rows_more_as_its_kernel_is_long():
    asked = []
    blurred(as_rows(image((40, 5)), asked), (1.0, 1.0)).read(10, 12)
    assert asked == [(6, 16)]  # 4 standard deviations
    blurred(as_rows(image((40, 5)), asked), (1.0, 1.0)).read(38, 40)
    assert asked[-1] == (34, 40)


def test_brightness_by_hand():
    assert all_rows(brightened(as_rows(torch.tensor([[[1.0], [-2]]])), factor=1.5, offset=0.25)).tolist() == [
        [[1.75], [-2.75]]
    ]


@pytest.mark.parametrize("gamma", [0.6, 1.4])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_gamma_curve_is_that_of_monai(shape, gamma):
    whole = image(shape)
    found = all_rows(curved(as_rows(whole), gamma))
    assert torch.allclose(found, AdjustContrast(gamma, retain_stats=True)(whole), atol=1e-4)
    assert float(found.mean()) == pytest.approx(float(whole.mean()), abs=1e-5)
    assert float(found.std()) == pytest.approx(float(whole.std()), abs=1e-5)


def test_a_constant_image_stays_on_the_gamma_curve():
    assert torch.equal(all_rows(curved(as_rows(torch.full((1, 4, 4), 3.0)), 0.7)), torch.full((1, 4, 4), 3.0))


def test_the_gamma_curve_makes_a_whole_of_one_block_once():
    asked = []
    all_rows(curved(as_rows(image((8, 8)), asked), 1.3))
    assert asked == [(0, 8)]


def test_the_gamma_curve_holds_no_more_than_a_block(monkeypatch):
    whole = image((20, 5))
    expected = all_rows(curved(as_rows(whole), 1.3))
    monkeypatch.setattr(rows_module, "BLOCK_VOXELS", 15)  # three rows
    asked = []
    found = collect(curved(as_rows(whole, asked), 1.3), 0, 20)
    assert max(stop - start for start, stop in asked) == 3
    assert torch.allclose(found, expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(SHAPES),
    st.integers(0, 1000),
    st.floats(0.25, 2.5),
    st.lists(st.integers(0, 9), max_size=4),
    st.sampled_from([20, 60, 10_000]),
)
def test_rows_of_any_division_are_the_same(shape, seed, sigma, cuts, voxels):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentation_grey, "NOISE_VOXELS", voxels)
        patch.setattr(rows_module, "BLOCK_VOXELS", voxels)
        rows = brightened(blurred(noisy(as_rows(image(shape)), std=0.5, seed=seed), (sigma,) * len(shape)),
                          factor=0.9, offset=0.3)  # fmt: skip
        expected = all_rows(rows)
        assert torch.equal(put_together(rows, cuts), expected)
        whole = all_rows(curved(rows, 0.3))
        apart = put_together(curved(rows, 0.3), cuts)  # another rank, with statistics of its own
    assert torch.allclose(apart, whole, rtol=0, atol=1e-6 * float(whole.max() - whole.min()))
