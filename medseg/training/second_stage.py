"""Train the network that judges candidates: a compact loop, seeded, taken up again after its last epoch."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as to_safetensors
from torch import nn
from torch.nn import functional

from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.errors import CheckpointError, ConfigError, MedsegError
from medseg.evaluation import roc_auc
from medseg.files import write_bytes, write_csv
from medseg.inference.second_stage import crop_scores
from medseg.networks.crop_cnn import build_crop_network
from medseg.progress import Progress
from medseg.seeds import child_seed, seed_everything
from medseg.training.checkpoint import load_checkpoint, save_checkpoint
from medseg.training.crop_batches import CropSet, augmented, central, epoch_batches
from medseg.training.optimisation import build_optimizer
from medseg.training.settings import TrainingSettings

__all__ = ["CHECKPOINT", "LOG", "fit_crops", "write_weights"]

logger = logging.getLogger(__name__)
CHECKPOINT, LOG = "checkpoint.pt", "log.csv"
LOG_COLUMNS = ("epoch", "loss", "lr", "validation_auc", "seconds")


def fit_crops(
    data: CropSet, settings: SecondStageSettings, folder: Path, *, validation: CropSet | None = None,
    resume: bool = False, device: torch.device | str = "cpu",
) -> nn.Module:  # fmt: skip
    """Train on crops; return the network after the last epoch, in evaluation mode.

    The area under the ROC curve of `validation` is only logged: the last weights are kept, so that nothing is chosen
    on it.

    Parameters
    ----------
    folder : Path
        For the log and a checkpoint after each epoch.
    resume : bool
        Go on with the checkpoint of `folder`, where there is one.

    Raises
    ------
    ConfigError
        When there is no positive or no negative crop.
    CheckpointError
        When the checkpoint is of other settings or data.
    MedsegError
        When the loss is not finite.
    """
    if data.positive.all() or not data.positive.any():
        kind = "negative" if data.positive.any() else "positive"
        raise ConfigError(
            f"second stage: no {kind} candidate to train on, of {len(data)}; give predictions of more cases"
        )
    seed_everything(settings.seed)
    crops = torch.from_numpy(np.asarray(data.crops[:1]))
    network = build_crop_network(
        settings.network, in_channels=crops.shape[1], dimensions=crops.ndim - 2, n_voxels=settings.n_voxels
    ).to(device)
    optimizer = build_optimizer(network, _loop_settings(settings))
    rows: list[dict[str, Any]] = []
    if resume and (folder / CHECKPOINT).is_file():
        rows = _restore(folder, network, optimizer, settings, len(data))
    began = time.monotonic() - (rows[-1]["seconds"] if rows else 0.0)
    with Progress("training the second stage", settings.epochs or 0, interval_seconds=30) as progress:
        progress.update(len(rows))
        while (done := _progress(settings, len(rows), time.monotonic() - began)) < 1:
            torch.manual_seed(child_seed(settings.seed, "dropout", len(rows)))
            loss = _epoch(network, optimizer, data, settings, epoch=len(rows), began=began)
            area = None if validation is None else _area(network, validation, settings)
            rate = settings.learning_rate * (1 - done) ** 0.9
            rows.append(dict(zip(LOG_COLUMNS, (len(rows) + 1, loss, rate, area, round(time.monotonic() - began, 2)))))
            write_csv(folder / LOG, LOG_COLUMNS, rows)
            content = {"weights": network.state_dict(), "optimizer": optimizer.state_dict(), "rows": rows}
            save_checkpoint(folder / CHECKPOINT, content | {"settings": settings.model_dump_json(), "n": len(data)})
            progress.advance(note=f"loss {loss:.3f}" + ("" if area is None else f" validation AUC {area:.3f}"))
    return network.eval()


def write_weights(network: nn.Module, path: Path) -> None:
    """Write the weights as safetensors, whole or not at all."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    write_bytes(path, to_safetensors(weights))


def _loop_settings(settings: SecondStageSettings) -> TrainingSettings:
    return TrainingSettings(
        max_epochs=settings.epochs, max_minutes=settings.max_minutes, learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )  # fmt: skip


def _progress(settings: SecondStageSettings, epochs: float, seconds: float) -> float:
    """Part of the training that is done, 0 to 1."""
    by_epoch = epochs / settings.epochs if settings.epochs else 0.0
    by_clock = seconds / (settings.max_minutes * 60) if settings.max_minutes else 0.0
    return min(max(by_epoch, by_clock), 1.0)


def _epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, data: CropSet, settings: SecondStageSettings, *, epoch: int,
    began: float,
) -> float:  # fmt: skip
    network.train()
    device = next(network.parameters()).device
    total, steps = 0.0, 0
    batches = list(epoch_batches(data, settings, epoch))
    for numbers, seed in batches:
        done = _progress(settings, epoch + steps / len(batches), time.monotonic() - began)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - done) ** 0.9
        crops = torch.from_numpy(np.asarray(data.crops[numbers])).to(device)
        target = torch.from_numpy(data.positive[numbers]).float().to(device)
        loss = functional.binary_cross_entropy_with_logits(network(augmented(crops, settings, seed))[:, 0], target)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        total, steps = total + float(loss.detach()), steps + 1
        if not np.isfinite(total):
            raise MedsegError(
                f"second stage: the loss was not finite in epoch {epoch + 1}: lower second_stage.learning_rate, or "
                "look for odd grey values in the images"
            )
    return total / steps


def _area(network: nn.Module, data: CropSet, settings: SecondStageSettings) -> float | None:
    if data.positive.all() or not data.positive.any():
        return None
    crops = central(torch.from_numpy(np.asarray(data.crops)), settings.n_voxels).numpy()
    return float(roc_auc(data.positive, crop_scores(network, crops)))


def _restore(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, settings: SecondStageSettings, n: int
) -> list[dict[str, Any]]:
    content = load_checkpoint(folder / CHECKPOINT)
    if content.get("settings") != settings.model_dump_json() or content.get("n") != n:
        raise CheckpointError(f"{folder / CHECKPOINT}: is of other settings or candidates; start without --resume")
    try:
        network.load_state_dict(content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        return list(content["rows"])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder / CHECKPOINT}: damaged ({type(error).__name__}); start anew") from error
