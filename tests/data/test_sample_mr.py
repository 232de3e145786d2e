"""Simulated nodules in MR: volume, contrast, what stays, the data set and its patients."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from medseg.data.manifest import Case, load_manifest, write_manifest
from medseg.data.prepare import prepare
from medseg.data.sample.mr_exams import NOTICE, body_mask, derive_phases, make_mr
from medseg.data.sample.mr_nodules import KINDS, PHASES, Nodule, draw_nodules, insert_nodules
from medseg.data.sample.mr_shapes import PAD, NoduleShape, draw_shape, random_shape
from medseg.data.settings import InputSettings
from medseg.errors import ConfigError, ImageError
from medseg.files import read_csv
from medseg.imaging import read, write_mask, write_volume
from medseg.volume import Grid, Volume

SPACING = (2.5, 1.2, 1.2)
SCRIPT = Path(__file__).parents[2] / "scripts" / "simulate_mr_nodules.py"


def organ_and_phases(shape=(32, 60, 60), seed=0):
    """Tissue with texture and noise in a block of air."""
    random = np.random.default_rng(seed)
    organ = np.zeros(shape, bool)
    organ[2:-2, 5:-5, 5:-5] = True
    texture = ndimage.gaussian_filter(random.normal(size=(4, *shape)), (0, 2, 2, 2)) * 60
    phases = 200 + texture + random.normal(0, 6, (4, *shape))
    return organ, np.where(organ, phases, np.abs(random.normal(0, 5, (4, *shape)))).astype(np.float32)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), SPACING])
@pytest.mark.parametrize("radii", [(5, 5, 5), (6, 8, 11), (14, 10, 9)])
def test_the_volume_is_that_of_the_ellipsoid(radii, spacing):
    shape = random_shape(2.0, 0.0, np.random.default_rng(3))
    shape = NoduleShape(np.array(radii, float), shape.rotation, 0.0, shape.ripples)
    drawn = draw_shape(shape, np.array([20.3, 30.1, 29.6]), spacing)
    analytic = 4 / 3 * np.pi * np.prod(radii)
    voxel = np.prod(spacing)
    assert drawn.share.sum() * voxel == pytest.approx(analytic, rel=0.005)
    assert drawn.soft.sum() * voxel == pytest.approx(analytic, rel=0.01)
    assert (drawn.share >= 0.5).sum() * voxel == pytest.approx(analytic, rel=0.04)
    assert drawn.soft_core.sum() / drawn.soft.sum() == pytest.approx(0.85**3, rel=0.03)


def test_the_shape_lies_where_and_as_it_is_turned():
    """Long along (z, y, x) = (0, 1, 1): its principal axis and centre are found again."""
    across = 1 / np.sqrt(2)
    rotation = np.array([[0.0, 1.0, 0.0], [across, 0.0, across], [across, 0.0, -across]])
    shape = NoduleShape(np.array([12.0, 5.0, 5.0]), rotation, 0.0, np.zeros((3, 4)))
    centre = np.array([20.25, 30.5, 29.75])
    drawn = draw_shape(shape, centre, SPACING)
    place = np.argwhere(drawn.share > 0)
    weights = drawn.share[drawn.share > 0]
    mean = np.average(place, axis=0, weights=weights) + drawn.low
    np.testing.assert_allclose(mean, centre, atol=0.05)
    spread = np.cov((place * SPACING).T, aweights=weights)
    axis = np.linalg.eigh(spread)[1][:, -1]
    assert abs(axis @ [0, across, across]) == pytest.approx(1, abs=0.01)


def test_irregular_shapes_stay_within_their_reach_and_differ_from_the_ellipsoid():
    for seed in range(2):
        shape = random_shape(12.0, 0.3, np.random.default_rng(seed))
        drawn = draw_shape(shape, np.array([30.0, 30.0, 30.0]), (1.0, 1.0, 1.0))
        distance = np.linalg.norm(np.argwhere(drawn.share > 0) + drawn.low - 30, axis=1)
        assert distance.max() <= shape.reach_mm + 1
        plain = NoduleShape(shape.radii_mm, shape.rotation, 0.0, shape.ripples)
        other = draw_shape(plain, np.array([30.0, 30.0, 30.0]), (1.0, 1.0, 1.0)).share
        inner = tuple(slice((a - b) // 2, (a - b) // 2 + b) for a, b in zip(drawn.share.shape, other.shape))
        assert np.abs(drawn.share[inner] - other).sum() > 0.03 * other.sum()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_contrast_has_the_sign_that_was_asked_for_in_each_phase(kind):
    organ, phases = organ_and_phases()
    shape = random_shape(20.0, 0.1, np.random.default_rng(1))
    result = insert_nodules(phases, PHASES, organ, SPACING, [Nodule(kind, shape, np.array([16.0, 30.0, 30.0]))])
    inside = result.labels == 1
    away = ndimage.distance_transform_edt(~inside, sampling=SPACING)
    ring = (away > 3) & (away <= 7) & organ
    depth = ndimage.distance_transform_edt(inside, sampling=SPACING)
    for phase, name in zip(result.phases, PHASES):
        wanted = KINDS[kind][name]
        contrast = (phase[inside].mean() - phase[ring].mean()) / 200
        assert np.sign(contrast) == np.sign(wanted.core), name
        core = (phase[depth > 4].mean() - phase[ring].mean()) / 200
        assert core == pytest.approx(wanted.core, abs=0.05), name
        if wanted.rim is not None:
            assert phase[inside & (depth < 2)].mean() > phase[depth > 4].mean() + 20, name


def test_texture_and_noise_inside_are_as_around():
    organ, phases = organ_and_phases()
    nodule = Nodule("hypervascular", random_shape(40.0, 0.0, np.random.default_rng(1)), np.array([16.0, 30.0, 30.0]))
    result = insert_nodules(phases, PHASES, organ, SPACING, [nodule])
    deep = ndimage.distance_transform_edt(result.labels, sampling=SPACING) > 9
    for before, after in zip(phases, result.phases):
        fine_before, fine_after = (image - ndimage.gaussian_filter(image, 1.5) for image in (before, after))
        assert fine_after[deep].std() == pytest.approx(fine_before[deep].std(), rel=0.1)


def test_nothing_changes_beyond_the_margin():
    organ, phases = organ_and_phases()
    nodules = draw_nodules(organ, SPACING, 3, np.random.default_rng(2), diameters_mm=(8, 12))
    result = insert_nodules(phases, PHASES, organ, SPACING, nodules)
    assert len(nodules) == 3
    assert set(np.unique(result.labels)) == {0, 1, 2, 3}
    near = ndimage.binary_dilation(result.labels > 0, np.ones((3, 3, 3)), iterations=PAD)
    assert np.array_equal(result.phases[:, ~near], phases[:, ~near])
    assert not np.array_equal(result.phases[:, near], phases[:, near])
    assert organ[result.labels > 0].all()


def test_an_organ_without_room_gets_fewer_nodules():
    organ = np.zeros((20, 20, 20), bool)
    organ[4:16, 4:16, 4:16] = True
    assert len(draw_nodules(organ, (2, 2, 2), 5, np.random.default_rng(0), diameters_mm=(10, 12))) in (1, 2)
    assert draw_nodules(organ, (1, 1, 1), 5, np.random.default_rng(0), diameters_mm=(10, 12)) == []


def test_kinds_take_turns_so_that_a_few_exams_hold_all():
    organ, _ = organ_and_phases()
    for seed in range(3):
        nodules = draw_nodules(organ, SPACING, 4, np.random.default_rng(seed), diameters_mm=(8, 10))
        assert sorted(nodule.kind for nodule in nodules) == ["hypervascular"] * 2 + ["hypovascular"] * 2


def test_normalised_images_are_refused():
    organ, phases = organ_and_phases()
    with pytest.raises(ImageError, match="phase native: the median grey value"):
        insert_nodules(phases - 220, PHASES, organ, SPACING, [])
    with pytest.raises(ImageError, match="mask of the organ is empty"):
        insert_nodules(phases, PHASES, organ & False, SPACING, [])


def test_the_body_is_the_large_piece_with_its_holes():
    image = np.random.default_rng(0).normal(10, 3, (8, 30, 30))
    image[:, 5:25, 5:25] = 100
    image[:, 12:15, 12:15] = 5  # dark, inside
    image[0, 1:3, 1:3] = 100  # bright, apart
    body = np.zeros(image.shape, bool)
    body[:, 5:25, 5:25] = True
    assert np.array_equal(body_mask(image), body)


def test_derived_phases_are_scaled_and_their_difference_is_not_empty():
    organ, phases = organ_and_phases()
    image = np.where(organ, phases[0], 0)
    derived = derive_phases(image, PHASES, SPACING, np.random.default_rng(0))
    medians = [np.median(phase[organ]) for phase in derived]
    assert np.array(medians) / np.median(image[organ]) == pytest.approx([1.0, 1.2, 1.5, 1.4], rel=0.05)
    assert not derived[:, ~organ].any()
    residual = derived[1] / 1.2 - derived[0]
    assert residual[organ].std() > 0.04 * np.median(image[organ])


@pytest.fixture
def volumes(tmp_path):
    """Two patients: one with four phases on grids of their own, and a known lesion; one with a single image."""
    organ, phases = organ_and_phases()
    affine = np.diag([*SPACING[::-1], 1.0])
    cases = []
    for number, name in enumerate(PHASES):
        moved = affine.copy()
        moved[:3, 3] = number
        write_volume(tmp_path / f"{name}.nii.gz", Volume(phases[[number]], Grid(organ.shape, moved), modality="MR"))
    known = np.zeros(organ.shape, bool)
    known[10:22, 10:50, 10:28] = True
    write_mask(tmp_path / "known.nii.gz", known, Grid(organ.shape, affine))
    images = tuple(str(tmp_path / f"{name}.nii.gz") for name in PHASES)
    cases = [
        Case(case_id="a", patient_id="p1", images=images, mask=tmp_path / "known.nii.gz", modality="MR"),
        Case(case_id="b", patient_id="p2", images=images[:1], modality="MR"),
    ]
    (tmp_path / "in").mkdir()
    write_manifest(tmp_path / "in" / "dataset.csv", [cases[0]])
    (tmp_path / "single").mkdir()
    write_manifest(tmp_path / "single" / "dataset.csv", [cases[1]])
    return tmp_path


def test_a_data_set_of_several_phases_keeps_its_patients_and_known_lesions(volumes):
    table = make_mr(volumes / "in", volumes / "out", n_exams=5, seed=1, diameters_mm=(8, 12))
    cases = load_manifest(table).cases
    assert {case.patient_id for case in cases} == {"p1"}
    assert [case.label for case in cases] == [0, 1, 1, 1, 0]
    assert all(len(case.images) == 4 for case in cases)
    known = read(volumes / "known.nii.gz").array[0] > 0
    rows = read_csv(volumes / "out" / "nodules.csv")[1]
    for case in cases:
        mask = read(case.mask)
        own = [row for row in rows if row["case_id"] == case.case_id]
        assert ndimage.label(mask.array[0])[1] == len(own)
        assert not (mask.array[0].astype(bool) & known).any()
        for row in own:
            place = np.array([[float(row[name]) for name in "xyz"]])
            x, y, z = np.round(mask.grid.to_index(place)[0]).astype(int)
            assert mask.array[0, z, y, x]
    assert json.loads((volumes / "out" / "about.json").read_text())["notice"] == NOTICE


def test_prepare_reads_it_and_the_same_seed_gives_the_same_bytes(volumes):
    for name in ("one", "two"):
        make_mr(volumes / "single", volumes / name, n_exams=2, seed=7, diameters_mm=(8, 12))
    make_mr(volumes / "single", volumes / "three", n_exams=2, seed=8, diameters_mm=(8, 12))
    files = sorted(path.relative_to(volumes / "one") for path in (volumes / "one").rglob("*") if path.is_file())
    assert len(files) == 3 + 2 * 5
    for file in files:
        assert (volumes / "one" / file).read_bytes() == (volumes / "two" / file).read_bytes(), file
    image = next(file for file in files if "late" in file.name)
    assert (volumes / "one" / image).read_bytes() != (volumes / "three" / image).read_bytes()
    assert "synthetic" in json.loads((volumes / "one" / "about.json").read_text())["notice"]
    settings = InputSettings(dimensions=3, channels=4, modality=("MR",))
    assert prepare(volumes / "one", volumes / "data", settings=settings, workers=1).n_cases == 2
    assert len({case.patient_id for case in load_manifest(volumes / "data").cases}) == 1


def test_what_does_not_fit_is_refused(volumes):
    with pytest.raises(ConfigError, match="expected different ones of native"):
        make_mr(volumes / "in", volumes / "out", n_exams=1, phases=("native", "delayed"))
    with pytest.raises(ImageError, match="has 4 image.*expected one or 2"):
        make_mr(volumes / "in", volumes / "out", n_exams=1, phases=("native", "portal"))
    (volumes / "organs").mkdir()
    write_mask(volumes / "organs" / "b.nii.gz", np.ones((4, 4, 4), bool), Grid((4, 4, 4), np.eye(4)))
    with pytest.raises(ImageError, match="does not lie on the first phase"):
        make_mr(volumes / "single", volumes / "out", n_exams=1, organs=volumes / "organs")


def test_the_script_says_what_is_wrong_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simulate", str(tmp_path), "-o", str(tmp_path / "out"), "--n-exams", "1"])
    assert runpy.run_path(str(SCRIPT))["main"]() == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "no such manifest" in said
    assert said.count("\n") == 1


def test_the_script_makes_a_data_set(volumes, monkeypatch, capsys):
    arguments = [str(volumes / "single"), "-o", str(volumes / "out"), "--n-exams", "2", "--diameters", "8", "12"]
    monkeypatch.setattr(sys, "argv", ["simulate", *arguments, "--phases", "native,late"])
    assert runpy.run_path(str(SCRIPT))["main"]() == 0
    table = capsys.readouterr().out.strip()
    assert [len(case.images) for case in load_manifest(table).cases] == [2, 2]
