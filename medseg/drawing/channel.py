"""Which channel of an image is drawn, and its rows."""

from collections.abc import Iterator

import numpy as np

from medseg.imaging.slabs import SlabReader

__all__ = ["channel_slabs", "shown_channel"]

SLAB_BYTES = 1 << 25  # of rows that are read at a time


def shown_channel(source: SlabReader, wanted: int) -> int:
    """Number, from 0, of the channel that is shown where number `wanted`, from 1, is asked for.

    The first, where there is no such channel, or it is missing and zeros stand for it.
    """
    number = wanted - 1
    if not 0 < number < source.n_channels or not any(slab.any() for slab in channel_slabs(source, number)):
        return 0
    return number


def channel_slabs(source: SlabReader, channel: int) -> Iterator[np.ndarray]:
    """Read one channel in slabs, each of the shape (z, y, x)."""
    step = max(1, SLAB_BYTES // (4 * source.n_channels * source.grid.shape[1] * source.grid.shape[2]))
    for start in range(0, source.grid.shape[0], step):
        yield source.read(start, min(start + step, source.grid.shape[0]))[channel]
