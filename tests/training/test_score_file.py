"""Operating points and probabilities of a model, counted by hand, and those that a training stores."""

import csv
import json
import shutil

import numpy as np
import pytest

from medseg.cli.app import app
from medseg.cli.failures import run
from medseg.errors import CheckpointError, ConfigError
from medseg.evaluation.report import evidence_of_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.evaluation import evaluate_predictions
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model
from medseg.inference.score_calibration import read_score_calibration
from medseg.training.operating_points import case_points, lesion_points, threshold_at

QUICK = EvaluationSettings(n_replicates=50)


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_threshold_at_a_number_of_false_positives():
    false, found = [0.9, 0.6, 0.3], [0.95, 0.7, 0.2]
    # none allowed: the lesion at 0.95 only, half way to the false one at 0.9
    assert threshold_at(false, found, allowed=0, floor=0.01) == pytest.approx(0.925)
    # one allowed: also the lesion at 0.7
    assert threshold_at(false, found, allowed=1, floor=0.01) == pytest.approx(0.65)
    # two gain nothing, three allow everything
    assert threshold_at(false, found, allowed=2, floor=0.01) == pytest.approx(0.65)
    assert threshold_at(false, found, allowed=3, floor=0.01) == pytest.approx((0.2 + 0.01) / 2)
    assert threshold_at([0.5], [], allowed=0, floor=0.01) > 0.5


def test_points_by_false_positives_and_what_they_reach():
    cases = {"case_id": list("abcd"), "score": [0.95, 0.9, 0.6, 0.7]}
    marks = {"case_id": list("abcd"), "x": [0] * 4, "y": [0] * 4, "z": [0] * 4, "score": [0.95, 0.9, 0.6, 0.7]}
    lesions = {"case_id": ["a", "d"], "x": [0] * 2, "y": [0] * 2, "z": [0] * 2, "diameter_mm": [1] * 2}
    evidence = evidence_of_tables(cases, marks, lesions, settings=QUICK, pairs=[(0, 0), (3, 1)])
    points = {point["name"]: point for point in lesion_points(evidence, QUICK, floor=0.01)}
    assert list(points) == ["fp_0.125", "fp_0.25", "fp_0.5", "fp_1", "fp_2", "fp_4", "fp_8"]
    strict, loose = points["fp_0.125"], points["fp_0.25"]  # none, and one in four cases
    assert (strict["threshold"], loose["threshold"]) == (pytest.approx(0.925), pytest.approx(0.65))
    assert (strict["lesion_level"]["n_hits"], strict["lesion_level"]["n_false"]) == (1, 0)
    assert (loose["lesion_level"]["n_hits"], loose["lesion_level"]["n_false"]) == (2, 1)
    assert loose["lesion_level"]["sensitivity"]["value"] == 1
    assert loose["lesion_level"]["sensitivity"]["ci_low"] < 1
    assert (loose["n_cases"], loose["n_lesions"]) == (4, 2)


def test_points_by_sensitivity_and_specificity_of_cases():
    positive, negative = np.arange(1, 11) / 10 - 0.05, np.arange(1, 11) / 20  # 0.05 … 0.95 and 0.05 … 0.5
    cases = {
        "case_id": [str(n) for n in range(20)], "label": [1] * 10 + [0] * 10,
        "score": np.concatenate([positive, negative]).tolist(),
    }  # fmt: skip
    found = case_points(evidence_of_tables(cases, settings=QUICK), QUICK, floor=0.01)
    points = {point["name"]: point for point in found}
    eight = points["sensitivity_0.8"]  # the eighth positive from above has 0.25, the next score below is 0.2
    assert eight["threshold"] == pytest.approx(0.225)
    assert eight["case_level"]["true_positive"] == 8
    assert eight["case_level"]["false_positive"] == 6
    assert eight["case_level"]["sensitivity"]["value"] == pytest.approx(0.8)
    nine = points["specificity_0.9"]  # one negative (0.5) may be called; the lowest positive above 0.45 has 0.55
    assert nine["case_level"]["specificity"]["value"] >= 0.9
    assert nine["case_level"]["true_positive"] == 5
    # 0.95 of ten is all of them, and the lowest positive has the score of every case
    assert points["sensitivity_0.95"]["threshold"] == pytest.approx((0.05 + 0.01) / 2)
    nothing = case_points(
        evidence_of_tables(cases | {"score": [0.0] * 20}, settings=QUICK), QUICK, floor=0.01
    )  # fmt: skip
    assert nothing[0]["threshold"] is None
    assert nothing[0]["reason"] == "only by calling every case positive"


def test_a_training_stores_its_points_and_says_why_there_is_no_probability(trained):
    content = json.loads((trained / "calibration.json").read_text())
    assert (content["schema_version"], content["n_cases"]) == (1, 6)
    assert content["case"]["method"] is None
    assert "at least 10 of each" in content["case"]["reason"], "six cases are too few"
    model = load_model(trained)
    points = {point["name"]: point["threshold"] for point in content["operating_points"]}
    assert points["fp_0.5"] == model.operating_point, "the default point is that of operating_point_fp=0.5"
    assert load_model(trained, operating_point="fp_2").operating_point == points["fp_2"]
    with pytest.raises(ConfigError, match="--operating-point best: the model .* has no such point; it has fp_0.125"):
        load_model(trained, operating_point="best")


@pytest.fixture
def calibrated_run(trained, tmp_path):
    """The trained run with probabilities by hand: the square of the odds for candidates, steps for cases."""
    path = shutil.copytree(trained, tmp_path / "run")
    content = json.loads((path / "calibration.json").read_text())
    content["candidate"] = {"method": "platt", "slope": 2.0, "intercept": 0.0, "lowest": 1e-6}
    content["case"] = {"method": "isotonic", "scores": [0.2, 0.8], "probabilities": [0.1, 0.7]}
    content["operating_points"].append({"name": "high", "threshold": 0.9})
    (path / "calibration.json").write_text(json.dumps(content))
    return path


def test_probabilities_and_points_in_the_tables_and_the_evaluation(calibrated_run, blobs, tmp_path):
    out = tmp_path / "p"
    arguments = ["-m", calibrated_run, "-i", blobs, "-o", out, "--save", "mask", "--operating-point", "high"]
    assert run(app, ["predict", *map(str, arguments)]) == 0
    findings, cases = rows(out / "findings.csv"), rows(out / "cases.csv")
    for row in findings:
        odds = (float(row["score"]) / (1 - float(row["score"]))) ** 2
        assert float(row["probability"]) == pytest.approx(odds / (1 + odds), rel=1e-4)
        assert row["reported"] == str(int(float(row["score"]) >= 0.9))
    for row in cases:
        expected = np.clip(0.1 + (float(row["score"]) - 0.2), 0.1, 0.7)
        assert float(row["probability"]) == pytest.approx(expected, abs=1e-5)
    assert len({row["reported"] for row in findings}) == 2
    figures, _ = evaluate_predictions(out, blobs, tmp_path / "e", overrides=["n_replicates=50"])
    assert figures["calibration"]["case"]["n"] == 30
    assert figures["calibration"]["case"]["n_positive"] == 15
    assert figures["calibration"]["candidate"]["n"] == len(findings)
    truth = np.array([int(row["case_id"][1:]) % 2 for row in cases])
    brier = np.mean((np.array([float(row["probability"]) for row in cases]) - truth) ** 2)
    assert figures["calibration"]["case"]["brier"]["value"] == pytest.approx(brier)
    plots = {path.stem for path in (tmp_path / "e" / "plots").glob("*.svg")}
    assert {"calibration_case_probability", "calibration_candidate_probability"} <= plots
    assert run(app, ["predict", *map(str, arguments), "--threshold", "0.5"]) == 2


def test_runs_and_predictions_from_before_still_work(trained, blobs, tmp_path):
    old = shutil.copytree(trained, tmp_path / "run")
    (old / "calibration.json").unlink()
    with pytest.raises(ConfigError, match="it has none"):
        load_model(old, operating_point="fp_1")
    predict_batch(load_model(old), blobs, tmp_path / "p", save=())
    assert {row["probability"] for row in rows(tmp_path / "p" / "cases.csv")} == {""}
    for name, n_new in (("cases.csv", 2), ("findings.csv", 2)):  # the tables as they were
        path = tmp_path / "p" / name
        table = [row[:-n_new] for row in csv.reader(path.open())]
        assert not {"probability", "score_sd"} & set(table[0])
        path.write_text("\n".join(map(",".join, table)) + "\n")
    figures, _ = evaluate_predictions(tmp_path / "p", blobs, tmp_path / "e", overrides=["n_replicates=0"])
    assert "calibration" not in figures
    assert figures["counts"]["n_cases"] == 30


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema_version": 2}, "of version 2, expected 1"),
        ({"case": {"method": "magic"}}, "damaged"),
        ({"candidate": {"method": "isotonic", "scores": [0.1], "probabilities": []}}, "damaged"),
    ],
)
def test_a_damaged_file_is_refused(trained, tmp_path, change, says):
    content = json.loads((trained / "calibration.json").read_text()) | change
    (tmp_path / "calibration.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match=says):
        read_score_calibration(tmp_path)
