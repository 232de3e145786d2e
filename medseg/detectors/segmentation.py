"""Lesions from masks: voxel probabilities, and components around peaks as candidates."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from medseg.detectors.candidates import Candidate
from medseg.detectors.levels import over_levels
from medseg.detectors.losses import (
    dice_loss,
    entropies,
    focal_factor,
    focal_tversky_loss,
    hardest_mean,
    probabilities,
)
from medseg.detectors.regions import region_candidates
from medseg.detectors.settings import SegmentationSettings

__all__ = ["SegmentationDetector", "component_weights"]


def component_weights(instances: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Weight of each voxel with which every lesion, and the background, counts the same (Shirokikh 2020).

    ``w = n / ((K + 1) n_j)`` in component `j` of `n_j` voxels, of a sample of `n` voxels with `K` lesions
    (arXiv:2007.10033, inverse weighting); the mean over the sample is 1.

    Parameters
    ----------
    instances : ndarray of int, shape (*spatial)
        Lesion numbers, of the sample or of some rows of it.
    sizes : ndarray of int
        Voxels of each number in the whole sample, from 0, the background.

    Returns
    -------
    ndarray of float32, shape (*spatial)
    """
    there = np.count_nonzero(sizes)
    weights = sizes.sum() / (max(there, 1) * np.maximum(sizes, 1))
    return weights.astype(np.float32)[instances]


class SegmentationDetector:
    """Detector of kind ``segmentation``; a map a class: a sigmoid each, or a softmax with the background."""

    validation_metric = "dice"
    quiet_start = False

    def __init__(self, settings: SegmentationSettings, classes: tuple[str, ...]) -> None:
        self.settings, self.classes = settings, classes

    def output_channels(self, dimensions: int) -> int:
        """One map a class, and a last one of the background where classes exclude each other."""
        return len(self.classes) + self.settings.exclusive

    def encode(
        self,
        instances: np.ndarray,
        class_of: np.ndarray,
        label: int,
        *,
        labels: Sequence[int] | np.ndarray = (),
        first_row: int = 0,
        boxes: Callable[[], np.ndarray] | None = None,
        sizes: Callable[[], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Binary map a class, uint8 of shape (class, *spatial); for `dice_balanced` float32, then `component_weights`.

        The weights are those of the sample, whatever its rows.
        """
        lesion = instances > 0
        classes = class_of[instances]
        maps = np.stack([lesion & (classes == index) for index in range(len(self.classes))]).astype(np.uint8)
        if self.settings.loss != "dice_balanced":
            return maps
        counts = np.bincount(instances.ravel(), minlength=len(class_of)) if sizes is None else sizes()
        return np.concatenate([maps, component_weights(instances, counts)[None]]).astype(np.float32)

    def loss(self, output: torch.Tensor | tuple[torch.Tensor, ...], target: torch.Tensor) -> torch.Tensor:
        """Sum of the chosen losses in float32; of each level, where lower ones are supervised (see `over_levels`)."""
        return over_levels(self._loss, output, target, averaged=int(self.settings.loss == "dice_balanced"))

    def _loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        settings, exclusive = self.settings, self.settings.exclusive
        logits, weights = output.float(), target[:, len(self.classes) :].float()
        target = target[:, : len(self.classes)].float()
        probability = probabilities(logits, exclusive=exclusive)
        if settings.loss == "tversky_focal":
            return focal_tversky_loss(
                probability, target, over=settings.dice_over, alpha=settings.tversky_alpha, gamma=settings.tversky_gamma
            )
        entropy = entropies(logits, target, positive_weight=settings.positive_weight, exclusive=exclusive)
        if settings.loss in ("focal", "dice_focal"):
            entropy = entropy * focal_factor(probability, target, settings.focal_gamma, exclusive=exclusive)
        if settings.loss == "dice_balanced":
            entropy = entropy * weights
        total = hardest_mean(entropy, settings.topk_fraction) if settings.loss == "dice_topk" else entropy.mean()
        if settings.loss != "focal":
            total = total + dice_loss(probability, target, over=settings.dice_over)
        return total

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Probabilities, one map a class."""
        return probabilities(output.float(), exclusive=self.settings.exclusive)

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """List the region of each peak of each class map: see `region_candidates`."""
        settings = self.settings
        return region_candidates(
            maps[: len(self.classes)], floor=min_score, fraction=settings.candidate_fraction,
            min_voxels=settings.min_voxels, limit=max_candidates, score=self._score,
        )  # fmt: skip

    def _score(self, values: np.ndarray) -> float:
        if self.settings.candidate_score == "peak":
            return float(values.max())
        if self.settings.candidate_score == "mean":
            return float(values.mean())
        n = self.settings.top_voxels  # a component smaller than n counts its missing voxels as 0
        return float(np.sort(values)[-n:].sum() / n)
