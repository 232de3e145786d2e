"""Candidates as training data: hits, false positives and missed lesions that can be counted by hand."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from medseg.data.manifest import Case, load_manifest, write_manifest
from medseg.errors import ConfigError
from medseg.experiment.candidates import IGNORED, NEGATIVE, POSITIVE, read_candidates
from medseg.experiment.evaluation import evaluate_predictions
from medseg.files import write_csv, write_json
from medseg.lesion import FINDING_COLUMNS


def write_data(folder):
    """Case a: squares at (10, 10) and (30, 30); case b: no lesion; case c: unlabelled."""
    cases = []
    for name in "abc":
        mask = np.zeros((40, 40), np.uint8)
        if name == "a":
            mask[8:13, 8:13] = mask[28:33, 28:33] = 255
        for kind, values in (("image", np.random.default_rng(0).integers(1, 255, (40, 40), np.uint8)), ("mask", mask)):
            Image.fromarray(values).save(folder / f"{name}_{kind}.png")
        cases.append(
            Case(
                case_id=name, patient_id=f"p{name}", images=(str(folder / f"{name}_image.png"),), modality="DX",
                mask=None if name == "c" else folder / f"{name}_mask.png",
            )
        )  # fmt: skip
    write_manifest(folder / "dataset.csv", cases)
    return load_manifest(folder)


def write_predictions(folder, places, *, training=(), **about):
    names = "abc"
    write_json(
        folder / "predictions.json",
        {"complete": True, "evaluation": {}, "detector": "segmentation", "pipeline": "x", "operating_point": 0.5}
        | about,
    )
    rows = [
        {"case_id": n, "patient_id": f"p{n}", "status": "ok", "score": 0.5, "training_case": int(n in training)}
        for n in names
    ]
    write_csv(folder / "cases.csv", ("case_id", "patient_id", "status", "score", "training_case"), rows)
    marks = [
        {"case_id": n, "finding_id": i, "x": x, "y": y, "z": 0, "unit": "px", "score": s, "class": "lesion"}
        for i, (n, x, y, s) in enumerate(places, start=1)
    ]
    write_csv(folder / "findings.csv", FINDING_COLUMNS, marks)
    return folder


PLACES = [("a", 10, 10, 0.9), ("a", 12, 9, 0.3), ("a", 20, 20, 0.4), ("b", 5, 5, 0.2), ("c", 10, 10, 0.8)]


def test_candidates_are_matched_as_in_the_evaluation_and_missed_lesions_are_added(tmp_path):
    manifest = write_data(tmp_path)
    found = read_candidates(write_predictions(tmp_path / "p", PLACES), manifest)
    assert found.rule == "inside"
    assert found.case_ids == ("a", "b"), "unlabelled cases have no negatives"
    own = [(c.case_id, c.x, c.y, c.outcome) for c in found.candidates if not c.added]
    assert own == [("a", 10, 10, POSITIVE), ("a", 12, 9, POSITIVE), ("a", 20, 20, NEGATIVE), ("b", 5, 5, NEGATIVE)]
    (missed,) = [c for c in found.candidates if c.added]
    assert (missed.case_id, missed.x, missed.y, missed.outcome) == ("a", 30, 30, POSITIVE)
    assert math.isnan(missed.score)
    result, _ = evaluate_predictions(tmp_path / "p", tmp_path, tmp_path / "e")
    assert result["counts"]["n_lesions_marked"] == len({c.lesion for c in found.candidates if not c.added} - {-1}) == 1
    assert result["counts"]["n_false_marks"] == sum(c.outcome == NEGATIVE for c in found.candidates) == 2
    lesions, false = found.best_scores(np.array([c.score for c in found.candidates]), {"a"})
    assert (lesions.tolist(), false.tolist()) == ([0.9], [0.4])


def test_marks_on_ignored_lesions_alone_are_ignored(tmp_path):
    write_data(tmp_path)
    columns = ("case_id", "x", "y", "z", "diameter_px", "ignore")
    rows = [("a", 10, 10, 0, 6, 1), ("a", 13, 10, 0, 8, 0), ("a", 30, 30, 0, 6, 1)]
    write_csv(tmp_path / "points.csv", columns, [dict(zip(columns, row)) for row in rows])
    manifest = tmp_path / "dataset.csv"
    cases = load_manifest(tmp_path).cases
    points = Case(case_id="a", patient_id="pa", images=cases[0].images, points=tmp_path / "points.csv", modality="DX")
    write_manifest(manifest, [points, *cases[1:]])
    places = [("a", 11, 10, 0.9), ("a", 30, 30, 0.8), ("a", 20, 20, 0.7), ("b", 5, 5, 0.2), ("c", 1, 1, 0.1)]
    found = read_candidates(write_predictions(tmp_path / "p", places), load_manifest(tmp_path))
    assert found.rule == "distance"
    assert [c.outcome for c in found.candidates] == [POSITIVE, IGNORED, NEGATIVE, NEGATIVE]


def test_candidates_of_training_patients_are_refused_unless_they_are_out_of_fold(tmp_path):
    manifest = write_data(tmp_path)
    folder = write_predictions(tmp_path / "p", PLACES, training="b")
    with pytest.raises(ConfigError, match="trained on 1 of the 3 cases"):
        read_candidates(folder, manifest)
    about = json.loads((folder / "predictions.json").read_text())
    write_json(folder / "predictions.json", about | {"out_of_fold": True})
    assert len(read_candidates(folder, manifest).candidates) == 5
