"""Out-of-fold predictions, the folds' ensemble, and what is chosen on them."""

import csv
import json

import numpy as np
import pytest
from blobs import OVERRIDES

import medseg
from medseg.cli.app import app
from medseg.cli.failures import run
from medseg.data.manifest import load_manifest
from medseg.data.preprocess import prepare_image
from medseg.errors import CheckpointError, ConfigError
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.cross_validation import cross_validate
from medseg.experiment.evaluation import evaluate_predictions
from medseg.experiment.fold_figures import fold_figures
from medseg.files import read_json, write_json
from medseg.inference.model import load_model
from medseg.inference.predict import predict

OPTIONS = (*OVERRIDES, "split.folds=3", "training.max_steps=20", "training.validate_every_epochs=100")


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def validated(blobs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cv") / "cv"
    return cross_validate("brain_infarct", blobs, folder, overrides=OPTIONS, save=("mask",)).path


@pytest.fixture(scope="module")
def image(blobs):
    return medseg.read(load_manifest(blobs).cases[1].images[0])


def test_each_development_case_is_predicted_once_by_the_fold_that_has_not_seen_it(validated, blobs):
    parts = [read_json(validated / f"fold_{number}" / "splits.json")["cases"] for number in range(3)]
    table = rows(validated / "out_of_fold" / "cases.csv")
    names = [row["case_id"] for row in table]
    assert names == sorted(name for name, part in parts[0].items() if part != "test")
    for row in table:
        assert parts[int(row["fold"])][row["case_id"]] == "val"
        assert (row["status"], row["training_case"]) == ("ok", "0")
    about = read_json(validated / "out_of_fold" / "predictions.json")
    content = read_json(validated / "cross_validation.json")
    assert about["complete"]
    assert about["operating_point"] == content["calibration"]["operating_point"]
    assert (validated / "out_of_fold" / "cases" / names[0] / "mask.nii.gz").is_file()
    alone = load_model(validated / "fold_1")
    mine = next(row for row in table if row["fold"] == "1" and float(row["score"]) > 0.05)
    seen = next(case for case in load_manifest(blobs).cases if case.case_id == mine["case_id"])
    found = alone.predict(medseg.read(seen.images[0]))
    assert float(mine["score"]) == pytest.approx(found.score, abs=1e-6)


def test_out_of_fold_predictions_are_evaluated_and_shown_by_fold(validated, blobs, tmp_path, capsys):
    assert run(app, ["evaluate", "-p", str(validated / "out_of_fold"), "-d", str(blobs), "-o", str(tmp_path)]) == 0
    result = read_json(tmp_path / "evaluation.json")
    assert result["counts"]["n_training"] == result["counts"]["n_training_unknown"] == 0
    assert "warning" not in result
    folds = result["cross_validation"]
    assert folds["n_folds"] == 3
    assert set(folds["figures"]) == {"auc", "cpm", "froc_partial_area", "dice"}
    for figure in folds["figures"].values():
        assert figure["value"] == pytest.approx(np.mean(list(figure["by_fold"].values())))
    assert "CPM, mean of 3 folds" in capsys.readouterr().out


def test_the_mean_of_folds_is_not_the_pooled_figure():
    """Each fold ranks its two cases rightly; pooled, the first fold's negative outranks the second's positive."""
    label, score = np.array([0.0, 1, 0, 1]), np.array([0.8, 0.9, 0.1, 0.2])
    names = np.array(list("abcd"))
    table = {"case_id": names, "patient_id": names, "localised": np.zeros(4, bool)}
    folds = dict(zip("abcd", "0011"))
    figures = fold_figures(Evidence(table, label, score, None), folds, EvaluationSettings(n_replicates=20))["figures"]
    assert list(figures) == ["auc"]
    assert figures["auc"]["by_fold"] == {"0": 1.0, "1": 1.0}
    assert figures["auc"]["value"] == 1.0
    one_class = fold_figures(
        Evidence(table, np.array([0.0, 1, 1, 1]), score, None), folds, EvaluationSettings(n_replicates=20)
    )
    assert one_class["figures"]["auc"]["value"] is None


def test_the_ensembles_map_is_the_mean_of_the_folds_maps(validated, image):
    ensemble = medseg.load_model(validated)
    members = [load_model(validated / f"fold_{number}") for number in range(3)]
    prepared = prepare_image(image, ensemble.pipeline.input, spacing=ensemble.plan.spacing_mm)
    expected = np.mean([member.maps(prepared) for member in members], axis=0)
    np.testing.assert_allclose(ensemble.maps(prepared), expected, atol=1e-6)
    assert np.abs(members[0].maps(prepared) - expected).max() > 1e-3
    found = ensemble.predict(image)
    np.testing.assert_array_equal(found.mask, found.probability >= ensemble.mask_threshold)
    content = read_json(validated / "cross_validation.json")
    assert ensemble.operating_point == found.operating_point == content["calibration"]["operating_point"]
    assert len({ensemble.digest, *(member.digest for member in members)}) == 4


@pytest.mark.slow
def test_an_ensemble_in_slabs_is_that_of_one_device(validated, blobs, tmp_path):
    whole = predict(validated, blobs, tmp_path / "whole", subset="test", save=("mask",))
    predict(validated, blobs, tmp_path / "slabs", subset="test", save=("mask",), slabs=2)
    assert whole.failures == {}
    a, b = rows(tmp_path / "whole" / "cases.csv"), rows(tmp_path / "slabs" / "cases.csv")
    tested = [n for n, part in read_json(validated / "fold_0" / "splits.json")["cases"].items() if part == "test"]
    assert [row["case_id"] for row in a] == tested
    assert {row["training_case"] for row in a} == {"0"}
    for one, other in zip(a, b):
        assert float(one["score"]) == pytest.approx(float(other["score"]), abs=1e-5)
    everything = predict(validated, blobs, tmp_path / "all", save=())
    flagged = {row["case_id"] for row in rows(everything.path / "cases.csv") if row["training_case"] == "1"}
    assert flagged == {row["case_id"] for row in rows(validated / "out_of_fold" / "cases.csv")}


@pytest.mark.slow
def test_an_ensemble_over_two_processes_is_that_of_one(validated, blobs, tmp_path):
    predict(validated, blobs, tmp_path / "one", subset="test", save=())
    predict(validated, blobs, tmp_path / "two", subset="test", save=(), space=2)
    a, b = rows(tmp_path / "one" / "cases.csv"), rows(tmp_path / "two" / "cases.csv")
    for one, other in zip(a, b):
        assert float(one["score"]) == pytest.approx(float(other["score"]), abs=1e-5)


def test_an_unfinished_cross_validation_is_no_model(validated, tmp_path):
    content = read_json(validated / "cross_validation.json")
    half = tmp_path / "half"
    half.mkdir()
    content["folds"][1]["state"] = "waiting"
    write_json(half / "cross_validation.json", content)
    with pytest.raises(CheckpointError, match="fold 1 is waiting; finish it with"):
        load_model(half)
    with pytest.raises(ConfigError, match="--save seg: not for out-of-fold cases"):
        cross_validate("brain_infarct", half, half, save=("seg",))


def test_resumed_when_all_is_done_it_says_the_same(validated, blobs):
    before = json.loads((validated / "cross_validation.json").read_text())
    kept = {p: p.stat().st_mtime_ns for p in (validated / "out_of_fold").glob("cases/*/case.json")}
    again = cross_validate("brain_infarct", blobs, validated, overrides=OPTIONS, resume=True, save=("mask",))
    assert json.loads((again.path / "cross_validation.json").read_text()) == before
    assert {p: p.stat().st_mtime_ns for p in (validated / "out_of_fold").glob("cases/*/case.json")} == kept


def test_a_classifiers_ensemble_averages_probabilities(tmp_path):
    from squares import make_squares

    data = make_squares(tmp_path / "data", n_cases=12, side=32, square=12)
    options = (
        "network={name: small_cnn, filters: [4], hidden: []}", "classes=[none, square]",
        "detector.multi_label=false", "detector.activation_map=none", "input.size=32", "split.folds=2",
        "training.max_steps=2", "training.batch_size=4", "training.validate_every_minutes=null",
        "training.workers=0", "training.tensorboard=false", "training.deterministic=true",
    )  # fmt: skip
    folder = cross_validate("chest_xray_classify", data, tmp_path / "cv", overrides=options).path
    ensemble, members = load_model(folder), [load_model(folder / f"fold_{number}") for number in (0, 1)]
    image = medseg.read(load_manifest(data).cases[0].images[0])
    expected = np.mean([member.predict(image).class_probabilities for member in members], axis=0)
    np.testing.assert_allclose(ensemble.predict(image).class_probabilities, expected, atol=1e-6)
    result, _ = evaluate_predictions(folder / "out_of_fold", data, tmp_path / "evaluation")
    assert list(result["cross_validation"]["figures"]) == ["auc"]


def test_the_ensemble_has_the_operating_points_of_all_folds_and_its_spread_counts_members(validated, image):
    points = {p["name"]: p["threshold"] for p in read_json(validated / "calibration.json")["operating_points"]}
    name = next(name for name, threshold in points.items() if name.startswith("fp_") and threshold is not None)
    ensemble = load_model(validated, operating_point=name)
    assert ensemble.operating_point == points[name]
    with pytest.raises(ConfigError, match="fp_999"):
        load_model(validated, operating_point="fp_999")
    prediction = ensemble.predict(image)
    prepared = prepare_image(image, ensemble.pipeline.input, spacing=ensemble.plan.spacing_mm)
    tops = [member.maps(prepared)[0].max() for member in ensemble.members]  # one pass a member: no mirror images
    assert prediction.score_sd == pytest.approx(np.std(tops, ddof=1), abs=1e-6)
    assert prediction.uncertainty is not None
