"""A second stage from prediction folder to fused findings, on synthetic images."""

import csv
import json
import shutil

import numpy as np
import pytest

from medseg.cli.app import app
from medseg.cli.failures import run as run_command
from medseg.config import load_pipeline
from medseg.data.manifest import load_manifest
from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.errors import CheckpointError, ConfigError, OutputError
from medseg.experiment.second_stage import train_second_stage
from medseg.files import content_hash, read_json, write_json
from medseg.imaging import read
from medseg.inference.batch import predict_batch
from medseg.inference.model import WEIGHTS, load_model

SETTINGS = SecondStageSettings(
    sizes=(12, 24), n_voxels=12, network={"name": "crop_cnn", "filters": (4, 8)}, epochs=4, batch_size=8, shift=1
)


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """The run, that lists every peak of its maps, so that there are candidates without a lesion."""
    folder = tmp_path_factory.mktemp("second") / "run"
    shutil.copytree(trained, folder)
    text = (folder / "pipeline.yaml").read_text()
    for name, value in (("min_score", "1.0e-06"), ("min_voxels", "1")):
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{name}:"))
        text = text.replace(line, f"{line.partition(':')[0]}: {value}")
    (folder / "pipeline.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def out_of_fold(run, blobs, tmp_path_factory):
    """Predictions of the development part that say that they are out of fold."""
    folder = tmp_path_factory.mktemp("second") / "out_of_fold"
    predict_batch(load_model(run), blobs, folder, save=())
    write_json(folder / "predictions.json", read_json(folder / "predictions.json") | {"out_of_fold": True})
    return folder


@pytest.fixture(scope="module")
def judged(run, out_of_fold, blobs):
    before = load_model(run)
    command = ["train", "brain_infarct", "-d", str(blobs), "-o", str(run), "--second-stage", str(out_of_fold)]
    overrides = [f"second_stage={json.dumps(SETTINGS.model_dump(mode='json'))}"]
    assert run_command(app, [*command, *overrides]) == 0
    return before


def test_findings_carry_the_fused_score_and_both_that_it_is_made_of(run, judged, blobs, tmp_path):
    model = load_model(run)
    assert model.second_stage is not None
    assert model.digest != judged.digest
    predict_batch(model, blobs, tmp_path / "p", subset="test", save=())
    predict_batch(judged, blobs, tmp_path / "before", subset="test", save=())
    found = rows(tmp_path / "p" / "findings.csv")
    about = json.loads((tmp_path / "p" / "predictions.json").read_text())
    assert about["second_stage"] == model.second_stage.fusion.content()
    first, second, score = (np.array([float(f[n]) for f in found]) for n in ("score_first", "score_second", "score"))
    assert np.allclose(score, model.second_stage.fusion.apply(first, second))
    assert about["operating_point"] == model.operating_point == model.second_stage.operating_point
    assert [f["reported"] for f in found] == [str(int(s >= model.operating_point)) for s in score]
    before = rows(tmp_path / "before" / "findings.csv")
    assert "score_first" not in before[0], "without a second stage the table is as it was"
    key = lambda f, score: (f["case_id"], f["x"], f["y"], round(float(f[score]), 6))  # noqa: E731
    assert sorted(key(f, "score_first") for f in found) == sorted(key(f, "score") for f in before)
    for case in rows(tmp_path / "p" / "cases.csv"):
        own = [float(f["score"]) for f in found if f["case_id"] == case["case_id"]]
        assert own == sorted(own, reverse=True)
        assert float(case["score"]) == (own[0] if own else 0)
    again = predict_batch(model, blobs, tmp_path / "p", subset="test", save=(), resume=True)
    assert again.failures == {}
    assert rows(tmp_path / "p" / "findings.csv") == found, "a record that is read again keeps both scores"


def test_no_case_of_training_is_fused_and_none_of_the_test_part_is_used(run, judged, blobs):
    splits, about = judged.splits, json.loads((run / "second_stage" / "second_stage.json").read_text())
    names = [row["case_id"] for row in rows(run / "second_stage" / "validation" / "cases.csv")]
    assert {splits[name] for name in names} == {"val"}
    own = rows(run / "second_stage" / "validation" / "findings.csv")
    fusion = about["fusion"]
    assert fusion["n_positive"] + fusion["n_negative"] == len(own)
    training = about["training"]
    lesions = sum(c.label for c in load_manifest(blobs).cases if splits[c.case_id] == "train")
    assert training["n_positive"] + training["n_added"] >= lesions > 0


def test_in_memory_it_is_what_the_folder_says(run, judged, blobs, tmp_path):
    model = load_model(run)
    case = next(c for c in load_manifest(blobs).cases if model.splits[c.case_id] == "test")
    findings = model.predict(read(case.images[0])).findings
    predict_batch(model, blobs, tmp_path / "p", subset="test", save=())
    written = [f for f in rows(tmp_path / "p" / "findings.csv") if f["case_id"] == case.case_id]
    assert np.allclose([f.score for f in findings], [float(f["score"]) for f in written])


def test_a_second_stage_of_another_model_is_refused(run, judged, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    with (tmp_path / "run" / WEIGHTS).open("ab") as stream:
        stream.write(b"0")
    assert content_hash([tmp_path / "run" / WEIGHTS]) != content_hash([run / WEIGHTS])
    with pytest.raises(CheckpointError, match="another first stage"):
        load_model(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "second_stage")
    assert load_model(tmp_path / "run").second_stage is None


def test_candidates_of_training_images_and_a_second_training_are_refused(run, judged, out_of_fold, blobs, tmp_path):
    with pytest.raises(OutputError, match="already holds a second stage"):
        train_second_stage(SETTINGS, out_of_fold, blobs, run)
    shutil.copytree(out_of_fold, tmp_path / "p")
    about = read_json(tmp_path / "p" / "predictions.json")
    write_json(tmp_path / "p" / "predictions.json", about | {"out_of_fold": False})
    with pytest.raises(ConfigError, match="was trained on"):
        train_second_stage(SETTINGS, tmp_path / "p", blobs, run)


def test_a_pipeline_without_the_section_loads_with_the_defaults(trained):
    text = (trained / "pipeline.yaml").read_text()
    assert "second_stage:" in text
    assert load_pipeline("brain_infarct").second_stage == SecondStageSettings()
