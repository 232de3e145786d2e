"""Batches of crops for the second stage: drawn in balance, turned, mirrored and shifted."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.seeds import child_seed

__all__ = ["CropSet", "augmented", "central", "crop_margin", "epoch_batches"]

DIAGONAL = (math.sqrt(2) - 1) / 2  # of a square that is turned: how far its corners reach beyond it, as share of a side


@dataclass(frozen=True, slots=True, eq=False)
class CropSet:
    """Crops of candidates.

    Parameters
    ----------
    crops : ndarray of float, shape (n, size * channel, [z,] y, x)
        `crop_margin` voxels larger on each side than the network is given, or exactly as large.
    positive : ndarray of bool, shape (n,)
    """

    crops: np.ndarray
    positive: np.ndarray

    def __len__(self) -> int:
        return len(self.positive)


def crop_margin(settings: SecondStageSettings) -> int:
    """Voxels on each side that turns and shifts need beyond a crop."""
    turned = DIAGONAL * settings.n_voxels if settings.rotation_degrees else 0.0
    return math.ceil(turned + settings.shift / (min(settings.sizes) / settings.n_voxels))


def central(crops: torch.Tensor, n_voxels: int) -> torch.Tensor:
    """Cut the margin off."""
    margin = (crops.shape[-1] - n_voxels) // 2
    for axis in range(2, crops.ndim):
        crops = crops.narrow(axis, margin, n_voxels)
    return crops


def epoch_batches(data: CropSet, settings: SecondStageSettings, epoch: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield the numbers of the crops of each step of an epoch, and a seed for their changes.

    Each batch has a share of `positive_fraction` of positives (at least one of either kind, where there are both);
    all of a kind are drawn once before any comes again.
    """
    random = np.random.default_rng(child_seed(settings.seed, "crops", epoch))
    groups = [np.flatnonzero(data.positive), np.flatnonzero(~data.positive)]
    steps = math.ceil(len(data) / settings.batch_size)
    share = min(max(round(settings.batch_size * settings.positive_fraction), 1), settings.batch_size - 1)
    counts = (share, settings.batch_size - share)
    drawn = [
        np.concatenate([random.permutation(group) for _ in range(math.ceil(steps * count / len(group)))])
        for group, count in zip(groups, counts)
    ]
    for step in range(steps):
        parts = [numbers[step * count : (step + 1) * count] for numbers, count in zip(drawn, counts)]
        yield np.concatenate(parts), child_seed(settings.seed, "change", epoch, step)


def augmented(crops: torch.Tensor, settings: SecondStageSettings, seed: int) -> torch.Tensor:
    """Turn, mirror and shift each crop about its centre, the same way at all of its scales.

    Parameters
    ----------
    crops : tensor, shape (batch, size * channel, [z,] y, x)
        With their margin.

    Returns
    -------
    tensor of float32, shape (batch, size * channel, n, n[, n])
    """
    random = np.random.default_rng(seed)
    n, padded, dimensions = settings.n_voxels, crops.shape[-1], crops.ndim - 2
    turn = np.tile(np.eye(dimensions), (len(crops), 1, 1))  # rows and columns x, y[, z], as torch has them
    angle = np.deg2rad(random.uniform(-settings.rotation_degrees, settings.rotation_degrees, len(crops)))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angle)
    turn[:, 1, 0] = np.sin(angle)
    turn[:, 0, 1] = -turn[:, 1, 0]
    mirrored = random.random((len(crops), dimensions)) < 0.5
    mirrored &= np.array([axis in settings.flip_axes for axis in "xyz"[:dimensions]])
    turn *= np.where(mirrored, -1, 1)[:, None, :]
    shift = random.uniform(-settings.shift, settings.shift, (len(crops), dimensions))
    channels = crops.shape[1] // len(settings.sizes)
    changed = []
    for number, size in enumerate(settings.sizes):
        # torch counts in halves of the padded side: from -1 to 1
        theta = np.concatenate([turn * n / padded, (shift / (size / n) * 2 / padded)[..., None]], axis=2)
        part = crops[:, number * channels : (number + 1) * channels].float()
        where = functional.affine_grid(
            torch.from_numpy(theta).float().to(crops.device), [len(crops), channels, *[n] * dimensions],
            align_corners=False,
        )  # fmt: skip
        changed.append(functional.grid_sample(part, where, padding_mode="border", align_corners=False))
    return torch.cat(changed, dim=1)
