"""Hard negatives: what is found where, and a training with them that repeats and resumes exactly."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from blobs import OVERRIDES
from stopping import stopped_after

from medseg.config import load_pipeline
from medseg.data.cache import CachedCase
from medseg.data.settings import SamplingSettings
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import SegmentationSettings
from medseg.errors import ConfigError
from medseg.inference.model import load_model
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.team import Team
from medseg.training.checkpoint import load_checkpoint
from medseg.training.hard_negatives import HardNegativeSearch
from medseg.training.train import train
from medseg.volume import Grid

OPTIONS = (
    *OVERRIDES, "training.max_steps=14", "sampling.patch_size=[32,32]", "sampling.hard_negative_fraction=0.5",
    "sampling.hard_negative_every_epochs=0.8", "sampling.hard_negative_cases=6", "training.checkpoint_seconds=0",
)  # fmt: skip


def curve(run):
    with (run / "log.csv").open() as stream:
        return [[row["step"], row["grad_norm"], row["loss"], row["validation"]] for row in csv.DictReader(stream)]


def case(name, heat, instances):
    grid = Grid((1, *instances.shape), np.eye(4))
    numbers = np.arange(instances.max() + 1) * 0
    return CachedCase(name, heat[None, None].astype(np.float32), instances[None], numbers, -1, grid, grid)


def example():
    """Two maps with peaks at (5, 5) in a lesion, (5, 20) and (25, 12): 0.9, 0.7, 0.3; the second has no lesion."""
    heat = np.zeros((32, 32))
    heat[4:7, 4:7], heat[4:7, 19:22], heat[24:27, 11:14] = 0.9, 0.7, 0.3
    lesion = np.zeros((32, 32), np.int16)
    lesion[3:8, 3:8] = 1
    cases = {"with": case("with", heat, lesion), "without": case("without", heat, 0 * lesion)}

    class Store(dict):
        cases = tuple(SimpleNamespace(case_id=name) for name in ("with", "without"))

    team = Team(LayoutSettings(), torch.device("cpu"))
    pipeline = SimpleNamespace(inference=SimpleNamespace(max_candidates=50))
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak"), ("a",))
    model = SimpleNamespace(
        team=team, follow=None, detector=detector, pipeline=pipeline, maps=lambda prepared: prepared.image
    )
    return Store(cases), model


def search(patch, **settings):
    store, model = example()
    plan = SimpleNamespace(patch_size=patch, steps_per_epoch=10)
    return HardNegativeSearch(lambda weights: model, store, SamplingSettings(**settings), plan, seed=0)


def rounded(found):
    return [(*one[:4], round(one[4], 3)) for one in found]


def test_what_lies_in_no_lesion_is_found():
    found = search((16, 16)).found({}, [], 20)
    others = [(0, 5, 20, 0.7), (0, 25, 12, 0.3)]
    assert rounded(found) == [("with", *one) for one in others] + [("without", 0, 5, 5, 0.9)] + [
        ("without", *one) for one in others
    ]
    assert len(search((16, 16), hard_negative_score=0.5).found({}, [], 20)) == 3


def test_of_whole_images_only_the_worst_place_of_those_without_lesion():
    assert rounded(search((32, 32)).found({}, [], 20)) == [("without", 0, 5, 5, 0.9)]


def test_cases_that_are_not_looked_through_keep_what_was_found():
    before = [("with", 0, 1, 1, 0.2), ("without", 0, 2, 2, 0.3)]
    one_case = search((16, 16), hard_negative_cases=1)
    looked = {step: one_case.found({}, before, step) for step in range(20, 120, 20)}
    for found in looked.values():
        assert (before[0] in found) != (before[1] in found)
    assert len({before[0] in found for found in looked.values()}) == 2  # each has its turn


def test_searches_are_so_many_epochs_apart():
    due = [step for step in range(1, 61) if search((16, 16), hard_negative_every_epochs=2).is_due(step)]
    assert due == [20, 40, 60]


def test_a_training_with_hard_negatives_repeats_and_resumes_exactly(blobs, tmp_path):
    whole = train("brain_infarct", blobs, tmp_path / "whole", overrides=OPTIONS)
    state = load_checkpoint(whole / "checkpoints" / "last.pt")["state"]
    assert state["hard_negatives"]
    with stopped_after(8):
        train("brain_infarct", blobs, tmp_path / "cut", overrides=OPTIONS)
    cut = train("brain_infarct", blobs, tmp_path / "cut", overrides=OPTIONS, resume=True)
    assert curve(cut) == curve(whole)
    with_workers = (*OPTIONS, "training.workers=1")
    assert curve(train("brain_infarct", blobs, tmp_path / "workers", overrides=with_workers)) == curve(whole)
    a, b = load_model(whole).network.state_dict(), load_model(cut).network.state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)
    without = (*OPTIONS, "sampling.hard_negative_fraction=0")
    losses = [[row[2] for row in curve(run)] for run in (whole, train("brain_infarct", blobs, tmp_path / "none",
                                                                     overrides=without))]  # fmt: skip
    assert losses[0][:3] == losses[1][:3]
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_slabs_find_the_same(blobs, tmp_path):
    options = (*OPTIONS, "training.optimizer=sgd", "training.learning_rate=0.01", "training.max_steps=8")
    runs = [train("brain_infarct", blobs, tmp_path / str(n), overrides=(*options, f"layout.{how}={n}"))
            for how, n in (("slabs", 1), ("slabs", 3), ("space", 2))]  # fmt: skip
    whole, *others = ([float(row[2]) for row in curve(run)] for run in runs)
    for losses in others:
        assert losses == pytest.approx(whole, rel=2e-3)


def test_a_classifier_has_no_hard_negatives():
    with pytest.raises(ConfigError, match="hard_negative_fraction needs a detector of places"):
        load_pipeline("mnist_cnn", ["sampling.hard_negative_fraction=0.2"])
