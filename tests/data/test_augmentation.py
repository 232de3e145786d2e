"""What is drawn, how often and how much; and that what is drawn is done, in its order."""

import numpy as np
import pytest
import torch
from row_sources import all_rows, as_rows

from medseg.data.augmentation import Augmentation, Change
from medseg.data.augmentation_geometry import affine_matrix, flipped, moved
from medseg.data.augmentation_grey import blurred, brightened, curved, noisy
from medseg.data.augmentation_resolution import coarsened
from medseg.data.settings import AugmentationSettings

SETTINGS = AugmentationSettings(
    flip_axes=("x", "z"), affine_probability=0.4, intensity_probability=0.3, blur=1.5, gamma=(0.7, 1.5), noise=0.2
)
N = 4000
PATCH = (20, 30, 40)


@pytest.fixture(scope="module")
def drawn():
    augmentation = Augmentation(SETTINGS, PATCH)
    return [augmentation.draw(seed) for seed in range(N)]


def share(flags):
    return np.mean(list(flags))


def about(p):
    return pytest.approx(p, abs=4.5 * np.sqrt(p * (1 - p) / N))


def test_each_change_is_as_frequent_as_stated(drawn):
    assert share(0 in change.flip_axes for change in drawn) == about(0.5)
    assert share(2 in change.flip_axes for change in drawn) == about(0.5)
    assert share(change.flip_axes == (2, 0) for change in drawn) == about(0.25)
    assert not any(1 in change.flip_axes for change in drawn)
    assert share(change.matrix is not None for change in drawn) == about(0.4)
    assert share(change.noise > 0 for change in drawn) == about(0.3)
    assert share(bool(change.blur) for change in drawn) == about(0.15)
    assert share(change.factor != 1 for change in drawn) == about(0.3)
    assert share(change.offset != 0 for change in drawn) == about(0.3)
    assert share(change.gamma != 1 for change in drawn) == about(0.3)
    assert share(change.factor != 1 and change.gamma != 1 for change in drawn) == about(0.09)


def test_each_change_is_as_large_as_stated(drawn):
    """The smallest and the largest of hundreds of uniform draws come near the ends of the range, never beyond."""

    def fills(values, low, high):
        assert low <= np.min(values) <= low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) <= np.max(values) <= high

    fills([change.noise for change in drawn if change.noise], 0, 0.2)
    fills([sigma for change in drawn for sigma in change.blur], 0.25, 1.5)
    fills([change.factor for change in drawn if change.factor != 1], 0.8, 1.2)
    fills([change.offset for change in drawn if change.offset], -0.2, 0.2)
    fills([change.gamma for change in drawn if change.gamma != 1], 0.7, 1.5)
    matrices = np.array([change.matrix for change in drawn if change.matrix is not None])
    fills(matrices[:, 0, 0], 0.85, 1.15)
    fills(matrices[:, 0, 3], -0.05 * 20, 0.05 * 20)
    turns = np.degrees(np.arctan2(matrices[:, 2, 1], matrices[:, 1, 1]))  # the scale of the column cancels
    fills(turns, -15, 15)
    assert not matrices[:, 0, 1:3].any()  # no rotation out of the plane (y, x)


def test_images_of_two_dimensions_have_no_z():
    augmentation = Augmentation(SETTINGS, (30, 40))
    changes = [augmentation.draw(seed) for seed in range(200)]
    assert {change.flip_axes for change in changes} == {(), (1,)}
    assert {change.matrix.shape for change in changes if change.matrix is not None} == {(3, 3)}
    assert {len(change.blur) for change in changes} == {0, 2}


def test_the_same_seed_draws_the_same():
    augmentation = Augmentation(SETTINGS, PATCH)
    for seed in range(50):
        first, second = augmentation.draw(seed), Augmentation(SETTINGS, PATCH).draw(seed)
        for name in Change.__slots__:
            assert np.array_equal(getattr(first, name), getattr(second, name))


def test_nothing_is_drawn_where_nothing_is_asked_for():
    quiet = AugmentationSettings(flip_axes=(), affine_probability=0, intensity_probability=0)
    whole = torch.randn(2, 5, 6)
    for settings in (quiet, AugmentationSettings(enabled=False)):
        change = Augmentation(settings, (5, 6)).draw(3)
        assert torch.equal(all_rows(change.image(as_rows(whole))), whole)
        assert torch.equal(all_rows(change.instances(as_rows(whole))), whole)


def test_a_change_is_done_in_the_order_of_its_parts():
    matrix = affine_matrix(0.3, [1.2, -0.5], [1.1, 0.9])
    change = Change((0, 1), matrix, noise=0.1, noise_seed=7, blur=(0.8, 0.6), factor=1.1, offset=-0.1, gamma=1.3)
    whole, numbers = torch.randn(1, 16, 12), torch.randint(0, 4, (1, 16, 12), dtype=torch.int16)
    turned = moved(flipped(as_rows(whole), (0, 1)), matrix, nearest=False)
    expected = blurred(noisy(turned, std=0.1, seed=7), (0.8, 0.6))
    expected = curved(brightened(expected, factor=1.1, offset=-0.1), 1.3)
    assert torch.equal(all_rows(change.image(as_rows(whole))), all_rows(expected))
    places = moved(flipped(as_rows(numbers), (0, 1)), matrix, nearest=True)
    assert torch.equal(all_rows(change.instances(as_rows(numbers))), all_rows(places))


def test_lesions_move_with_the_image():
    """A smooth bump and its mask stay together under every change of place."""
    y, x = np.mgrid[:64, :64]
    bump = torch.from_numpy(np.exp(-((y - 25) ** 2 + (x - 38) ** 2) / 50).astype(np.float32))[None]
    mask = (bump > 0.5).to(torch.int16)
    settings = AugmentationSettings(flip_axes=("y", "x"), affine_probability=1, rotation_degrees=40, scale=0.3,
                                    intensity_probability=0)  # fmt: skip
    augmentation = Augmentation(settings, (64, 64))
    for seed in range(20):
        change = augmentation.draw(seed)
        image, lesion = all_rows(change.image(as_rows(bump))), all_rows(change.instances(as_rows(mask)))
        assert ((image > 0.5) != (lesion == 1)).float().mean() < 0.02
        assert (lesion == 1).sum() > 30


MORE = {"low_resolution": 0.5, "inverted_gamma_probability": 0.1, "rotation_degrees_other": 30}


def test_further_changes_are_as_frequent_and_as_large_as_stated():
    augmentation = Augmentation(SETTINGS.model_copy(update=MORE), PATCH)
    changes = [augmentation.draw(seed) for seed in range(N)]
    coarse = [change.resolution for change in changes if change.resolution < 1]
    assert len(coarse) / N == about(0.15)
    assert 0.5 <= min(coarse) < 0.53
    assert 0.97 < max(coarse) < 1
    inverted = [change.inverted_gamma for change in changes if change.inverted_gamma != 1]
    assert len(inverted) / N == about(0.1)
    assert 0.7 <= min(inverted) < 0.75
    assert 1.45 < max(inverted) <= 1.5
    matrices = np.array([change.matrix for change in changes if change.matrix is not None])
    lean = np.degrees(np.arccos(matrices[:, 0, 0] / np.linalg.norm(matrices[:, :3, 0], axis=1)))  # of the z axis
    assert 30 < lean.max() < 42  # both: the cosines multiply


def test_further_changes_leave_the_others_what_they_were():
    """What is switched off draws nothing, and what is switched on draws last (the rotation aside)."""
    off, on = (Augmentation(SETTINGS.model_copy(update=more), (30, 40)) for more in ({}, MORE))
    for seed in range(200):
        first, second = off.draw(seed), on.draw(seed)
        assert first.resolution == first.inverted_gamma == 1
        for name in set(Change.__slots__) - {"resolution", "inverted_gamma"}:
            assert np.array_equal(getattr(first, name), getattr(second, name))


def test_further_changes_come_before_the_gamma_curve():
    whole = torch.randn(1, 16, 12)
    change = Change(factor=1.2, gamma=1.3, resolution=0.6, inverted_gamma=0.8)
    coarse = all_rows(coarsened(brightened(as_rows(whole), factor=1.2, offset=0), 0.6))
    inverted = -all_rows(curved(as_rows(-coarse), 0.8))
    assert torch.equal(all_rows(change.image(as_rows(whole))), all_rows(curved(as_rows(inverted), 1.3)))
