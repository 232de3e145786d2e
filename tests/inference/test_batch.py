"""Batch prediction of bare DICOM: names stay inside, pseudonyms last, other modalities are out of scope."""

import csv
import json
import os
import stat

import numpy as np
import pytest
import torch
from dicom_series import write_series
from PIL import Image

from medseg.errors import ConfigError, ImageError
from medseg.imaging import read, write_map
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model
from medseg.volume import Grid


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
    with pytest.raises(ImageError, match="out of scope: modality CT, the model is for MR"):
        load_model(trained).predict(read(tmp_path / "in"))
    result = predict_batch(load_model(trained), tmp_path / "in", tmp_path / "out")
    assert (result.n_cases, result.failures) == (1, {})
    (row,) = rows(tmp_path / "out" / "cases.csv")
    assert (row["status"], row["score"], row["n_findings"]) == ("out_of_scope", "", "")
    assert row["error"] == "modality CT, the model is for MR"
    assert rows(tmp_path / "out" / "findings.csv") == []


def picture(path, seed):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(1, 200, (48, 48), dtype=np.uint8)).save(path)


def test_resume_predicts_again_what_is_another_image_by_now(trained, tmp_path):
    model = load_model(trained)
    picture(tmp_path / "a" / "x.png", 1)
    picture(tmp_path / "b" / "x.png", 2)
    predict_batch(model, tmp_path / "a", tmp_path / "out", save=())
    predict_batch(model, tmp_path / "b", tmp_path / "out", save=(), resume=True)
    predict_batch(model, tmp_path / "b", tmp_path / "fresh", save=())
    again, fresh = rows(tmp_path / "out" / "cases.csv"), rows(tmp_path / "fresh" / "cases.csv")
    assert [row["score"] for row in again] == [row["score"] for row in fresh]
    assert again[0]["training_case"] == "", "of a bare file it is not known"


def test_resume_notices_an_image_that_kept_its_size_and_time(trained, tmp_path):
    model = load_model(trained)
    for seed in (1, 2):
        file = tmp_path / "in" / "x.nii"
        values = np.random.default_rng(seed).normal(80, 12, (1, 48, 48)).astype(np.float32)
        write_map(file, values, Grid((1, 48, 48), np.eye(4)))
        os.utime(file, (1e9, 1e9))
        predict_batch(model, tmp_path / "in", tmp_path / "out", save=(), resume=True)
    predict_batch(model, tmp_path / "in", tmp_path / "fresh", save=())
    again, fresh = rows(tmp_path / "out" / "cases.csv"), rows(tmp_path / "fresh" / "cases.csv")
    assert [row["score"] for row in again] == [row["score"] for row in fresh]


def test_what_cannot_be_saved_is_refused_before_the_first_case(trained, tmp_path):
    model = load_model(trained)
    picture(tmp_path / "in" / "x.png", 1)
    for save, reason in (("seg", "none of the input is one"), ("movie", "unknown; allowed are mask")):
        with pytest.raises(ConfigError, match=reason):
            predict_batch(model, tmp_path / "in", tmp_path / "out", save=(save,))
    assert not (tmp_path / "out" / "predictions.json").exists()


def test_a_case_that_fails_by_now_keeps_nothing_of_an_earlier_run(trained, tmp_path):
    model = load_model(trained)
    picture(tmp_path / "in" / "x.png", 1)
    predict_batch(model, tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / "cases" / "x" / "mask.nii.gz").is_file()
    (tmp_path / "in" / "x.png").write_bytes(b"no picture")
    assert list(predict_batch(model, tmp_path / "in", tmp_path / "out", resume=True).failures) == ["x"]
    assert [file.name for file in (tmp_path / "out" / "cases" / "x").iterdir()] == ["case.json"]


def test_an_output_inside_the_source_is_no_input(trained, tmp_path):
    picture(tmp_path / "in" / "x.png", 1)
    for _ in range(2):
        result = predict_batch(load_model(trained), tmp_path / "in", tmp_path / "in" / "out", resume=True)
        assert (result.n_cases, result.failures) == (1, {})


def test_an_output_that_is_not_finite_fails_the_case(trained, tmp_path):
    model = load_model(trained)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter.fill_(float("nan"))
    picture(tmp_path / "in" / "x.png", 1)
    result = predict_batch(model, tmp_path / "in", tmp_path / "out")
    assert "not finite" in result.failures["x"]
