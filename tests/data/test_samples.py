"""Training samples: the rows of any division are the whole sample, which depends on seed and number alone."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_cases import CASES, PATCHES, STRONG, case, samples_of

from medseg.data import rows as rows_module
from medseg.data import samples as samples_module
from medseg.data.cache import CachedCase
from medseg.data.settings import AugmentationSettings


def put_together(samples, index, cuts, rows):
    edges = [0, *sorted(min(cut, rows) for cut in cuts), rows]
    parts = [samples.rows(index, a, b) for a, b in itertools.pairwise(edges)]
    return [np.concatenate(arrays, axis=1) for arrays in zip(*parts)]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([2, 3]),
    st.sampled_from(["segmentation", "balanced", "heatmap"]),
    st.integers(0, 2**31),
    st.integers(0, 500),
    st.lists(st.integers(0, 20), max_size=5),
    st.floats(0, 1),
    st.sampled_from([1, 100, 1 << 22]),
)
def test_the_rows_of_any_division_are_the_whole(dimensions, detector, seed, index, cuts, probability, block):
    changes = STRONG.model_copy(update={"affine_probability": probability, "intensity_probability": probability})
    patch = PATCHES[dimensions]

    def fresh():  # as on another rank
        return samples_of(CASES[dimensions], detector, patch=patch, augmentation=changes, seed=seed)

    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(rows_module, "BLOCK_VOXELS", block)
        image, target = fresh()[index]
        found, found_target = put_together(fresh(), index, cuts, patch[0])
    assert image.shape == (2, *patch)
    assert image.dtype == found.dtype == np.float32
    assert np.array_equal(found_target, target)
    assert found_target.dtype == target.dtype
    assert np.abs(found - image).max() <= 1e-6 * np.ptp(image)


def test_every_rank_has_the_label_of_the_whole():
    samples = samples_of(CASES[2], "classification", patch=PATCHES[2])
    assert [samples.rows(3, a, b)[1].tolist() for a, b in ((0, 5), (5, 5), (5, 20))] == [1, 1, 1]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_no_rows_are_an_empty_sample(dimensions):
    patch = PATCHES[dimensions]
    image, target = samples_of(CASES[dimensions], "heatmap", patch=patch).rows(0, 4, 4)
    assert image.shape == (2, 0, *patch[1:])
    assert target.shape == (2 + dimensions + 1, 0, *patch[1:])


def test_rows_beyond_the_patch_are_refused():
    samples = samples_of(CASES[2], patch=PATCHES[2])
    for start, stop in ((-1, 3), (0, 21), (5, 4)):
        with pytest.raises(ValueError, match="do not lie within a patch of 20 rows"):
            samples.rows(0, start, stop)


def test_a_sample_is_a_function_of_seed_and_number():
    first, second = (samples_of(CASES[3], patch=PATCHES[3], seed=4) for _ in range(2))
    forth = [first[index] for index in range(8)]
    back = [second[index] for index in reversed(range(8))][::-1]
    for (image, target), (other, other_target) in zip(forth, back):
        assert np.array_equal(image, other)
        assert np.array_equal(target, other_target)
    assert not np.array_equal(forth[0][0], samples_of(CASES[3], patch=PATCHES[3], seed=5)[0][0])


def test_patches_lie_on_lesions_as_often_as_stated():
    """In a case where a patch hardly ever meets the one lesion by chance."""
    large = case("c", (1, 400, 400), channels=1, lesions=1)
    for fraction in (0.0, 0.6, 1.0):
        samples = samples_of([large], patch=(24, 24), augmentation=AugmentationSettings(enabled=False),
                             foreground_fraction=fraction)  # fmt: skip
        hits = np.mean([samples[index][1].any() for index in range(300)])
        assert hits == pytest.approx(fraction, abs=0.13)


def test_a_patch_larger_than_the_case_is_centred_and_padded_with_the_minimum():
    small = case("c", (1, 6, 8))
    samples = samples_of([small], patch=(10, 12), augmentation=AugmentationSettings(enabled=False))
    image, target = samples[0]
    assert np.array_equal(image[:, 2:8, 2:10], small.image[:, 0])
    for channel, own in zip(image, small.image):
        edge = np.ones((10, 12), bool)
        edge[2:8, 2:10] = False
        assert (channel[edge] == own.min()).all()
    assert target.sum() == (small.instances > 0).sum()


def test_no_more_than_a_block_and_its_surroundings_is_read_at_once(monkeypatch):
    patch = (64, 8, 8)
    monkeypatch.setattr(rows_module, "BLOCK_VOXELS", 4 * 64)  # four rows
    lengths = []
    cut = samples_module.crop_or_pad

    def spy(array, start, size, *, outside):
        lengths.append(size[0])
        return cut(array, start, size, outside=outside)

    monkeypatch.setattr(samples_module, "crop_or_pad", spy)
    always = STRONG.model_copy(update={"affine_probability": 1, "intensity_probability": 1, "scale": 0.2})
    samples = samples_of([case("c", (70, 8, 8))], "heatmap", patch=patch, augmentation=always)
    for index in range(6):
        samples.rows(index, 16, 32)
    # (4 + twice the blur's 6) * 1.2 of the scale, and the rows between which is interpolated
    assert max(lengths) <= 22


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mapped_files_serve_as_arrays_do(dimensions, tmp_path):
    cases = []
    for own in CASES[dimensions]:
        arrays = {}
        for name in ("image", "instances"):
            np.save(tmp_path / f"{own.case_id}_{name}.npy", getattr(own, name))
            arrays[name] = np.load(tmp_path / f"{own.case_id}_{name}.npy", mmap_mode="r")
        cases.append(CachedCase(own.case_id, **arrays, class_of=own.class_of, label=1, grid=own.grid, source=own.grid))
    mapped, held = (samples_of(some, patch=PATCHES[dimensions]) for some in (cases, CASES[dimensions]))
    for index in range(6):
        for found, expected in zip(mapped.rows(index, 2, 7), held.rows(index, 2, 7)):
            assert np.array_equal(found, expected)
