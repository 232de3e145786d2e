"""Figures of each class, counted by hand; a partly read case is in those of the classes that were read."""

import numpy as np
import pytest
from PIL import Image

from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.evaluation import evaluate_predictions
from medseg.files import write_csv, write_json

CLASSES = ("mass", "effusion")
LABELS = {  # label_mass, label_effusion, score of each
    "a": ("1", "1", 0.9, 0.2),
    "b": ("0", "", 0.8, 0.3),  # partly read: not known whether it is normal
    "c": ("0", "0", 0.1, 0.4),
    "d": ("1", "-1", 0.7, 0.9),
}


@pytest.fixture
def folders(tmp_path):
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(tmp_path / "a.png")
    rows = "".join(f"{name},p{name},a.png,{mass},{effusion}\n" for name, (mass, effusion, *_) in LABELS.items())
    (tmp_path / "dataset.csv").write_text("case_id,patient_id,image,label_mass,label_effusion\n" + rows)
    folder, settings = tmp_path / "predictions", EvaluationSettings(n_replicates=10)
    write_json(folder / "predictions.json", {
        "complete": True, "detector": "classification", "localises": True, "multi_label": True, "classes": CLASSES,
        "pipeline": "p", "operating_point": 0.5, "evaluation": settings.model_dump(mode="json"),
    })  # fmt: skip
    cases = [{"case_id": name, "status": "ok", "score": max(values[2:])} for name, values in LABELS.items()]
    write_csv(folder / "cases.csv", ("case_id", "status", "score"), cases)
    write_csv(folder / "findings.csv", ("case_id", "x", "y", "z", "score"), [])
    scores = [
        {"case_id": name, "class": CLASSES[index], "score": values[2 + index]}
        for name, values in LABELS.items()
        for index in (0, 1)
    ]
    write_csv(folder / "class_scores.csv", ("case_id", "class", "score"), scores)
    return folder, tmp_path


def test_each_class_by_the_cases_of_which_it_is_known(folders):
    folder, data = folders
    result, failures = evaluate_predictions(folder, data, data / "evaluation")
    assert not failures
    mass, effusion = (result["case_level"]["by_class"][name] for name in CLASSES)
    assert (mass["n_positive"], mass["n_negative"], mass["n_unknown"]) == (2, 2, 0)
    assert mass["auc"]["value"] == 0.75  # 0.9 and 0.7 against 0.8 and 0.1
    assert (effusion["n_positive"], effusion["n_negative"], effusion["n_unknown"]) == (1, 1, 2)
    assert effusion["auc"]["value"] == 0  # 0.2 against 0.4
    # whole cases: a and d show something, c nothing, of b that is not known
    assert result["counts"]["n_cases"] == 3
    assert result["case_level"]["auc"]["value"] == 1
