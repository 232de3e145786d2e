"""Arrays that are made by rows when asked for, so that the whole need not be held.

Rows are the slices along the first spatial axis: z of a volume, y of an image.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

__all__ = ["Rows", "block_rows", "collect", "kept", "row_blocks"]

BLOCK_VOXELS = 1 << 22  # 16 MB of float32 a channel: a patch of the usual sizes is one block


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """An array of which any rows can be had.

    Parameters
    ----------
    shape : tuple of int
        Of the whole array, (channel, *spatial).
    read : function
        ``read(start, stop)`` makes the rows [start, stop), at least one: a tensor, (channel, stop - start, ...).
        It may be shared: do not change it in place.
    """

    shape: tuple[int, ...]
    read: Callable[[int, int], torch.Tensor]


def block_rows(shape: tuple[int, ...], voxels: int) -> int:
    """How many rows of an array of `shape` (channel, *spatial) hold `voxels`; at least one."""
    return max(1, voxels // math.prod(shape[2:]))


def row_blocks(shape: tuple[int, ...], start: int, stop: int, voxels: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut the rows [start, stop) of an array of `shape` into blocks, at multiples of `block_rows`.

    Without `voxels`, blocks are of BLOCK_VOXELS.

    Examples
    --------
    >>> list(row_blocks((1, 10, 4), 3, 10, voxels=16))
    [(3, 4), (4, 8), (8, 10)]
    """
    step = block_rows(shape, BLOCK_VOXELS if voxels is None else voxels)
    while start < stop:
        end = min(stop, start - start % step + step)
        yield start, end
        start = end


def collect(rows: Rows, start: int, stop: int) -> torch.Tensor:
    """Make the rows [start, stop), perhaps none, block by block."""
    if start == stop:
        return rows.read(0, 1)[:, :0]
    if math.prod(rows.shape[1:]) <= BLOCK_VOXELS:
        return rows.read(start, stop)
    blocks = list(row_blocks(rows.shape, start, stop))
    first = rows.read(*blocks[0])
    whole = first.new_empty((first.shape[0], stop - start, *first.shape[2:]))
    whole[:, : first.shape[1]] = first
    for low, high in blocks[1:]:
        whole[:, low - start : high - start] = rows.read(low, high)
    return whole


def kept(rows: Rows) -> Rows:
    """Remember the rows that were asked for last, for a reader that goes over a single block several times."""
    last: dict[tuple[int, int], torch.Tensor] = {}

    def read(start: int, stop: int) -> torch.Tensor:
        if (start, stop) not in last:
            last.clear()
            last[start, stop] = rows.read(start, stop)
        return last[start, stop]

    return Rows(rows.shape, read)
