"""Blocks of tensors in a file without a name, which is gone with the process, however that ends."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from pathlib import Path

import torch

from medseg.errors import OutputError
from medseg.parallel.layout import Interval

__all__ = ["ScratchFile"]

# Tensors of the same width, which NumPy has views of (it has no bfloat16)
PLAIN = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.complex128}
SMALL_BYTES = 4096  # pieces below a page of memory are not worth a system call each


class ScratchFile:
    """Blocks that are written, read in part, and given back; what is given back is used again for the same size.

    Parameters
    ----------
    folder : Path, optional
        Where the file lies; the system's place for temporary files unless given.

    Raises
    ------
    OutputError
        When the file cannot be made, or when the disk is full.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = tempfile.gettempdir() if folder is None else str(folder)
        try:
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115, open as long as this
        except OSError as error:
            raise OutputError(f"{self._folder}: no file for slabs can be made there: {error.strerror}") from error
        self._end = 0
        self._free: dict[int, list[int]] = {}  # places of each size

    @property
    def size(self) -> int:
        """Bytes that the file has grown to."""
        return self._end

    def take(self, size: int) -> int:
        """Return the place of a free block of `size` bytes."""
        free = self._free.get(size)
        if free:
            return free.pop()
        start, self._end = self._end, self._end + size
        return start

    def give_back(self, start: int, size: int) -> None:
        """Let a block be used again."""
        self._free.setdefault(size, []).append(start)

    def write(self, start: int, shape: Sequence[int], box: Sequence[Interval], values: torch.Tensor) -> None:
        """Write a box of a block of `shape`."""
        if _in_small_pieces(values, shape, box):
            thick, inner = _thick(shape, box)
            whole = values.new_empty([high - low for low, high in thick])
            if values.shape != whole.shape:
                self.read(start, shape, thick, whole)
            whole[inner] = values
            box, values = thick, whole
        for offset, chunk in _chunks(values, shape, box):
            self._write(start + offset, chunk)

    def read(self, start: int, shape: Sequence[int], box: Sequence[Interval], into: torch.Tensor) -> None:
        """Read a box of a block of `shape` into a tensor, which may be a part of another one."""
        if _in_small_pieces(into, shape, box):
            thick, inner = _thick(shape, box)
            whole = into.new_empty([high - low for low, high in thick])
            self.read(start, shape, thick, whole)
            into.copy_(whole[inner])
            return
        for offset, chunk in _chunks(into, shape, box):
            self._read(start + offset, chunk)

    def _write(self, offset: int, chunk: memoryview) -> None:
        while chunk:
            try:
                done = os.pwrite(self._file.fileno(), chunk, offset)
            except OSError as error:
                raise OutputError(
                    f"{self._folder}: {error.strerror} after {self._end / 2**30:.1f} GiB of slabs; give another folder "
                    "(TMPDIR), or keep the slabs in host memory"
                ) from error
            offset, chunk = offset + done, chunk[done:]

    def _read(self, offset: int, chunk: memoryview) -> None:
        while chunk:
            done = os.preadv(self._file.fileno(), [chunk], offset)
            if not done:
                raise OutputError(f"{self._folder}: the file of slabs was cut short")
            offset, chunk = offset + done, chunk[done:]


def _chunk_dim(values: torch.Tensor, shape: Sequence[int], box: Sequence[Interval]) -> int:
    """First of the last dimensions that lie in one piece, both in the tensor and in the box of a block."""
    first, step = values.ndim, 1
    for dim in reversed(range(values.ndim)):
        if values.shape[dim] != 1 and values.stride(dim) != step:
            break
        first, step = dim, step * values.shape[dim]
        if box[dim] != (0, shape[dim]):
            break
    return first


def _in_small_pieces(values: torch.Tensor, shape: Sequence[int], box: Sequence[Interval]) -> bool:
    piece = prod(values.shape[_chunk_dim(values, shape, box) :]) * values.element_size()
    return piece < min(SMALL_BYTES, values.nbytes)


def _thick(shape: Sequence[int], box: Sequence[Interval]) -> tuple[list[Interval], tuple[slice, ...]]:
    """A box that lies in one piece, and where the other one is in it."""
    return [box[0], *((0, side) for side in shape[1:])], (slice(None), *(slice(*one) for one in box[1:]))


def _chunks(values: torch.Tensor, shape: Sequence[int], box: Sequence[Interval]) -> Iterator[tuple[int, memoryview]]:
    """Bytes of a tensor and where they lie in a block of `shape`, of which the tensor is a box."""
    if not values.numel():
        return
    dim, size = _chunk_dim(values, shape, box), values.element_size()
    array = values.view(PLAIN[size]).numpy()
    steps = [prod(shape[one + 1 :]) for one in range(len(shape))]
    first = sum(low * step for (low, _), step in zip(box, steps))
    for index in product(*(range(side) for side in values.shape[:dim])):
        offset = first + sum(one * step for one, step in zip(index, steps))
        yield offset * size, memoryview(array[index].reshape(-1)).cast("B")
