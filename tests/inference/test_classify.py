"""A classifier with activation maps: from labels of images to findings, evaluation and overlay; whole."""

import csv
import json
import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from spread_toys import small_densenet
from squares import SIDE, SQUARE, make_squares, square_image

from medseg.config import load_pipeline
from medseg.data.manifest import load_manifest, write_manifest
from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import ConfigError, ManifestError
from medseg.experiment.evaluation import evaluate_predictions
from medseg.files import write_csv
from medseg.imaging import read
from medseg.inference.class_maps import classify
from medseg.inference.model import load_model
from medseg.inference.predict import predict
from medseg.inference.settings import InferenceSettings
from medseg.networks import factory
from medseg.training.train import train

logger = logging.getLogger(__name__)
CLASSES = ("a", "b")
OVERRIDES = (
    "classes=[square]",
    "network={name: small_cnn, filters: [8, 16, 16], kernel_size: 3, pool_every: 1, norm: true}",
    "detector.activation_map=grad_cam",
    f"input.size={SIDE}",
    "input.intensity={method: range, low: 0, high: 255}",  # percentiles would show the square everywhere
    f"sampling.patch_size=[{SIDE},{SIDE}]",
    "augmentation.enabled=false",
    "inference.flip_axes=[]",
    "training.max_minutes=null",
    "training.max_steps=120",
    "training.batch_size=8",
    "training.learning_rate=0.003",
    "training.warmup_steps=0",
    "training.validate_every_minutes=null",
    "training.validate_every_epochs=5",
    "training.deterministic=true",
    "training.workers=0",
    "training.tensorboard=false",
)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    return make_squares(tmp_path_factory.mktemp("squares"))


@pytest.fixture(scope="module")
def run(squares, tmp_path_factory):
    return train("chest_xray_classify", squares, tmp_path_factory.mktemp("runs") / "run", overrides=OVERRIDES)


def share_inside(model, folder, *, side, square, n=100):
    """Share of fresh images in which the map's peak, and in which the best finding's centre, lies in the square."""
    random = np.random.default_rng(99)
    peak, centre = [], []
    for _ in range(n):
        image, (x_min, y_min, x_max, y_max) = square_image(random, side=side, square=square)
        Image.fromarray(image).save(folder / "fresh.png")
        found = model.predict(read(folder / "fresh.png"))
        y, x = np.unravel_index(found.probability[0].argmax(), found.probability[0].shape)
        peak.append(x_min <= x < x_max and y_min <= y < y_max)
        best = found.findings[0] if found.findings else None
        centre.append(best is not None and x_min <= best.x < x_max and y_min <= best.y < y_max)
    logger.info("inside of %d: peak %d, centre of the best finding %d", n, sum(peak), sum(centre))
    return np.mean(peak), np.mean(centre)


def test_the_peak_lies_in_the_square_that_only_labels_told_of(run, tmp_path):
    peak, centre = share_inside(load_model(run), tmp_path, side=SIDE, square=SQUARE)
    assert peak >= 0.95
    assert centre >= 0.95


@pytest.mark.slow
def test_the_peak_of_a_densenet_lies_in_the_square(tmp_path):
    data = make_squares(tmp_path / "data", side=128, square=40)
    overrides = (
        *OVERRIDES, "network={name: densenet, depth: 121, stride: 16}", "detector.activation_map=cam", "input.size=128",
        "sampling.patch_size=[128,128]", "training.max_steps=40", "training.learning_rate=0.001",
        "training.validate_every_epochs=100", "training.max_validation_cases=8",
    )  # fmt: skip
    model = load_model(train("chest_xray_classify", data, tmp_path / "run", overrides=overrides))
    peak, centre = share_inside(model, tmp_path, side=128, square=40)
    assert peak >= 0.95
    assert centre >= 0.95


def test_scores_of_images_without_a_square_are_low(run, tmp_path):
    model, random = load_model(run), np.random.default_rng(7)
    for _ in range(10):
        Image.fromarray(square_image(random, shows=False)[0]).save(tmp_path / "fresh.png")
        found = model.predict(read(tmp_path / "fresh.png"))
        assert found.score < 0.5
        assert not found.reported
        assert found.probability.max() <= found.score  # a map that is scaled image by image would reach 1


def test_plan_and_calibration_say_what_they_rest_on(run):
    plan = json.loads((run / "plan.json").read_text())
    said = re.fullmatch(r"balanced; training cases: square (\d+) with, (\d+) without", plan["reasons"]["class_weights"])
    assert plan["class_weights"] == [pytest.approx(int(said[2]) / int(said[1]), abs=1e-6)]
    assert 0.01 < load_model(run).operating_point < 1


def test_findings_are_written_drawn_and_evaluated(run, squares, tmp_path):
    """Boxes that training never saw, beside the same images: FROC of the findings, AUC of the class."""
    data = tmp_path / "boxed"
    manifest = load_manifest(squares)
    random, rows, cases = np.random.default_rng(0), [], []
    for number, case in enumerate(manifest.cases):
        _, box = square_image(random, shows=bool(number % 2))
        if number % 2:
            rows.append(
                dict(zip(("case_id", "x_min", "y_min", "x_max", "y_max", "class"), (case.case_id, *box, "square")))
            )
        cases.append(replace(case, boxes=data / "boxes.csv", name="square"))
    write_csv(data / "boxes.csv", ("case_id", "x_min", "y_min", "x_max", "y_max", "class"), rows)
    write_manifest(data / "dataset.csv", cases)
    predict(run, data, tmp_path / "out", subset="test", save=("probability", "overlay"))
    result, failures = evaluate_predictions(tmp_path / "out", data, tmp_path / "evaluation")
    assert not failures
    assert result["case_level"]["auc"]["value"] == 1
    assert result["case_level"]["by_class"]["square"]["auc"]["value"] == 1
    assert result["lesion_level"]["froc"]["sensitivity"][-1]["value"] >= 0.9
    with (tmp_path / "out" / "class_scores.csv").open() as stream:
        scores = {row["case_id"]: float(row["score"]) for row in csv.DictReader(stream)}
    with (tmp_path / "out" / "cases.csv").open() as stream:
        assert {row["case_id"]: float(row["score"]) for row in csv.DictReader(stream)} == scores
    with (tmp_path / "out" / "findings.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert {row["class"] for row in found} == {"square"}
    assert all(float(row["score"]) <= scores[row["case_id"]] for row in found)
    reported = next(row["case_id"] for row in found if row["reported"] == "1")
    picture = np.asarray(Image.open(tmp_path / "out" / "cases" / reported / "overlay.png"))
    assert (picture == (255, 212, 0)).all(axis=2).any()  # a yellow circle


def detector_of():
    settings = ClassificationSettings(multi_label=True, activation_map="cam")
    return ClassificationDetector(settings, CLASSES)


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("flips", [(), ("z", "x")])
def test_maps_have_the_shape_of_the_image_and_stay_below_the_probability(dimensions, flips):
    image = np.random.default_rng(0).normal(size=(1, *(64, 32, 32)[3 - dimensions :])).astype(np.float32)
    image = image if dimensions == 3 else np.stack([image[0]] * 3)[None]
    found = classify(
        small_densenet(1, len(CLASSES), dimensions=dimensions),
        detector_of(),
        image,
        dimensions=dimensions,
        settings=InferenceSettings(flip_axes=flips),
    )
    assert found.maps.shape == (2, *image.shape[1:])
    assert (found.maps >= 0).all()
    assert (found.maps.max((1, 2, 3)) <= found.probabilities).all()
    if dimensions == 2:  # equal slices
        np.testing.assert_allclose(found.maps[:, 0], found.maps[:, 2], atol=1e-6)


def test_maps_by_gradients_cannot_be_spread(run, squares, tmp_path):
    with pytest.raises(ConfigError, match="grad_cam cannot be spread"):
        predict(run, squares, tmp_path / "out", slabs=2)
    with pytest.raises(ConfigError, match="grad_cam cannot be spread"):
        load_pipeline("chest_xray_classify", (*OVERRIDES, "layout.slabs=2"))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("detector.activation_map=cam", "network.name=small_cnn use grad_cam"),
        ("detector.class_weights=[1, 2]", "class_weights has 2 numbers for 1 classes"),
        ("detector.multi_label=false", "needs at least two classes"),
    ],
)
def test_what_does_not_fit_is_said(override, says):
    with pytest.raises(ConfigError, match=says):
        load_pipeline("chest_xray_classify", (*OVERRIDES, override))


def test_a_class_without_any_label_is_named(squares, tmp_path):
    with pytest.raises(ManifestError, match="shows 'circle': give a column label_circle"):
        train("chest_xray_classify", squares, tmp_path / "run", overrides=(*OVERRIDES, "classes=[square, circle]"))


def test_training_in_slabs_is_that_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setitem(factory.DENSENETS, 121, lambda d, i, o, dropout_prob: small_densenet(i, o, dimensions=d))
    data = make_squares(tmp_path / "data", n_cases=12)
    common = (
        *OVERRIDES, "network={name: densenet, depth: 121}", "detector.activation_map=cam", "training.max_steps=3",
        "training.batch_size=4", "training.validate_every_epochs=1",
    )  # fmt: skip
    curves = []
    for slabs in (1, 3):
        run = train("chest_xray_classify", data, tmp_path / f"run{slabs}", overrides=(*common, f"layout.slabs={slabs}"))
        with (run / "log.csv").open() as stream:
            curves.append([[float(row[name]) for name in ("loss", "grad_norm")] for row in csv.DictReader(stream)])
    np.testing.assert_allclose(curves[0], curves[1], rtol=1e-4)
    assert len(curves[0]) == 3
