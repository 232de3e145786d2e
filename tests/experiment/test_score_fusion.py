"""A detector and a classifier fused: noise of the one is what the other knows."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from scipy.special import expit

from medseg.cli.app import app
from medseg.cli.failures import run
from medseg.data.manifest import Case, load_manifest, write_manifest
from medseg.errors import ConfigError
from medseg.evaluation import roc_auc
from medseg.experiment.evaluation import evaluate_predictions
from medseg.experiment.score_fusion import fuse_predictions
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder
from medseg.lesion import Finding

N = 120
ABOUT = {
    "model_sha256": "x", "evaluation": {"n_replicates": 50}, "detector": "segmentation", "pipeline": "x",
    "operating_point": 0.5, "settings": {"inference": {"operating_point_fp": 0.5}},
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Every second case has a square at (10, 10)."""
    folder = tmp_path_factory.mktemp("data")
    mask = np.zeros((2, 24, 24), np.uint8)
    mask[1, 8:13, 8:13] = 255
    for kind, values in (("image", mask[1]), ("none", mask[0]), ("lesion", mask[1])):
        Image.fromarray(values).save(folder / f"{kind}.png")
    cases = [
        Case(
            case_id=f"c{n:03d}", patient_id=f"p{n:03d}", images=(str(folder / "image.png"),), modality="MR",
            mask=folder / ("lesion.png" if n % 2 else "none.png"),
        )
        for n in range(N)
    ]  # fmt: skip
    write_manifest(folder / "dataset.csv", cases)
    return folder


def finding(x, score):
    return Finding(x, 10.0, 0.0, "px", 5.0, 20.0, score, "lesion", (x - 2, 8.0, 0.0, x + 3, 13.0, 1.0))


def write(folder, seed, *, finds, training=(), failed=()):
    """A mark on the square of each case and one beside it (where the model finds any), with noisy scores."""
    random, records = np.random.default_rng(seed), []
    predictions = PredictionFolder(folder, ABOUT | {"localises": finds}, resume=False)
    for n in range(N):
        shows = n % 2
        findings = [finding(10.0 if shows else 4.0, float(expit(1.5 * shows + random.normal())))] if finds else []
        findings += [finding(20.0, float(expit(random.normal() - 1)))] if finds else []
        findings.sort(key=lambda one: -one.score)
        score = findings[0].score if finds else float(expit(2.0 * shows - 1 + random.normal()))
        record = CaseRecord(case_id=f"c{n:03d}", patient_id=f"p{n:03d}", findings=findings, score=score)
        record.training_case = n in training
        if n in failed:
            record = CaseRecord(case_id=record.case_id, patient_id=record.patient_id, status="failed", error="broken")
        predictions.add(record)
        records.append(record)
    predictions.finish(records)
    return folder


@pytest.fixture
def folders(tmp_path):
    return [
        write(tmp_path / name, seed, finds=name[0] == "a") for seed, name in enumerate(("a", "b", "a_val", "b_val"))
    ]


def table(folder, name):
    with (folder / name).open() as stream:
        return list(csv.DictReader(stream))


def test_the_fused_scores_rank_cases_better_than_either_and_keep_the_findings(folders, data, tmp_path):
    first, second, *fit = folders
    command = ["fuse", str(first), str(second), "-d", str(data), "--fit", *map(str, fit), "-o", str(tmp_path / "f")]
    assert run(app, command) == 0
    truth = np.arange(N) % 2
    areas = [
        roc_auc(truth, [float(row["score"]) for row in table(f, "cases.csv")]) for f in (tmp_path / "f", first, second)
    ]
    assert areas[0] > max(areas[1:]) + 0.02
    before, after = table(first, "findings.csv"), table(tmp_path / "f", "findings.csv")
    where = ("case_id", "x", "y")
    assert sorted([row[n] for n in where] for row in before) == sorted([row[n] for n in where] for row in after)
    other = {row["case_id"]: row["score"] for row in table(second, "cases.csv")}
    assert all(row["score_second"] == other[row["case_id"]] for row in after)
    result, _ = evaluate_predictions(tmp_path / "f", data, tmp_path / "e")
    assert result["case_level"]["auc"]["value"] == pytest.approx(areas[0])
    about = json.loads((tmp_path / "f" / "predictions.json").read_text())
    false = [float(r["score"]) for r in after if float(r["x"]) != 10 and float(r["score"]) >= about["operating_point"]]
    assert 0.3 < len(false) / N < 0.7, "chosen on validation for 0.5 a case"


def test_a_case_that_one_model_could_not_predict_has_failed(folders, data, tmp_path):
    first, _, *fit = folders
    second = write(tmp_path / "broken", 9, finds=False, failed={3})
    fused = fuse_predictions(first, second, data, tmp_path / "f", fit=tuple(fit))
    row = table(fused, "cases.csv")[3]
    assert (row["case_id"], row["status"], row["error"], row["score"]) == ("c003", "failed", "broken", "")
    assert all(one["case_id"] != "c003" for one in table(fused, "findings.csv"))


def test_folders_that_do_not_fit_are_refused(folders, data, tmp_path):
    first, second, *fit = folders
    with pytest.raises(ConfigError, match="has no findings"):
        fuse_predictions(second, first, data, tmp_path / "f", fit=tuple(fit))
    seen = write(tmp_path / "seen", 5, finds=False, training={0})
    with pytest.raises(ConfigError, match="was trained on case c000"):
        fuse_predictions(first, second, data, tmp_path / "f", fit=(fit[0], seen))
    few = PredictionFolder(tmp_path / "few", ABOUT | {"localises": False}, resume=False)
    few.finish([])
    with pytest.raises(ConfigError, match="do not have the same cases: 120"):
        fuse_predictions(first, tmp_path / "few", data, tmp_path / "f", fit=tuple(fit))
    assert not (tmp_path / "f").exists()
    assert len(load_manifest(data).cases) == N
