"""Grey values by modality; those of CT from the voxels of the lesions."""

import nibabel as nib
import numpy as np
import pytest

from medseg.data.loading import CacheOptions
from medseg.data.manifest import Case
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.errors import ConfigError
from medseg.planning import intensity
from medseg.planning.intensity import choose_intensity, ct_intensity
from medseg.planning.survey import ImageFacts, survey

SPACING = (5.0, 0.7, 0.7)
OPTIONS = CacheOptions(InputSettings(dimensions=3), SPACING, ("lesion",))


def make_case(folder, number, *, lesion, modality="CT", background=-900.0):
    """A volume of (z, y, x) = (6, 20, 24) voxels with a block of 4 x 8 x 8 that holds the values `lesion`."""
    image = np.full((24, 20, 6), background, np.float32)  # (x, y, z)
    image[0, 0, 0] = -1000
    mask = np.zeros(image.shape, np.uint8)
    if lesion is not None:
        image[4:12, 4:12, 1:5] = np.resize(np.float32(lesion), (8, 8, 4))
        mask[4:12, 4:12, 1:5] = 1
    affine = np.diag([-0.7, -0.7, 5, 1.0])  # towards L, P, S: the working grid is that of the file
    for name, values in (("image", image), ("mask", mask)):
        nib.save(nib.Nifti1Image(values, affine), folder / f"{name}{number}.nii")
    return Case(
        case_id=f"c{number}", patient_id=f"p{number}", images=(str(folder / f"image{number}.nii"),),
        mask=folder / f"mask{number}.nii", modality=modality,
    )  # fmt: skip


def test_ct_is_scaled_by_its_lesions(tmp_path):
    cases = [make_case(tmp_path, 0, lesion=range(0, 100)), make_case(tmp_path, 1, lesion=[50]),
             make_case(tmp_path, 2, lesion=None)]  # fmt: skip
    inside = np.concatenate([np.resize(np.arange(100), 256), np.full(256, 50)])
    chosen, reason = choose_intensity(cases, survey(cases), OPTIONS, workers=1)
    assert chosen.method == "ct"
    expected = (*np.percentile(inside, (0.5, 99.5)), inside.mean(), inside.std())
    assert (chosen.low, chosen.high, chosen.mean, chosen.deviation) == pytest.approx(expected, rel=1e-5)
    assert "the lesions of 2 of 3 training cases" in reason


def test_ct_without_lesions_is_scaled_by_all_voxels(tmp_path):
    cases = [make_case(tmp_path, number, lesion=None, background=20.0 * number) for number in range(3)]
    chosen, reason = ct_intensity(cases, OPTIONS)
    assert "all voxels, as none is a lesion's" in reason
    assert (chosen.low, chosen.high) == (0, 40)


def test_ct_lesions_of_one_value_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"method=auto: the lesions of 1 of 1 .* one value 7"):
        ct_intensity([make_case(tmp_path, 0, lesion=[7])], OPTIONS)


def test_a_large_lesion_counts_no_more_than_a_share(tmp_path, monkeypatch):
    monkeypatch.setattr(intensity, "PER_CASE", 64)
    chosen, _ = ct_intensity([make_case(tmp_path, n, lesion=[10 * n, 10 * n + 2]) for n in range(2)], OPTIONS)
    assert chosen.low >= 0
    assert chosen.high <= 12


def test_processes_find_the_same(tmp_path):
    cases = [make_case(tmp_path, number, lesion=[number, 3 * number + 1]) for number in range(8)]
    assert ct_intensity(cases, OPTIONS, workers=2) == ct_intensity(cases, OPTIONS, workers=1)


def facts(modality, zero_border=0.0):
    return ImageFacts(
        spacing_mm=SPACING, shape=(6, 20, 24), is_projection=False, modality=modality, zero_border=zero_border
    )


@pytest.mark.parametrize(
    ("images", "expected", "says"),
    [
        ([facts("MR", 1.0)] * 3, IntensitySettings(method="zscore", foreground="above_zero"), "3 of 3 borders are 0"),
        ([facts("MR", 0.1)] * 3, IntensitySettings(method="zscore", foreground="otsu"), "3 of 3 borders are not 0"),
        ([facts("DX"), facts("CR")], IntensitySettings(method="percentile"), "CR and DX are radiographs"),
        ([facts("CT"), facts("MR")], IntensitySettings(method="zscore"), "CT and MR"),
        ([facts("")], IntensitySettings(method="zscore"), "unknown"),
    ],
)
def test_choice_by_modality(images, expected, says):
    chosen, reason = choose_intensity([], images, OPTIONS, workers=1)
    assert chosen == expected
    assert says in reason


def test_modality_that_files_do_not_say_is_the_pipelines():
    options = CacheOptions(InputSettings(dimensions=3, modality=("MR",)), SPACING, ("lesion",))
    assert choose_intensity([], [facts("")], options, workers=1)[0].foreground == "otsu"


def test_survey_sees_axes_as_on_the_working_grid(tmp_path):
    case = make_case(tmp_path, 0, lesion=None, background=0.0)
    (found,) = survey([case])
    assert (found.shape, found.modality) == ((6, 20, 24), "CT")
    assert found.spacing_mm == pytest.approx(SPACING)
    assert found.zero_border == pytest.approx(1, abs=0.01)
