"""Images that a model is not for: no score, no findings, nothing drawn, no figure, and the batch goes on."""

import csv
import json
import logging
import shutil

import pytest
import yaml
from dicom_series import write_series

from medseg.cli.app import app
from medseg.cli.failures import run
from medseg.data.manifest import load_manifest, write_manifest
from medseg.errors import ImageError, ManifestError, TableError
from medseg.evaluation.report import evaluate_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.evaluation import evaluate_predictions
from medseg.experiment.summary import summary_lines
from medseg.imaging import read
from medseg.imaging.slabs import open_slabs
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def model_for(trained, **stated):
    model = load_model(trained)
    model.pipeline = model.pipeline.model_copy(update={"input": model.pipeline.input.model_copy(update=stated)})
    return model


@pytest.fixture
def with_views(blobs, tmp_path):
    """The data set with the views and ages of its first cases stated."""
    shutil.copytree(blobs, tmp_path / "data", ignore=shutil.ignore_patterns("cache"))
    stated = {"c00": "PA", "c01": "LL", "c02": "RL"}
    lines = (tmp_path / "data" / "dataset.csv").read_text().splitlines()
    columns = lines[0].split(",")
    for number, line in enumerate(lines[1:], start=1):
        cells = line.split(",")
        cells[columns.index("view")] = stated.get(cells[0], "")
        lines[number] = ",".join(cells)
    (tmp_path / "data" / "dataset.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "data"


def test_views_of_the_manifest_and_what_is_unknown(trained, with_views, tmp_path, caplog):
    caplog.set_level(logging.INFO, "medseg")
    result = predict_batch(model_for(trained, view=("PA",)), with_views, tmp_path / "p", save=("mask", "overlay"))
    reason = "the model is for PA"
    assert result.out_of_scope == {"c01": f"view LL, {reason}", "c02": f"view RL, {reason}"}
    assert result.failures == {}
    table = {row["case_id"]: row for row in rows(tmp_path / "p" / "cases.csv")}
    assert (table["c01"]["status"], table["c01"]["score"], table["c01"]["n_findings"]) == ("out_of_scope", "", "")
    assert table["c00"]["status"] == table["c03"]["status"] == "ok"
    assert not {"c01", "c02"} & {row["case_id"] for row in rows(tmp_path / "p" / "findings.csv")}
    assert [file.name for file in (tmp_path / "p" / "cases" / "c01").iterdir()] == ["case.json"]
    about = json.loads((tmp_path / "p" / "predictions.json").read_text())
    assert (about["n_out_of_scope"], about["unknown_facts"]) == (2, {"view": 27})
    assert caplog.text.count("view unknown in 27 of 30 case(s)") == 1


def test_the_evaluation_leaves_them_out_and_says_so(trained, with_views, tmp_path):
    predict_batch(model_for(trained, view=("PA",)), with_views, tmp_path / "p", save=())
    figures, failures = evaluate_predictions(tmp_path / "p", with_views, tmp_path / "e")
    counts = figures["counts"]
    # of 30 cases every second has a lesion; c01 has one, c02 has none
    assert (counts["n_cases"], counts["n_out_of_scope"], counts["n_failed"]) == (28, 2, 0)
    assert (counts["n_positive"], counts["n_lesions"]) == (14, 14)
    assert failures == {}
    assert any("2 case(s) out of the model's scope" in line for line in summary_lines(figures))


def test_all_out_of_scope_is_an_error_that_names_the_reason(trained, with_views, tmp_path, capsys):
    write_manifest(with_views / "lateral.csv", load_manifest(with_views).cases[1:3])
    run_of_pa = tmp_path / "run"
    shutil.copytree(trained, run_of_pa)
    pipeline = yaml.safe_load((run_of_pa / "pipeline.yaml").read_text())
    pipeline["input"]["view"] = ["PA"]
    (run_of_pa / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))

    def predict(source, output):
        return run(app, ["predict", "-m", str(run_of_pa), "-i", str(source), "-o", str(output), "--save", "mask"])

    assert predict(with_views / "lateral.csv", tmp_path / "none") == 2
    assert "all 2 case(s) are out of the model's scope, nothing was predicted; case c01: view LL" in (
        capsys.readouterr().err
    )
    with pytest.raises(ManifestError, match="all 2 are out of the model's scope"):
        evaluate_predictions(tmp_path / "none", with_views, tmp_path / "e")
    assert predict(with_views / "dataset.csv", tmp_path / "some") == 0
    assert "2 case(s) out of scope" in capsys.readouterr().out


def test_facts_of_dicom_headers(trained, tmp_path):
    write_series(tmp_path / "in", patient_id="1", BodyPartExamined="ABDOMEN", PatientAge="012Y")
    volume = read(tmp_path / "in")
    with open_slabs(tmp_path / "in") as slabs:
        for image in (volume, slabs):
            assert (image.modality, image.body_part, image.patient_age) == ("CT", "ABDOMEN", "012Y")
            for stated, reason in (
                ({"body_part": ("CHEST",)}, "body part ABDOMEN, the model is for CHEST"),
                ({"body_part": ("LIVER",), "age": (18, 99)}, "age below 18 years, the model is for 18 to 99 years"),
                ({"body_part": ("LIVER",), "age": (2, 17)}, ""),
            ):
                assert model_for(trained, modality=("CT",), **stated).out_of_scope(image) == reason
    with pytest.raises(ImageError, match="out of scope: body part ABDOMEN"):
        model_for(trained, modality=("CT",), body_part=("CHEST",)).predict(volume)


def test_what_does_not_fit_the_network_either_is_out_of_scope_and_not_failed(trained, tmp_path):
    write_series(tmp_path / "in", patient_id="1")
    two_channels = {"channels": 2, "modality": ("MR",)}
    result = predict_batch(model_for(trained, **two_channels), tmp_path / "in", tmp_path / "p")
    assert (list(result.failures), list(result.out_of_scope.values())) == ([], ["modality CT, the model is for MR"])


def test_tables_from_elsewhere_leave_them_out_too():
    cases = {
        "case_id": list("abcdef"), "label": [1, 0, 1, 0, 1, 0], "score": [0.9, 0.2, 0.8, 0.3, "", ""],
        "status": ["ok", "ok", "ok", "ok", "out_of_scope", "failed"],
    }  # fmt: skip
    counts = evaluate_tables(cases, settings=EvaluationSettings(n_replicates=0))["counts"]
    assert (counts["n_cases"], counts["n_positive"], counts["n_failed"], counts["n_out_of_scope"]) == (5, 2, 1, 1)
    with pytest.raises(TableError, match="all are out of scope"):
        evaluate_tables(cases | {"status": ["out_of_scope"] * 6}, settings=EvaluationSettings(n_replicates=0))
