"""Two classes of lesions from masks with one value a class to findings and figures of each class."""

import csv

import numpy as np
import pytest
import torch
from blobs import OVERRIDES
from PIL import Image
from two_classes import make_two_classes

from medseg.experiment.evaluation import evaluate_predictions
from medseg.inference.model import load_model
from medseg.inference.predict import predict
from medseg.training.train import train

KINDS = {
    "exclusive": ("detector.exclusive=true",),
    "sigmoids": (),
    "heat maps": ("detector={kind: heatmap}",),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_two_classes(tmp_path_factory.mktemp("two_classes"))


@pytest.mark.parametrize(
    "kind", ["exclusive", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("sigmoids", "heat maps"))]
)
def test_findings_have_the_class_of_what_is_there(kind, data, tmp_path):
    options = (
        *OVERRIDES,
        "evaluation.n_replicates=20",
        "training.max_steps=80",
        "classes=[disc, square]",
        "augmentation.enabled=false",
        *KINDS[kind],
    )
    run = train("brain_infarct", data, tmp_path / "run", overrides=options)
    predict(run, data, tmp_path / "predictions", subset="test", save=[])
    with (tmp_path / "predictions" / "findings.csv").open() as stream:
        findings = [row for row in csv.DictReader(stream) if row["reported"] == "1"]
    assert {row["class"] for row in findings} == {"disc", "square"}
    right = []
    for row in findings:
        mask = np.asarray(Image.open(data / "mask" / f"{row['case_id']}.png"))
        right.append(mask[round(float(row["y"])), round(float(row["x"]))] == {"disc": 1, "square": 2}[row["class"]])
    assert np.mean(right) > 0.9
    result, failures = evaluate_predictions(tmp_path / "predictions", data, tmp_path / "evaluation")
    assert not failures
    assert set(result["lesion_level"]["by_class"]) == {"disc", "square"}


def test_a_voxel_of_exclusive_classes_shares_one_probability(data, tmp_path):
    options = (*OVERRIDES, "training.max_steps=1", "classes=[disc, square]", "detector.exclusive=true")
    model = load_model(train("brain_infarct", data, tmp_path / "run", overrides=options))
    output = model.network(torch.randn(1, 1, 48, 48))
    assert output.shape[1] == 3  # and the background
    maps = model.detector.activate(output)
    assert maps.shape[1] == 2
    assert float(maps.sum(1).max().detach()) <= 1
