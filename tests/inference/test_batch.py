"""Batch prediction of bare DICOM: names stay inside, pseudonyms last, other modalities are out of scope."""

import csv
import json
import stat

import pytest
from dicom_series import write_series

from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def model_for_any_modality(trained):
    model = load_model(trained)
    any_modality = model.pipeline.input.model_copy(update={"modality": ()})
    model.pipeline = model.pipeline.model_copy(update={"input": any_modality})
    return model


def test_names_stay_inside_and_pseudonyms_last_over_a_resumption(model_for_any_modality, tmp_path, caplog):
    source, output = tmp_path / "in", tmp_path / "predictions"
    uids = [write_series(source / "DOE^JANE" / f"CT {n}", patient_id="HOSP-4711", seed=n) for n in (1, 2)]
    damaged = sorted((source / "DOE^JANE" / "CT 2").iterdir())[0]
    damaged.write_bytes(damaged.read_bytes()[:-100])  # its pixels are cut off
    result = predict_batch(model_for_any_modality, source, output, save=("mask", "overlay"))
    assert (result.n_cases, len(result.failures)) == (2, 1)
    table = rows(output / "cases.csv")
    assert sorted(row["status"] for row in table) == ["failed", "ok"]
    assert len({row["patient_id"] for row in table}) == 1
    for file in output.rglob("*"):
        if file.is_file() and file.name != "pseudonyms.json":
            assert not any(word in str(file) for word in ("DOE", "HOSP", *uids))
            content = file.read_bytes()
            assert not any(word.encode() in content for word in ("DOE", "Doe", "HOSP", *uids)), file
    assert "HOSP" not in caplog.text
    assert "DOE" not in caplog.text
    assert stat.S_IMODE((output / "pseudonyms.json").stat().st_mode) == 0o600
    assert set(json.loads((output / "pseudonyms.json").read_text())["sources"]) == {row["case_id"] for row in table}
    again = predict_batch(model_for_any_modality, source, output, save=("mask", "overlay"), resume=True)
    assert again.failures.keys() == result.failures.keys()
    other = predict_batch(model_for_any_modality, source, tmp_path / "other", save=())
    assert not other.failures.keys() & result.failures.keys(), "another folder has another key"


def test_another_modality_is_out_of_scope_and_no_failure(trained, tmp_path):
    write_series(tmp_path / "in", patient_id="1")
    result = predict_batch(load_model(trained), tmp_path / "in", tmp_path / "out")
    assert (result.n_cases, result.failures) == (1, {})
    (row,) = rows(tmp_path / "out" / "cases.csv")
    assert (row["status"], row["score"], row["n_findings"]) == ("out_of_scope", "", "")
    assert row["error"] == "modality CT, the model is for MR"
    assert rows(tmp_path / "out" / "findings.csv") == []
