"""The interface that training and inference know of a detector."""

from typing import Protocol

import numpy as np
import torch

from medseg.detectors.candidates import Candidate

__all__ = ["Detector"]


class Detector(Protocol):
    """What training and inference ask of a task."""

    classes: tuple[str, ...]
    validation_metric: str
    quiet_start: bool  # the loss has a prior of its own, so a fresh head should answer 0

    def output_channels(self, dimensions: int) -> int:
        """Channels of the network's output."""
        ...

    def encode(self, instances: np.ndarray, class_of: np.ndarray, label: int) -> np.ndarray:
        """Make the target of one sample.

        Parameters
        ----------
        instances : ndarray of int, shape (*spatial)
            0 or the number of the lesion that a voxel belongs to.
        class_of : ndarray of int, shape (n_lesions + 1,)
            Class index of each lesion number.
        label : int
            Label of the image, -1 where it has none.
        """
        ...

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss in float32 of the network's raw output, averaged over the batch."""
        ...

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Turn raw outputs, shape (batch, channel, *spatial), into maps that may be averaged over windows."""
        ...

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """List the candidates in maps of shape (channel, z, y, x), the best first."""
        ...
