"""Training of the kinds of U-Net: it learns, its lower levels too, and parts have the losses of the whole."""

import csv

import numpy as np
import pytest
import torch
from blobs import OVERRIDES

from medseg.inference.model import load_model
from medseg.training.train import train

STEPS = ("training.max_steps=6", "training.optimizer=sgd", "training.learning_rate=0.01",
         "training.validate_every_epochs=100")  # fmt: skip
KINDS = {
    "gated, supervised": ("network.attention=true", "network.deep_supervision=1", "detector.loss=dice_topk"),
    "residual encoder, supervised": (
        "network.block=residual_encoder", "network.encoder_blocks=[1,2,2]", "network.deep_supervision=1",
        "detector.loss=dice_balanced", "detector.exclusive=true",
    ),
}  # fmt: skip


def losses(run):
    with (run / "log.csv").open() as stream:
        return np.array([float(row["loss"]) for row in csv.DictReader(stream)])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_parts_have_the_losses_of_the_whole(kind, blobs, tmp_path):
    options = (*OVERRIDES, *STEPS, *KINDS[kind])
    whole = losses(train("brain_infarct", blobs, tmp_path / "whole", overrides=options))
    for layout in ("layout.slabs=3", "layout.space=2"):
        parts = losses(train("brain_infarct", blobs, tmp_path / layout, overrides=(*options, layout)))
        np.testing.assert_allclose(parts, whole, rtol=1e-3)


def test_lower_levels_learn_and_say_nothing_in_a_prediction(blobs, tmp_path):
    options = (*OVERRIDES, "training.max_steps=80", "network.deep_supervision=1", "detector.loss=tversky_focal")
    run = train("brain_infarct", blobs, tmp_path / "run", overrides=options)
    values = losses(run)
    assert values[-20:].mean() < 0.85 * values[:5].mean()
    network = load_model(run).network
    answer = network(torch.zeros(1, 1, 48, 48))
    assert isinstance(answer, torch.Tensor)
    assert answer.shape == (1, 1, 48, 48)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_measured_choices_and_estimates_know_of_levels(precision, blobs, tmp_path):
    """Compilation aside: `deterministic` leaves nothing to measure, so it is switched off."""
    options = (*OVERRIDES, "training.max_steps=2", "network.deep_supervision=1", "training.deterministic=false",
               "training.compile=off", f"training.precision={precision}", "training.memory_mb=1000")  # fmt: skip
    assert np.isfinite(losses(train("brain_infarct", blobs, tmp_path / "run", overrides=options))).all()
