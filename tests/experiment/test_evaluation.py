"""Evaluating prediction folders: what failed counts against the model."""

import json
import shutil

import pytest

from medseg.errors import OutputError
from medseg.experiment.evaluation import evaluate_predictions
from medseg.inference.batch import predict_batch
from medseg.inference.model import load_model

SAVE = ("mask", "probability")


@pytest.fixture
def data(blobs, tmp_path):
    shutil.copytree(blobs, tmp_path / "data", ignore=shutil.ignore_patterns("cache"))
    return tmp_path / "data"


def test_a_case_whose_image_is_damaged_keeps_its_lesion_as_missed(trained, data, tmp_path):
    image = data / "image" / "c01.png"
    image.write_bytes(image.read_bytes()[:300])
    result = predict_batch(load_model(trained), data, tmp_path / "p", save=SAVE)
    assert list(result.failures) == ["c01"]
    figures, failures = evaluate_predictions(tmp_path / "p", data, tmp_path / "e")
    assert failures == {}
    assert (figures["counts"]["n_cases"], figures["counts"]["n_failed"]) == (30, 1)
    assert (figures["counts"]["n_positive"], figures["counts"]["n_lesions"]) == (15, 15)
    assert figures["lesion_level"]["froc"]["sensitivity"][-1]["value"] <= 14 / 15 + 1e-12
    assert figures["pixel_level"]["n_dice"] == 15


def test_a_damaged_map_takes_its_case_out_of_every_figure_and_says_so(trained, data, tmp_path):
    predict_batch(load_model(trained), data, tmp_path / "p", save=SAVE)
    (tmp_path / "p" / "cases" / "c01" / "mask.nii.gz").write_text("no mask")
    figures, failures = evaluate_predictions(tmp_path / "p", data, tmp_path / "e")
    assert list(failures) == ["c01"]
    assert (figures["counts"]["n_cases"], figures["counts"]["n_lesions"]) == (29, 14)
    assert figures["pixel_level"]["n_dice"] == 14


def test_training_cases_are_flagged_whatever_the_patients_are_called(trained, data, tmp_path):
    """The run knows the names of its cases, even where another manifest has other pseudonyms for the patients."""
    manifest = data / "dataset.csv"
    rows = manifest.read_text().splitlines()
    place = rows[0].split(",").index("patient_id")
    cells = [row.split(",") for row in rows[1:]]
    for row in cells:
        row[place] = f"other{row[place]}"
    manifest.write_text("\n".join([rows[0], *map(",".join, cells)]) + "\n")
    predict_batch(load_model(trained), data, tmp_path / "p", subset="train", save=())
    figures, _ = evaluate_predictions(tmp_path / "p", data, tmp_path / "e")
    assert figures["counts"]["n_training"] == figures["counts"]["n_cases"] > 0
    assert "do not estimate performance" in figures["warning"]


def test_an_unfinished_or_damaged_folder_is_refused(trained, data, tmp_path):
    predict_batch(load_model(trained), data, tmp_path / "p", subset="test", save=())
    stamp = tmp_path / "p" / "predictions.json"
    about = json.loads(stamp.read_text())
    for text, says in (
        (json.dumps({**about, "complete": False}), "not a complete"),
        ("{", "damaged"),
        ("[]", "object"),
    ):
        stamp.write_text(text)
        with pytest.raises(OutputError, match=says):
            evaluate_predictions(tmp_path / "p", data, tmp_path / "e")


def test_simulated_data_says_so_in_every_evaluation(trained, data, tmp_path):
    from medseg.experiment.summary import summary_lines

    (data / "about.json").write_text(json.dumps({"notice": "Simulated data.", "citation": ""}))
    predict_batch(load_model(trained), data, tmp_path / "p", subset="test", save=())
    figures, _ = evaluate_predictions(tmp_path / "p", data, tmp_path / "e")
    assert "NOTE: Simulated data." in list(summary_lines(figures))
