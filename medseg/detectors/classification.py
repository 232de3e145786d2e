"""One label an image."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from medseg.detectors.candidates import Candidate
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import AnnotationError

__all__ = ["ClassificationDetector"]


class ClassificationDetector:
    """Detector of kind ``classification``: softmax over the classes."""

    validation_metric = "accuracy"
    quiet_start = False

    def __init__(self, settings: ClassificationSettings, classes: tuple[str, ...]) -> None:
        self.settings, self.classes = settings, classes

    def output_channels(self, dimensions: int) -> int:
        """One logit a class."""
        return len(self.classes)

    def encode(
        self,
        instances: np.ndarray,
        class_of: np.ndarray,
        label: int,
        *,
        first_row: int = 0,
        boxes: Callable[[], np.ndarray] | None = None,
    ) -> np.ndarray:
        """The label as an int64 of shape ()."""
        if not 0 <= label < len(self.classes):
            raise AnnotationError(f"label {label} is out of range: the pipeline has {len(self.classes)} classes from 0")
        return np.asarray(label, np.int64)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy in float32."""
        return functional.cross_entropy(output.float(), target, label_smoothing=self.settings.label_smoothing)

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Probability of each class."""
        return output.float().softmax(dim=1)

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """Nothing: an image label has no place."""
        return []
