"""The planted study through `prepare` and `predict`: `audit` finds nothing of the patient in what we write."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from medseg.data.prepare import prepare
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model
from medseg.privacy import audit, read_identifiers

SAVED = ("mask", "probability", "overlay", "seg", "sr", "sc")
RESULTS = {"seg.dcm", "sr.dcm", "sc.dcm"}


@pytest.fixture
def damaged_study(study, tmp_path):
    """The study with a slice of one series cut off, so that a case fails with a message."""
    copy = tmp_path / "archive" / "PAT0012345" / "Yamada Tarou"
    shutil.copytree(study, copy)
    file = sorted((copy / "YAMADA TARO 2").iterdir())[0]
    file.write_bytes(file.read_bytes()[:-100])
    return copy


@pytest.fixture
def model(trained):
    model = load_model(trained)
    any_modality = model.pipeline.input.model_copy(update={"modality": ()})
    model.pipeline = model.pipeline.model_copy(update={"input": any_modality})
    return model


def test_predictions_hold_nothing_of_the_patient(model, damaged_study, tmp_path, caplog, capfd):
    output = tmp_path / "out"
    result = predict_batch(model, damaged_study, output, save=SAVED)
    assert (result.n_cases, len(result.failures)) == (2, 1)
    (output / "messages.log").write_text(caplog.text + "".join(capfd.readouterr()) + json.dumps(result.failures))
    found = audit(output, read_identifiers(damaged_study, study_dates=True), names="all")
    assert found.leaks == []
    assert {Path(file).name for file in found.excepted} == {"pseudonyms.json", *RESULTS}
    assert found.not_searched == {}
    with (output / "cases.csv").open() as stream:
        assert sorted(row["status"] for row in csv.DictReader(stream)) == ["failed", "ok"]


def test_a_data_set_holds_nothing_of_the_patient_but_its_paths(model, study, tmp_path, caplog, capfd):
    data, output = tmp_path / "data", tmp_path / "out"
    prepare(study, data, workers=1)
    predict_batch(model, data, output, save=SAVED)
    (output / "messages.log").write_text(caplog.text + "".join(capfd.readouterr()))
    patient = read_identifiers(study, study_dates=True)
    found = audit(tmp_path, patient, names="all")
    assert found.leaks == []
    names = {"dataset.csv", "pseudonyms.json", *RESULTS}
    assert {Path(file).name for file in found.excepted} == names
    everything = audit(tmp_path, patient, dicom_results=True, source_paths=True)
    assert {Path(leak.file).name for leak in everything.leaks} == names, "what is excepted does name the patient"
