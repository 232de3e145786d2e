"""Samples of hard negatives: as often as stated, where they are, and the same by rows."""

import numpy as np
import pytest
from sample_cases import CASES, PATCHES, case, samples_of

from medseg.data.hard_negatives import pick_hard_negative
from medseg.data.settings import AugmentationSettings

OFF = AugmentationSettings(enabled=False)


def test_the_share_and_the_weights_are_those_stated():
    """Scores 0.9 and 0.3: three to one."""
    found = [pick_hard_negative([("a", 0, 1, 2, 0.9), ("b", 0, 3, 4, 0.3)], 0.4, 7, index) for index in range(4000)]
    picked = [one[0] for one in found if one is not None]
    assert len(picked) / 4000 == pytest.approx(0.4, abs=0.035)
    assert picked.count("a") / len(picked) == pytest.approx(0.75, abs=0.05)
    assert found == [
        pick_hard_negative([("a", 0, 1, 2, 0.9), ("b", 0, 3, 4, 0.3)], 0.4, 7, index) for index in range(4000)
    ]
    assert pick_hard_negative([], 0.4, 7, 0) is None


def test_patches_lie_on_them():
    large = case("c", (1, 400, 400), channels=1, lesions=0)
    large.image[:] = 0
    large.image[0, 0, 300, 250] = 1
    samples = samples_of([large], patch=(24, 24), augmentation=OFF, hard_negative_fraction=0.5)
    before = [samples[index] for index in range(300)]
    assert not any(image.any() for image, _ in before)
    samples.hard_negatives = [("c", 0, 300, 250, 0.8)]
    hits = [image.any() for image, _ in (samples[index] for index in range(300))]
    assert np.mean(hits) == pytest.approx(0.5, abs=0.13)
    for index in np.flatnonzero(~np.array(hits)):  # the others are what they were
        assert np.array_equal(samples[int(index)][0], before[index][0])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_rows_are_those_of_the_whole(dimensions):
    cases, patch = CASES[dimensions], PATCHES[dimensions]
    first, second = (samples_of(cases, patch=patch, hard_negative_fraction=1.0) for _ in range(2))
    for samples in (first, second):
        samples.hard_negatives = [("c", 0, 9, 11, 0.4), ("cc", 0, 5, 3, 0.7)]
    for index in range(10):
        image, target = first[index]
        parts = [second.rows(index, a, b) for a, b in ((0, 2), (2, 2), (2, patch[0]))]
        assert np.array_equal(np.concatenate([part[1] for part in parts], axis=1), target)
        assert np.abs(np.concatenate([part[0] for part in parts], axis=1) - image).max() <= 1e-6 * np.ptp(image)


def test_of_whole_images_cases_with_high_scores_come_more_often():
    cases = [case(name, (1, 20, 18), channels=1, lesions=0) for name in ("a", "bb", "ccc")]
    for value, own in enumerate(cases):
        own.image[:] = value
    samples = samples_of(cases, patch=(20, 18), augmentation=OFF, hard_negative_fraction=0.9)
    samples.hard_negatives = [("ccc", 0, 2, 2, 0.9), ("bb", 0, 9, 9, 0.1)]
    drawn = np.array([samples[index][0][0, 0, 0] for index in range(600)])
    assert np.mean(drawn == 2) == pytest.approx(0.9 * 0.9 + 0.1 / 3, abs=0.06)
    assert np.mean(drawn == 1) == pytest.approx(0.9 * 0.1 + 0.1 / 3, abs=0.05)
