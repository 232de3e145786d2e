"""Series of a study as the channels of a case, from DICOM files to the manifest and to a prediction."""

from dataclasses import replace

import numpy as np
import pytest
from dicom_sources import ct_series, make_grid, with_pixels

from medseg.config import load_pipeline
from medseg.data.manifest import load_manifest
from medseg.data.prepare import prepare
from medseg.data.stacking import read_channels
from medseg.files import read_csv
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model

RULES = (
    "input.channels=2",
    "input.series=[{name: flair, description: flair}, {name: t1, description: t1, fallback: zeros}]",
)


def write_study(folder, patient, descriptions):
    """An MR study, one series a description; its value at a voxel is 10 x number of the series + slice."""
    study = None
    for number, description in enumerate(descriptions, start=1):
        source = ct_series(make_grid("axial", (4, 48, 48)), mr=True)
        study = study or source.datasets[0].StudyInstanceUID
        for place, header in enumerate(source.datasets):
            image = with_pixels(header)
            image.StudyInstanceUID, image.PatientID, image.SeriesDescription = study, patient, description
            values = np.full((48, 48), 10 * number + place, np.uint16)
            values[:4] = 1
            image.PixelData = values.tobytes()
            (folder / description).mkdir(parents=True, exist_ok=True)
            image.save_as(folder / description / f"{place}.dcm", enforce_file_format=True)


@pytest.fixture
def studies(tmp_path):
    write_study(tmp_path / "in" / "a", "A", ["T1 post", "FLAIR", "localizer-like"])
    write_study(tmp_path / "in" / "b", "B", ["FLAIR"])
    write_study(tmp_path / "in" / "c", "C", ["T1 pre"])
    return tmp_path / "in"


def test_prepare_makes_one_case_a_study(studies, tmp_path):
    settings = load_pipeline("brain_infarct", RULES).input
    result = prepare(studies, tmp_path / "data", settings=settings, workers=1)
    manifest = load_manifest(tmp_path / "data")
    assert result.n_cases == len(manifest.cases) == 2
    assert [len(case.files) for case in sorted(manifest.cases, key=lambda case: -len(case.files))] == [2, 1]
    (reason,) = result.failures.values()
    assert "flair" in reason
    assert "series" in reason
    assert "T1 pre" not in reason  # a description is free text
    whole = next(case for case in manifest.cases if len(case.files) == 2)
    volume = read_channels(whole.images, whole.case_id, settings)
    # FLAIR was the second series of its study, T1 the first: channels in the order of the rules
    assert volume.array[:, 3, 20, 20].tolist() == [23, 13]


def test_predict_makes_the_same_cases(studies, tmp_path, trained):
    settings = load_pipeline("brain_infarct", RULES).input
    model = load_model(trained)
    rules = model.pipeline.input.model_copy(update={"series": settings.series[:1]})
    model = replace(model, pipeline=model.pipeline.model_copy(update={"input": rules}))
    result = predict_batch(model, studies, tmp_path / "out", save=())
    _, rows = read_csv(tmp_path / "out" / "cases.csv")
    assert sorted(row["status"] for row in rows) == ["failed", "ok", "ok"]
    assert len(result.failures) == 1


def test_an_empty_cell_of_a_further_image_is_a_missing_channel(studies, tmp_path):
    settings = load_pipeline("brain_infarct", RULES).input
    prepare(studies, tmp_path / "data", settings=settings, workers=1)
    lone = next(case for case in load_manifest(tmp_path / "data").cases if case.images[1] is None)
    volume = read_channels(lone.images, lone.case_id, settings)
    assert not volume.array[1].any()
    assert [note.code for note in volume.notes if note.warning] == ["channel_missing"]
