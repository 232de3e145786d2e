"""Two classes of lesions from masks with one value a class to findings and figures of each class."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import OVERRIDES
from PIL import Image
from two_classes import make_two_classes

from medseg.config import load_pipeline
from medseg.data.cache import CachedCase
from medseg.detectors.factory import build_detector
from medseg.experiment.evaluation import evaluate_predictions
from medseg.inference.model import load_model
from medseg.inference.predict import predict
from medseg.training.train import train
from medseg.training.validation import _localised
from medseg.volume import Grid

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
        "evaluation.class_aware=true",  # else the operating point lets a second class on each lesion through
        "training.max_steps=60",
        "classes=[disc, square]",
        "augmentation.enabled=false",
        *KINDS[kind],
    )
    run = train("brain_infarct", data, tmp_path / "run", overrides=options)
    predict(run, data, tmp_path / "predictions", subset="all", save=[])
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


@pytest.mark.parametrize(("class_aware", "n_hits", "dice"), [(False, 2, 1.0), (True, 1, 1 / 3)])
def test_validation_tells_classes_apart_where_the_evaluation_does(class_aware, n_hits, dice):
    """A disc that is found as one, and a square that is found as a disc: by class Dice is 2 * 9 / 27 and 0."""
    instances = np.zeros((1, 12, 12), np.int16)
    instances[0, 2:5, 2:5], instances[0, 7:10, 7:10] = 1, 2
    maps = np.stack([instances > 0, np.zeros_like(instances)]).astype(np.float32)
    grid = Grid(instances.shape, np.eye(4))
    case = CachedCase("c", maps[:1], instances, np.array([0, 0, 1]), -1, grid, grid)
    pipeline = load_pipeline(
        "brain_infarct", ["classes=[disc, square]", f"evaluation.class_aware={class_aware}".lower()]
    )
    detector = build_detector(pipeline.detector, pipeline.classes)
    row = _localised(SimpleNamespace(pipeline=pipeline, detector=detector), case, maps)
    assert len(row.hits) == n_hits
    assert row.dice.max() == pytest.approx(dice)


def test_a_voxel_of_exclusive_classes_shares_one_probability(data, tmp_path):
    options = (*OVERRIDES, "training.max_steps=1", "classes=[disc, square]", "detector.exclusive=true")
    model = load_model(train("brain_infarct", data, tmp_path / "run", overrides=options))
    output = model.network(torch.randn(1, 1, 48, 48))
    assert output.shape[1] == 3  # and the background
    maps = model.detector.activate(output)
    assert maps.shape[1] == 2
    assert float(maps.sum(1).max().detach()) <= 1
