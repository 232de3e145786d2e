"""A volume in an ``.npy`` file, read and written by rows without mapping it, so that memory stays what is asked for."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from medseg.data.resample import Box
from medseg.errors import ImageError

__all__ = ["NpyRows"]

BLOCK = 1 << 25  # bytes of rows that are held to cut a part out of them, or to put one in


class NpyRows:
    """Rows of the axis z of an array of shape (channel, z, y, x) in a file.

    Pages of a mapped file count as memory of the process; reads and writes do not.

    Parameters
    ----------
    path : Path
        Of a file made by `numpy.save` or `create`, C order; an array (z, y, x) is one channel.
    writable : bool

    Raises
    ------
    ImageError
        When it is no such file.
    """

    def __init__(self, path: str | Path, *, writable: bool = False) -> None:
        self.path = Path(path)
        try:
            array = np.load(self.path, mmap_mode="r", allow_pickle=False)  # reads the header alone
        except (OSError, ValueError, EOFError) as error:
            raise ImageError(f"{self.path}: not readable as a NumPy array ({error})") from error
        if not isinstance(array, np.memmap) or array.ndim not in (3, 4) or not array.flags.c_contiguous:
            raise ImageError(f"{self.path}: an array with the axes ([channel,] z, y, x) in C order was expected")
        self.dtype = array.dtype
        self.shape: tuple[int, ...] = (1, *array.shape)[-4:]
        self._begin = int(array.offset)
        self._row_bytes = self.shape[2] * self.shape[3] * self.dtype.itemsize
        self._stream = self.path.open("r+b" if writable else "rb", buffering=0)

    @classmethod
    def create(cls, path: str | Path, shape: tuple[int, int, int, int]) -> Self:
        """Make a float32 file of the shape (channel, z, y, x), which reads as zeros until it is written."""
        with Path(path).open("wb") as stream:
            about = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False}
            np.lib.format.write_array_header_1_0(stream, {**about, "shape": shape})
            stream.truncate(stream.tell() + 4 * int(np.prod(shape, dtype=np.int64)))
        return cls(path, writable=True)

    def _seek(self, channel: int, row: int) -> None:
        self._stream.seek(self._begin + (channel * self.shape[1] + row) * self._row_bytes)

    def read(self, channel: int, start: int, stop: int) -> np.ndarray:
        """Return the rows `start` to `stop` of a channel, shape (stop - start, y, x)."""
        rows = np.empty((stop - start, *self.shape[2:]), self.dtype)
        self._seek(channel, start)
        view, done = rows.reshape(-1).view(np.uint8).data, 0
        while done < len(view):  # a system call moves 2 GB at most
            count = self._stream.readinto(view[done:])
            if not count:
                raise ImageError(f"{self.path}: cut off: {done} of {len(view)} bytes found at row {start}")
            done += count
        return rows

    def write(self, channel: int, start: int, rows: np.ndarray) -> None:
        """Write rows, shape (n, y, x), from row `start` of a channel on."""
        self._seek(channel, start)
        view, done = np.ascontiguousarray(rows, self.dtype).reshape(-1).view(np.uint8).data, 0
        while done < len(view):
            done += self._stream.write(view[done:]) or 0

    def _blocks(self, rows: slice) -> list[slice]:
        step = max(1, BLOCK // max(1, self._row_bytes))
        return [slice(start, min(start + step, rows.stop)) for start in range(rows.start, rows.stop, step)]

    def read_box(self, channel: int, box: Box) -> np.ndarray:
        """Return the voxels in `box`, (z, y, x), of a channel."""
        shape = [span.stop - span.start for span in box]
        values = np.empty(shape, self.dtype)
        for block in self._blocks(box[0]):
            rows = self.read(channel, block.start, block.stop)
            values[block.start - box[0].start : block.stop - box[0].start] = rows[:, box[1], box[2]]
        return values

    def write_box(self, channel: int, box: Box, values: np.ndarray) -> None:
        """Write `values` into `box`, (z, y, x), of a channel."""
        if list(values.shape[1:]) == list(self.shape[2:]):
            self.write(channel, box[0].start, values)
            return
        for block in self._blocks(box[0]):
            rows = self.read(channel, block.start, block.stop)
            rows[:, box[1], box[2]] = values[block.start - box[0].start : block.stop - box[0].start]
            self.write(channel, block.start, rows)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
