"""Channels that are taken away: as a phase that was not acquired, or could not be read."""

from collections.abc import Sequence

import numpy as np
import torch

from medseg.data.rows import Rows

__all__ = ["draw_dropped", "dropped", "missing_of"]


def draw_dropped(random: np.random.Generator, n_channels: int, probability: float) -> tuple[int, ...]:
    """Draw which channels are taken away: each but the first on its own, so that never all are.

    Nothing is drawn where `probability` is 0.
    """
    if not probability or n_channels < 2:
        return ()
    return tuple(number for number in range(1, n_channels) if random.random() < probability)


def dropped(rows: Rows, channels: Sequence[int]) -> Rows:
    """Make `channels` 0, the value of a channel that is missing."""
    chosen = list(channels)

    def read(start: int, stop: int) -> torch.Tensor:
        image = rows.read(start, stop).clone()
        image[chosen] = 0
        return image

    return Rows(rows.shape, read)


def missing_of(image: np.ndarray) -> tuple[int, ...]:
    """Channels of an image, shape (channel, ...), that are 0 throughout: no image that was normalised is."""
    return tuple(number for number, channel in enumerate(image) if not channel.any())
