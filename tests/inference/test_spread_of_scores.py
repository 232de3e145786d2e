"""Mean and spread of several maps, by hand, and of mirror images in predictions."""

import csv
import shutil

import numpy as np
import pytest
import torch
import yaml

from medseg.data.preprocess import Prepared, prepare_image
from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.factory import build_detector
from medseg.detectors.settings import ClassificationSettings, HeatmapSettings, SegmentationSettings
from medseg.errors import ConfigError
from medseg.imaging import read
from medseg.inference.batch import predict_batch
from medseg.inference.class_maps import classify
from medseg.inference.model import load_model
from medseg.inference.settings import InferenceSettings
from medseg.inference.spread_of_scores import MapSpread, RunningSpread
from medseg.volume import Grid


def rows(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_two_maps_by_hand():
    spread = RunningSpread()
    assert spread.sd is None
    spread.add(np.array([[0.2, 0.5]]))
    assert spread.sd is None, "of one map nothing is known"
    spread.add(np.array([[0.6, 0.5]]))
    np.testing.assert_allclose(spread.mean, [[0.4, 0.5]], atol=1e-7)
    np.testing.assert_allclose(spread.sd, [[0.4 / np.sqrt(2), 0]], atol=1e-7)  # 0.2² + 0.2² = 0.08, root of 0.08
    with pytest.raises(ValueError, match="shape"):
        spread.add(np.zeros((2, 2)))


@pytest.mark.parametrize("shape", [(), (5,), (4, 5), (2, 3, 4, 5)])
def test_many_maps_are_as_those_of_numpy(shape):
    maps = np.random.default_rng(0).normal(1000, 0.5, (7, *shape))  # far from 0, where sums of squares lose all
    spread = RunningSpread(np.float64)
    for one in maps:
        spread.add(one)
    np.testing.assert_allclose(spread.mean, maps.mean(axis=0))
    np.testing.assert_allclose(spread.sd, maps.std(axis=0, ddof=1))


def test_the_score_of_a_pass_is_the_highest_value_of_its_class_maps():
    spread = MapSpread(1)
    extents = np.full((1, 1, 2, 2), 40.0)  # no score
    for high in (0.9, 0.7):
        spread.add(np.concatenate([np.array([[[[0.1, high], [0.2, 0.3]]]]), extents]))
    assert spread.score_sd == pytest.approx(0.2 / np.sqrt(2))
    assert spread.maps_sd.shape == (1, 1, 2, 2)
    assert spread.maps_sd[0, 0] == pytest.approx(np.array([[0, 0.2 / np.sqrt(2)], [0, 0]]), abs=1e-6)


@pytest.mark.parametrize("settings", [SegmentationSettings(min_voxels=1), HeatmapSettings()])
def test_candidates_know_their_highest_voxel(settings):
    maps = np.zeros((1, 1, 20, 20), np.float32)
    maps[0, 0, 4:7, 5:9] = 0.6
    maps[0, 0, 6, 8] = 0.9
    if isinstance(settings, HeatmapSettings):
        maps = np.concatenate([maps, np.full((2, 1, 20, 20), 3, np.float32)])
    detector = build_detector(settings, ("a",))
    assert detector.decode(maps, min_score=0.1, max_candidates=5)[0].peak == (0, 6, 8)


class Leaning(torch.nn.Module):
    """The probability of each voxel is the value of its left neighbour."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, image):
        return torch.logit(torch.roll(image[:, :1], 1, dims=-1) * self.scale, eps=1e-6)


def leaning(trained, flip_axes):
    model = load_model(trained)
    inference = model.pipeline.inference.model_copy(update={"flip_axes": flip_axes})
    model.pipeline, model.network = model.pipeline.model_copy(update={"inference": inference}), Leaning()
    return model


def test_mirror_images_that_differ_are_said_to(trained):
    values = np.full((1, 1, 48, 48), 0.02, np.float32)
    values[0, 0, 10:20, 10:20] = 0.8
    values[0, 0, 14, 20] = 0.9  # the image alone sees it at 21, its mirror image at 19
    values[0, 0, 14, 19] = 0.7
    grid = Grid.projection((48, 48))
    prediction = leaning(trained, ("x",)).predict_prepared(Prepared(values, grid, grid))
    deviation = prediction.uncertainty.rows(0, 1)[0]
    there, back = np.roll(values[0, 0], 1, axis=1), np.roll(values[0, 0], -1, axis=1)
    assert deviation == pytest.approx(np.abs(there - back) / np.sqrt(2), abs=1e-4)
    best = prediction.findings[0]
    mean = (there + back) / 2
    peak = np.unravel_index(np.argmax(mean), mean.shape)
    assert best.score_sd == pytest.approx(deviation[peak], abs=1e-4)
    assert prediction.score_sd == pytest.approx(0, abs=1e-4), "the highest value is 0.9 in both"
    alone = leaning(trained, ()).predict_prepared(Prepared(values, grid, grid))
    assert (alone.score_sd, alone.uncertainty, alone.findings[0].score_sd) == (None, None, None)


def test_the_passes_of_a_classifier():
    class Left(torch.nn.Module):
        """The log-odds of class 1 is the value at the left."""

        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, image):
            odds = image[:, 0, 0, 0] * self.scale
            return torch.stack([torch.zeros_like(odds), odds], dim=1)

    detector = ClassificationDetector(ClassificationSettings(activation_map="none"), ("no", "yes"))
    image = np.zeros((1, 1, 2, 2), np.float32)
    image[0, 0, 0] = [2, -1]
    answer = classify(Left(), detector, image, dimensions=2, settings=InferenceSettings(flip_axes=("x",)))
    assert answer.passes[:, 1] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(1))])
    assert answer.passes.mean(axis=0) == pytest.approx(answer.probabilities)


@pytest.fixture
def mirrored_run(trained, tmp_path):
    path = shutil.copytree(trained, tmp_path / "run")
    content = yaml.safe_load((path / "pipeline.yaml").read_text())
    content["inference"]["flip_axes"] = ["x"]
    (path / "pipeline.yaml").write_text(yaml.safe_dump(content))
    return path


def test_tables_and_maps_of_a_batch(mirrored_run, trained, blobs, tmp_path):
    model, out = load_model(mirrored_run), tmp_path / "p"
    predict_batch(model, blobs, out, save=("probability", "uncertainty"))
    table = {row["case_id"]: row for row in rows(out / "cases.csv")}
    assert all(float(row["score_sd"]) >= 0 for row in table.values())
    findings = rows(out / "findings.csv")
    assert max(float(row["score_sd"]) for row in findings) > 0
    maps = read(out / "cases" / "c01" / "uncertainty.nii.gz").array
    assert maps.shape == (1, 1, 48, 48)
    own = [row for row in findings if row["case_id"] == "c01"]
    inside = [
        maps[0, 0, int(float(f["y_min"])) : int(float(f["y_max"])), int(float(f["x_min"])) : int(float(f["x_max"]))]
        for f in own
    ]
    for finding, values in zip(own, inside):
        assert np.isclose(values, float(finding["score_sd"]), atol=1e-5).any()
    predict_batch(load_model(trained), blobs, tmp_path / "q", save=())
    assert {row["score_sd"] for row in rows(tmp_path / "q" / "findings.csv")} == {""}
    with pytest.raises(ConfigError, match="--save uncertainty: needs a model with maps and mirror images"):
        predict_batch(load_model(trained), blobs, tmp_path / "r", save=("uncertainty",))


def test_mirror_images_change_no_score_by_being_compared(mirrored_run, blobs):
    model = load_model(mirrored_run)
    volume = read(blobs / "image" / "c01.png")
    compared = model.predict(volume)
    prepared = prepare_image(volume, model.pipeline.input, spacing=model.plan.spacing_mm)
    np.testing.assert_array_equal(compared.map.read_box(0, (slice(None),) * 3), model.maps(prepared)[0])
