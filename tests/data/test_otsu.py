"""Otsu's threshold against SimpleITK's, and on values whose answer is known."""

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.data.otsu import otsu_threshold

RANDOM = np.random.default_rng(3)
BODY = np.concatenate([RANDOM.rayleigh(10, 6000), RANDOM.normal(300, 60, 4000)]).astype(np.float32)


@pytest.mark.parametrize("n_parts", [1, 7])
def test_splits_noise_from_body_as_simpleitk_does(n_parts):
    values = np.clip(BODY, *np.percentile(BODY, [0.1, 99.9]))
    image = sitk.OtsuThresholdImageFilter()
    image.SetNumberOfHistogramBins(256)
    image.Execute(sitk.GetImageFromArray(values[None]))
    found = otsu_threshold(lambda: np.array_split(BODY, n_parts))
    inside = found < BODY
    assert abs(np.mean(inside != (values > image.GetThreshold()))) < 0.002
    assert inside.mean() == pytest.approx(0.4, abs=0.01)


def test_a_gap_is_split_in_its_middle():
    assert otsu_threshold(lambda: [np.float32([0, 0, 0, 10, 10])]) == pytest.approx(5, abs=0.05)


def test_few_bright_voxels_do_not_hide_the_body():
    spiked = np.concatenate([BODY, np.float32([1e6] * 5)])
    assert np.mean(spiked > otsu_threshold(lambda: [spiked])) == pytest.approx(0.4, abs=0.01)


def test_an_image_of_one_value():
    assert otsu_threshold(lambda: [np.full(9, 4, np.float32)]) == 4
