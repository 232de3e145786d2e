import numpy as np
import pytest
from PIL import Image

from medseg.data.class_labels import class_labels
from medseg.data.manifest import load_manifest, write_manifest
from medseg.data.split_settings import SplitSettings
from medseg.data.splits import split_patients
from medseg.errors import ManifestError
from medseg.lesion import Lesion


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    return tmp_path


def write(folder, text):
    (folder / "dataset.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("case_id,patient_id,image,masc\na,p,a.png,\n", "unknown column 'masc'.*did you mean mask"),
        ("case_id,image\na,a.png\n", "patient_id is missing"),
        ("case_id,patient_id,image\n", "lists no case"),
        ("case_id,patient_id,image\na,p,a.png\na,q,a.png\n", "case a is listed twice"),
        ("case_id,patient_id,image\na,p,b.png\n", "b.png does not exist"),
        ("case_id,patient_id,image,label\na,p,a.png,yes\n", "label 'yes'"),
        ("case_id,patient_id,image,split\na,p,a.png,train\nb,p,a.png,test\n", "a patient must be in one part"),
        ("case_id,patient_id,image,split\na,p,a.png,valid\n", "split 'valid'"),
        ("case_id,patient_id,image\n../x,p,a.png\n", "name a file"),
    ],
)
def test_wrong_manifests_are_one_line(folder, text, says):
    with pytest.raises(ManifestError, match=says) as error:
        load_manifest(write(folder, text))
    assert "\n" not in str(error.value)


def test_empty_cell_is_unlabelled_and_round_trip(folder):
    manifest = load_manifest(write(folder, "case_id,patient_id,image,label\na,p,a.png,\nb,q,a.png,0\n"))
    assert [case.is_labelled for case in manifest.cases] == [False, True]
    write_manifest(folder / "again" / "dataset.csv", manifest.cases)
    assert load_manifest(folder / "again").cases == manifest.cases


def many(folder, n_patients=40):
    rows = "".join(f"c{p}_{i},p{p},a.png,{p % 2}\n" for p in range(n_patients) for i in range(1 + p % 3))
    return load_manifest(write(folder, "case_id,patient_id,image,label\n" + rows))


def test_patients_never_cross_a_split(folder):
    manifest = many(folder)
    for fold in (None, 0, 1, 4):
        parts = split_patients(manifest, SplitSettings(), seed=3, fold=fold)
        by_patient = {}
        for case in manifest.cases:
            by_patient.setdefault(case.patient_id, set()).add(parts[case.case_id])
        assert all(len(found) == 1 for found in by_patient.values())


def test_shares_are_60_20_20_of_each_stratum(folder):
    manifest = many(folder)
    parts = split_patients(manifest, SplitSettings(), seed=0)
    patients = {(case.patient_id, case.label, parts[case.case_id]) for case in manifest.cases}
    for label in (0, 1):
        counts = {part: sum(p[1:] == (label, part) for p in patients) for part in ("train", "val", "test")}
        assert counts == {"train": 12, "val": 4, "test": 4}


def test_folds_cover_everyone_once_and_leave_the_test_part(folder):
    manifest = many(folder)
    test = {name for name, part in split_patients(manifest, SplitSettings(), seed=0).items() if part == "test"}
    validated = []
    for fold in range(5):
        parts = split_patients(manifest, SplitSettings(), seed=0, fold=fold)
        assert {name for name, part in parts.items() if part == "test"} == test
        validated += [name for name, part in parts.items() if part == "val"]
    assert sorted(validated) == sorted({case.case_id for case in manifest.cases} - test)


def test_small_data_sets_keep_every_part_and_fold(folder):
    manifest = many(folder, n_patients=6)
    parts = split_patients(manifest, SplitSettings(), seed=0)
    assert set(parts.values()) == {"train", "val", "test"}
    everyone = SplitSettings(train=0.8, test=0)
    for fold in range(5):
        assert "val" in split_patients(manifest, everyone, seed=0, fold=fold).values()


def test_own_split_is_kept_and_seed_matters(folder):
    manifest = many(folder)
    a, b = (split_patients(manifest, SplitSettings(), seed=seed) for seed in (0, 1))
    assert a == split_patients(manifest, SplitSettings(), seed=0)
    assert a != b


def test_labels_of_classes(folder):
    text = (
        "case_id,patient_id,image,label,label_mass,label_pleural effusion\n"
        "a,p,a.png,,1,\nb,q,a.png,,0,0\nc,r,a.png,,0,-1\nd,s,a.png,,,\ne,t,a.png,,-1,-1.0\nf,u,a.png,,0,\n"
    )
    manifest = load_manifest(write(folder, text))
    assert [dict(case.class_labels) for case in manifest.cases[:3]] == [
        {"mass": 1}, {"mass": 0, "pleural effusion": 0}, {"mass": 0, "pleural effusion": -1},
    ]  # fmt: skip
    assert [case.label for case in manifest.cases] == [1, 0, None, None, None, None]
    assert [case.is_labelled for case in manifest.cases] == [True, True, True, False, False, True]
    write_manifest(folder / "again" / "dataset.csv", manifest.cases)
    assert load_manifest(folder / "again").cases == manifest.cases


def test_a_wrong_label_of_a_class_is_named(folder):
    with pytest.raises(ManifestError, match="line 2: label_mass 'maybe' of case a: allowed are 1, 0, -1"):
        load_manifest(write(folder, "case_id,patient_id,image,label_mass\na,p,a.png,maybe\n"))


@pytest.mark.parametrize(
    ("row", "lesions", "expected"),
    [
        (",1,,", None, [1, -1]),
        (",1,0,", None, [1, 0]),
        ("0,,,", None, [0, 0]),
        ("1,,,", None, [-1, -1]),  # something, not which
        ("0,,1,", None, [-1, 1]),  # the class's own column comes first, and then says nothing of others
        (",,,", [], [0, 0]),  # read, no lesion
        (",,,", [("mass", False)], [1, 0]),
        (",,,", [("mass", True)], [-1, 0]),  # of which only ignored ones are marked
        (",,-1,", [("mass", False)], [1, -1]),
    ],
)
def test_classes_that_an_image_shows(folder, row, lesions, expected):
    text = f"case_id,patient_id,image,label,label_mass,label_effusion,view\na,p,a.png,{row}\n"
    (case,) = load_manifest(write(folder, text)).cases
    marked = lesions and [Lesion(1, 1, 0, 2, "px", name=name, ignore=ignore) for name, ignore in lesions]
    assert class_labels(case, ("mass", "effusion"), marked).tolist() == expected
