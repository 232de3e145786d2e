"""Phases that a case lacks: refused or zero, learnt by taking channels away, and phases that lie elsewhere."""

import numpy as np
import pytest
from scipy import ndimage

from medseg.data.augmentation import Augmentation, Change
from medseg.data.cache import CachedCase
from medseg.data.channel_settings import ChannelRule, fallback_of, with_fallbacks
from medseg.data.preprocess import prepare_image
from medseg.data.samples import TrainingSamples
from medseg.data.settings import AugmentationSettings, InputSettings, SamplingSettings
from medseg.data.slab_channels import open_images
from medseg.data.slabs import prepare_slabs
from medseg.data.stacking import read_channels, stack_as_asked, stack_channels
from medseg.errors import ImageError
from medseg.imaging import write_volume
from medseg.volume import Grid, Volume

PHASES = ("native", "arterial", "portal", "late")
RULES = tuple(ChannelRule(name=name, description=name) for name in PHASES)
SILENT = {"affine_probability": 0, "intensity_probability": 0, "flip_axes": ()}
N = 4000


def grid_of(shape, spacing, start=(0.0, 0.0, 0.0)):
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = start
    return Grid(shape, affine)


def phase(seed=0, shape=(6, 10, 12)):
    values = np.random.default_rng(seed).uniform(50, 150, (1, *shape)).astype(np.float32)
    return Volume(values, grid_of(shape, (2, 1, 1)), modality="MR")


@pytest.mark.parametrize("rules", [(), RULES])
def test_a_missing_phase_is_refused_or_zero_after_normalisation(rules):
    volumes = [phase(0), None, phase(2), None]
    settings = InputSettings(dimensions=3, channels=4, series=rules)
    with pytest.raises(ImageError, match="missing and the pipeline states no fallback"):
        stack_as_asked(volumes, "a", settings)
    zero = settings.model_copy(update={"missing_channel": "zero"})
    prepared = prepare_image(stack_as_asked(volumes, "a", zero), zero, spacing=None)
    assert [bool(channel.any()) for channel in prepared.image] == [True, False, True, False]
    assert prepared.image[2].mean() == pytest.approx(0, abs=1e-5)  # 0 is the mean of what is there
    with pytest.raises(ImageError, match="on whose grid the others lie"):
        stack_as_asked([None, phase(1), phase(2), phase(3)], "a", zero)


def test_a_rules_own_fallback_goes_before_that_of_all():
    rules = (*RULES[:3], ChannelRule(name="late", description="late", fallback="portal"))
    assert [fallback_of(rules, n, "zero") for n in range(4)] == [None, "zeros", "zeros", "portal"]
    assert [fallback_of(rules, n, "refuse") for n in range(4)] == [None, None, None, "portal"]
    assert [fallback_of((), n, "zero") for n in range(3)] == [None, "zeros", "zeros"]
    assert [rule.fallback for rule in with_fallbacks(rules, "zero")] == [None, "zeros", "zeros", "portal"]


@pytest.mark.parametrize("rules", [(), RULES])
def test_slabs_treat_a_missing_phase_as_the_whole_does(tmp_path, rules):
    settings = InputSettings(dimensions=3, channels=4, series=rules, missing_channel="zero")
    images = []
    for number in (0, 1, 2):
        write_volume(tmp_path / f"{number}.nii.gz", phase(number))
        images.append(str(tmp_path / f"{number}.nii.gz"))
    images.insert(2, None)
    whole = prepare_image(read_channels(images, "a", settings), settings, spacing=None)
    with open_images(images, "a", settings) as opened:
        channels = opened.channels()
        slabs = prepare_slabs(
            channels, settings, spacing=None, path=tmp_path / "image.npy", missing=channels.missing, slab_bytes=1000
        )
    assert not slabs.image[2].any()
    np.testing.assert_allclose(slabs.image, whole.image, atol=1e-5)


def test_each_further_channel_is_taken_away_as_often_as_stated_and_never_the_first():
    augmentation = Augmentation(AugmentationSettings(channel_dropout=0.3), (8, 8, 8), n_channels=4)
    drawn = [augmentation.draw(seed).dropped for seed in range(N)]
    spread = 4.5 * np.sqrt(0.3 * 0.7 / N)
    for number in (1, 2, 3):
        assert np.mean([number in channels for channels in drawn]) == pytest.approx(0.3, abs=spread)
    assert not any(0 in channels for channels in drawn)
    assert np.mean([channels == (1, 2, 3) for channels in drawn]) == pytest.approx(0.027, abs=0.012)


def test_without_dropout_samples_are_those_of_before():
    plain = AugmentationSettings()
    for seed in range(100):
        one, four = (Augmentation(plain, (8, 8, 8), n_channels=n).draw(seed) for n in (1, 4))
        with_dropout = Augmentation(AugmentationSettings(channel_dropout=0.5), (8, 8, 8), n_channels=4).draw(seed)
        for name in Change.__slots__:
            assert np.array_equal(getattr(one, name), getattr(four, name)), name
            assert name == "dropped" or np.array_equal(getattr(one, name), getattr(with_dropout, name)), name


class Store:
    def __init__(self, *cases):
        self.cases = list(cases)

    def __getitem__(self, name):
        return next(case for case in self.cases if case.case_id == name)


class Numbers:
    def encode(self, instances, *_, **__):
        return instances


def samples_of(image, n_channels, **augmentation):
    grid = Grid(image.shape[1:], np.eye(4))
    case = CachedCase("a", image, np.zeros(image.shape[1:], np.int16), np.array([0]), 0, grid, grid)
    return TrainingSamples(
        Store(case), Numbers(), patch_size=image.shape[1:], sampling=SamplingSettings(),
        augmentation=AugmentationSettings(**augmentation), positives=[False], length=N, seed=0, n_channels=n_channels,
    )  # fmt: skip


def test_a_mirrored_channel_goes_with_its_own():
    image = np.random.default_rng(0).normal(size=(6, 4, 5, 5)).astype(np.float32)  # three, and each mirrored
    samples = samples_of(image, 3, channel_dropout=0.5, **SILENT)
    seen = {tuple(bool(channel.any()) for channel in samples[index][0]) for index in range(100)}
    assert seen == {(True, *there, True, *there) for there in np.ndindex(2, 2)}
    for index in range(10):
        sample = samples[index][0]
        there = [channel.any() for channel in sample]
        assert np.array_equal(sample[there], image[there])


def test_noise_and_contrast_leave_a_channel_that_is_missing_at_zero():
    image = np.random.default_rng(0).normal(size=(3, 4, 5, 5)).astype(np.float32)
    image[1] = 0
    changes = {**SILENT, "intensity_probability": 1.0}
    assert all(samples_of(image, 3, channel_dropout=1e-9, **changes)[index][0][1].any() == 0 for index in range(20))
    assert samples_of(image, 3, **changes)[0][0][1].any(), "without dropout, what was before stays"


def test_rows_made_alone_are_those_of_the_whole():
    image = np.random.default_rng(0).normal(size=(4, 6, 5, 5)).astype(np.float32)
    samples = samples_of(image, 4, channel_dropout=0.5)
    for index in range(20):
        parts = np.concatenate([samples.rows(index, a, b)[0] for a, b in ((0, 2), (2, 3), (3, 6))], axis=1)
        np.testing.assert_allclose(parts, samples[index][0], atol=1e-5)


def anatomy(grid, centre, moved_mm=(0.0, 0.0, 0.0), contrast=1.0):
    """A block of tissue with a bright ball at `centre` (LPS mm), of a patient who moved."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape[::-1]], indexing="ij"), axis=-1)
    place = grid.to_world(index.reshape(-1, 3)).reshape(index.shape).transpose(2, 1, 0, 3) - np.array(moved_mm)
    body = np.all(np.abs(place - [40, 36, 44]) < [30, 24, 34], axis=-1) * 60.0
    body += 40 * (np.linalg.norm(place - [50, 36, 60], axis=-1) < 12)  # so that a turn or shift is seen
    ball = np.linalg.norm(place - centre, axis=-1) < 9
    values = ndimage.gaussian_filter(body + contrast * 60 * ball, 0.7) + 10
    return Volume(values[None].astype(np.float32), grid, modality="MR")


def brightest_mm(channel, grid):
    """Centre of what is far above the tissue, LPS mm."""
    z, y, x = ndimage.center_of_mass(channel > 116)
    return grid.to_world(np.array([[x, y, z]]))[0]


def test_phases_of_other_spacing_and_position_lie_on_the_first():
    """A ball is at the same millimetres in all channels, though each phase has a grid of its own."""
    centre = np.array([30.0, 30.0, 30.0])
    grids = [
        grid_of((44, 40, 40), (2, 2, 2)),
        grid_of((30, 54, 54), (3, 1.5, 1.5)),
        grid_of((50, 46, 46), (2, 2, 2), start=(-8.0, -6.0, -7.0)),
    ]
    stacked = stack_channels([anatomy(grid, centre) for grid in grids], "a")
    assert stacked.array.shape == (3, 44, 40, 40)
    for channel in stacked.array:
        np.testing.assert_allclose(brightest_mm(channel, stacked.grid), centre, atol=0.6)


def test_registration_takes_back_a_phase_that_moved_while_another_is_missing():
    centre, grid = np.array([30.0, 30.0, 30.0]), grid_of((44, 40, 40), (2, 2, 2))
    volumes = [anatomy(grid, centre), anatomy(grid_of((30, 54, 54), (3, 1.5, 1.5)), centre, (5, -3, 4)), None]
    settings = InputSettings(dimensions=3, channels=3, missing_channel="zero", registration="rigid")
    apart = stack_as_asked(volumes, "a", settings.model_copy(update={"registration": "none"}))
    registered = stack_as_asked(volumes, "a", settings)
    assert np.linalg.norm(brightest_mm(apart.array[1], grid) - centre) > 5
    np.testing.assert_allclose(brightest_mm(registered.array[1], grid), centre, atol=1.0)
    assert [note.code for note in registered.notes] == ["registered", "channel_covers_part", "channel_missing"]
    assert not registered.array[2].any()
