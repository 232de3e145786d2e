"""The second stage's training: balanced draws, one change for all scales, seeded, resumed bit by bit."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.errors import CheckpointError, ConfigError
from medseg.evaluation import roc_auc
from medseg.inference.second_stage import crop_scores
from medseg.training.crop_batches import CropSet, augmented, central, crop_margin, epoch_batches
from medseg.training.second_stage import fit_crops, write_weights

SMALL = {"sizes": (8, 16), "n_voxels": 8, "network": {"name": "crop_cnn", "filters": (4, 8)}, "shift": 1.0}


def made(n, settings, *, seed=0, dimensions=2, lesion=True):
    """Noise; every third crop has a bright middle at both scales."""
    random = np.random.default_rng(seed)
    side = settings.n_voxels + 2 * crop_margin(settings)
    crops = random.normal(size=(n, 2, *[side] * dimensions)).astype(np.float32)
    positive = np.arange(n) % 3 == 0
    middle = slice(side // 2 - 2, side // 2 + 2)
    if lesion:
        crops[(positive, slice(None), *[middle] * dimensions)] += 3
    return CropSet(crops, positive)


def test_draws_are_balanced_and_every_candidate_comes_before_any_comes_again():
    settings = SecondStageSettings(**SMALL, batch_size=10)
    data = CropSet(np.zeros((100, 2, 8, 8)), np.arange(100) < 10)
    drawn = [numbers for numbers, _ in epoch_batches(data, settings, 0)]
    assert [int(data.positive[numbers].sum()) for numbers in drawn] == [5] * 10
    counts = np.bincount(np.concatenate(drawn), minlength=100)
    assert set(counts[:10]) == {5}
    assert set(counts[10:]) <= {0, 1}
    again = [numbers for numbers, _ in epoch_batches(data, settings, 0)]
    assert all(map(np.array_equal, drawn, again))
    assert not all(map(np.array_equal, drawn, (n for n, _ in epoch_batches(data, settings, 1))))


@pytest.mark.parametrize("dimensions", [2, 3])
def test_without_changes_the_crop_is_the_middle(dimensions):
    settings = SecondStageSettings(**SMALL | {"shift": 0}, rotation_degrees=0, flip_axes=())
    crops = torch.randn(3, 2, *[14] * dimensions)
    assert torch.allclose(augmented(crops, settings, 0), central(crops, 8), atol=1e-5)


def test_mirror_images_are_those_of_the_middle():
    settings = SecondStageSettings(**SMALL | {"shift": 0}, rotation_degrees=0, flip_axes=("x",))
    crops = torch.randn(16, 2, 14, 14)
    changed, middle = augmented(crops, settings, 0), central(crops, 8)
    turned = [bool(torch.allclose(a, b.flip(-1), atol=1e-5)) for a, b in zip(changed, middle)]
    same = [bool(torch.allclose(a, b, atol=1e-5)) for a, b in zip(changed, middle)]
    assert any(turned)
    assert any(same)
    assert all(a != b for a, b in zip(turned, same))


def test_a_shift_is_the_same_length_at_every_scale():
    """Of a ramp: a shift in the unit of the sizes changes both scales by the same value."""
    settings = SecondStageSettings(**SMALL | {"shift": 2.0}, rotation_degrees=0, flip_axes=())
    side = 8 + 2 * crop_margin(settings)
    index = torch.arange(side) - (side - 1) / 2
    ramp = torch.stack([index * 1.0, index * 2.0])[:, None].expand(2, side, side)  # steps of 1 and 2 units
    moved = augmented(ramp[None].repeat(5, 1, 1, 1), settings, 3).mean(dim=(2, 3))
    assert torch.allclose(moved[:, 0], moved[:, 1], atol=1e-4)
    assert float(moved[:, 0].abs().max()) > 0.2
    assert float(moved.abs().max()) <= 2 + 1e-4


@pytest.mark.parametrize("dimensions", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_it_learns_what_can_be_learned_and_nothing_else(tmp_path, dimensions):
    settings = SecondStageSettings(**SMALL, epochs=6, batch_size=16, learning_rate=1e-2)
    fresh = made(90, settings, seed=9, dimensions=dimensions)
    crops = central(torch.from_numpy(fresh.crops), 8).numpy()
    network = fit_crops(made(120, settings, dimensions=dimensions), settings, tmp_path, validation=fresh)
    assert roc_auc(fresh.positive, crop_scores(network, crops)) > 0.95
    blind = fit_crops(made(120, settings, dimensions=dimensions, lesion=False), settings, tmp_path / "noise")
    noise = made(600, settings, seed=9, dimensions=dimensions, lesion=False)
    area = roc_auc(noise.positive, crop_scores(blind, central(torch.from_numpy(noise.crops), 8).numpy()))
    assert 0.4 < area < 0.6


def test_a_training_that_is_resumed_ends_with_the_same_weights(tmp_path, monkeypatch):
    settings = SecondStageSettings(**SMALL, epochs=4, batch_size=8)
    data = made(30, settings)
    write_weights(fit_crops(data, settings, tmp_path / "a"), tmp_path / "a" / "w.safetensors")
    from medseg.training import second_stage

    save, saved = second_stage.save_checkpoint, []

    def killed(path, content):
        save(path, content)
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(second_stage, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        fit_crops(data, settings, tmp_path / "b")
    monkeypatch.undo()
    torch.manual_seed(99)
    write_weights(fit_crops(data, settings, tmp_path / "b", resume=True), tmp_path / "b" / "w.safetensors")
    a, b = (load_file(tmp_path / name / "w.safetensors") for name in "ab")
    assert all(torch.equal(a[name], b[name]) for name in a)
    with pytest.raises(CheckpointError, match="other settings"):
        fit_crops(data, settings.model_copy(update={"epochs": 5}), tmp_path / "b", resume=True)


def test_one_kind_of_candidates_teaches_nothing(tmp_path):
    settings = SecondStageSettings(**SMALL)
    with pytest.raises(ConfigError, match="no negative candidate"):
        fit_crops(CropSet(np.zeros((3, 2, 8, 8)), np.ones(3, bool)), settings, tmp_path)


def test_settings_that_do_not_fit_are_refused():
    for wrong in ({"network": {"name": "densenet"}}, {"epochs": None}, {"sizes": (4, 4)}):
        with pytest.raises(ValueError, match="n_voxels of 32|epochs and max_minutes|stands twice"):
            SecondStageSettings(**SMALL | wrong)
