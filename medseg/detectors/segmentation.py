"""Lesions from masks: voxel probabilities, and components around peaks as candidates."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn import functional

from medseg.detectors.candidates import Candidate
from medseg.detectors.regions import region_candidates
from medseg.detectors.settings import SegmentationSettings

__all__ = ["SegmentationDetector", "dice_loss"]


def dice_loss(probability: torch.Tensor, target: torch.Tensor, *, over: str) -> torch.Tensor:
    """Soft Dice loss of tensors of shape (batch, class, *spatial), in float32.

    ``1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1)`` with the sums over the batch or over each sample
    (Milletari 2016, V-Net, arXiv:1606.04797; the 1 keeps empty samples finite).
    """
    axes = tuple(range(2, probability.ndim)) if over == "sample" else (0, *range(2, probability.ndim))
    overlap = (probability * target).sum(axes)
    return (1 - (2 * overlap + 1) / (probability.sum(axes) + target.sum(axes) + 1)).mean()


class SegmentationDetector:
    """Detector of kind ``segmentation``; one sigmoid map a class."""

    validation_metric = "dice"
    quiet_start = False

    def __init__(self, settings: SegmentationSettings, classes: tuple[str, ...]) -> None:
        self.settings, self.classes = settings, classes

    def output_channels(self, dimensions: int) -> int:
        """One map a class."""
        return len(self.classes)

    def encode(
        self,
        instances: np.ndarray,
        class_of: np.ndarray,
        label: int,
        *,
        labels: Sequence[int] | np.ndarray = (),
        first_row: int = 0,
        boxes: Callable[[], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Binary map a class, uint8 of shape (class, *spatial)."""
        lesion = instances > 0
        classes = class_of[instances]
        return np.stack([lesion & (classes == index) for index in range(len(self.classes))]).astype(np.uint8)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Sum of the chosen losses in float32."""
        logits, target = output.float(), target.float()
        settings = self.settings
        weight = torch.tensor(settings.positive_weight, device=logits.device)
        entropy = functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight, reduction="none")
        probability = logits.sigmoid()
        if settings.loss != "dice_ce":  # focal loss, Lin 2017, arXiv:1708.02002
            wrong = torch.where(target > 0.5, 1 - probability, probability)
            entropy = entropy * wrong**settings.focal_gamma
        total = entropy.mean()
        if settings.loss != "focal":
            total = total + dice_loss(probability, target, over=settings.dice_over)
        return total

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Probabilities."""
        return output.float().sigmoid()

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
