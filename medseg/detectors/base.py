"""The interface that training and inference know of a detector."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from medseg.detectors.candidates import Candidate

__all__ = ["Detector"]


class Detector(Protocol):
    """What training and inference ask of a task."""

    classes: tuple[str, ...]
    quiet_start: bool  # the loss has a prior of its own, so a fresh head should answer 0

    @property
    def validation_metric(self) -> str:
        """Name of the figure by which checkpoints are chosen."""
        ...

    def output_channels(self, dimensions: int) -> int:
        """Channels of the network's output."""
        ...

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
        """Make the target of one sample, or of some of its rows (along the first spatial axis, perhaps none).

        The targets of rows, put together, are the target of the whole; one without spatial axes is that of the whole.

        Parameters
        ----------
        instances : ndarray of int, shape (*spatial)
            0 or the number of the lesion that a voxel belongs to.
        class_of : ndarray of int, shape (n_lesions + 1,)
            Class index of each lesion number.
        label : int
            Label of the image, -1 where it has none.
        labels : sequence of int, shape (class,)
            Whether the image shows each class: 1, 0, or -1 where that is uncertain or not read.
        first_row : int
            Where `instances` begin in the sample.
        boxes : function, optional
            Finds the lesions' boxes in the whole sample, an ndarray of int of shape (n_lesions, axis, 2), half-open
            (see `lesion_boxes`); a detector that does without them does not call it. None: `instances` are the whole.
        sizes : function, optional
            Counts the voxels of each number, from 0, in the whole sample: an ndarray of int of shape (n_lesions + 1,).
        """
        ...

    def loss(self, output: Any, target: torch.Tensor) -> torch.Tensor:
        """Loss in float32 of the network's raw output, averaged over the batch.

        A network whose lower levels are supervised gives a tuple of outputs in training: see `medseg.detectors.levels`.
        """
        ...

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Turn raw outputs, shape (batch, channel, *spatial), into maps that may be averaged over windows."""
        ...

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """List the candidates in maps of shape (channel, z, y, x), the best first."""
        ...
