"""Lesions from masks: voxel probabilities, and components around peaks as candidates."""

import cc3d
import numpy as np
import torch
from torch.nn import functional

from medseg.detectors.candidates import Candidate
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

    def __init__(self, settings: SegmentationSettings, classes: tuple[str, ...]) -> None:
        self.settings, self.classes = settings, classes

    def output_channels(self, dimensions: int) -> int:
        """One map a class."""
        return len(self.classes)

    def encode(self, instances: np.ndarray, class_of: np.ndarray, label: int) -> np.ndarray:
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
        """Peel candidates off each class map, from the highest peak down.

        A candidate is the connected component, around a peak, of what exceeds `candidate_fraction` of it
        (26 neighbours; the dynamic lesion extraction of Bosma 2023, doi:10.1148/ryai.230031).
        """
        candidates: list[Candidate] = []
        for class_index in range(len(self.classes)):
            candidates += self._peel(maps[class_index], class_index, min_score, max_candidates)
        return sorted(candidates, key=lambda candidate: -candidate.score)[:max_candidates]

    def _peel(self, probability: np.ndarray, class_index: int, floor: float, limit: int) -> list[Candidate]:
        settings = self.settings
        found: list[Candidate] = []
        rest = np.where(probability >= floor * settings.candidate_fraction, probability, 0).astype(np.float32)
        for _ in range(4 * limit):  # small components use up a round without becoming a candidate
            peak_at = np.unravel_index(int(rest.argmax()), rest.shape)
            peak = float(rest[peak_at])
            if peak < floor or len(found) >= limit or peak == 0:
                break
            labels = cc3d.connected_components(rest > peak * settings.candidate_fraction, connectivity=26)
            inside = labels == labels[peak_at]
            zyx = np.argwhere(inside)
            values = rest[inside]
            rest[inside] = 0
            if len(zyx) < settings.min_voxels:
                continue
            score = self._score(values)
            if score < floor:
                continue
            centre = np.average(zyx, axis=0, weights=values)
            found.append(
                Candidate(
                    centre=tuple(centre[::-1].tolist()),
                    low=tuple(zyx.min(axis=0)[::-1].astype(float).tolist()),
                    high=tuple((zyx.max(axis=0)[::-1] + 1.0).tolist()),
                    voxels=float(len(zyx)),
                    score=score,
                    class_index=class_index,
                )
            )
        return found

    def _score(self, values: np.ndarray) -> float:
        if self.settings.candidate_score == "peak":
            return float(values.max())
        if self.settings.candidate_score == "mean":
            return float(values.mean())
        n = self.settings.top_voxels  # a component smaller than n counts its missing voxels as 0
        return float(np.sort(values)[-n:].sum() / n)
