"""Writing a mask or map as NIfTI in slabs: by one process, or by several into one file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from medseg.errors import OutputError
from medseg.files import atomic_path, output_errors
from medseg.imaging.nifti_write import nifti_header, open_output
from medseg.volume import Grid

__all__ = ["SlabWriter", "create_slabs", "join_slabs"]


class SlabWriter:
    """Rows of the axis z of one file, made by `create_slabs` or `join_slabs`.

    Parameters
    ----------
    partial : Path
        The file until it is whole; `join_slabs` takes it.
    """

    def __init__(self, path: Path, partial: Path, stream: BinaryIO, grid: Grid, dtype: np.dtype) -> None:
        self.partial = partial
        self._path, self._stream, self._grid, self._dtype = path, stream, grid, dtype
        self._begin = len(nifti_header(grid.shape, grid, dtype))
        self._forward = partial.name.lower().endswith(".gz")
        self._written = np.zeros(grid.shape[0], dtype=bool)

    def write(self, start: int, rows: np.ndarray) -> None:
        """Write rows, shape (n, y, x), from row `start` on; a compressed file takes them in rising order alone.

        Raises
        ------
        OutputError
            When they do not lie in the volume, are out of order, or their type does not fit that of the file.
        """
        rows = np.asarray(rows)
        depth, *plane = self._grid.shape
        stop = start + len(rows)
        if rows.ndim != 3 or list(rows.shape[1:]) != plane or not 0 <= start <= stop <= depth:
            raise OutputError(
                f"{self._path}: rows of the shape {rows.shape} from row {start} on do not fit {self._grid.shape}"
            )
        if not np.can_cast(rows.dtype, self._dtype, "same_kind"):
            raise OutputError(f"{self._path}: {rows.dtype.name} values do not fit into a file of {self._dtype.name}")
        if self._forward and start != (expected := int(np.count_nonzero(self._written))):
            raise OutputError(f"{self._path}: a compressed file is written in order: row {expected}, not {start}")
        if not self._forward:
            self._stream.seek(self._begin + start * int(np.prod(plane)) * self._dtype.itemsize)
        for row in rows:  # one after another, so that no second copy is made of all
            self._stream.write(np.ascontiguousarray(row, dtype=self._dtype).data.cast("B"))
        self._written[start:stop] = True

    def mark_written(self, start: int, stop: int) -> None:
        """Note that another process wrote the rows `start` to `stop`."""
        self._written[start:stop] = True

    def check_whole(self) -> None:
        """Refuse a file that lacks rows.

        Raises
        ------
        OutputError
            Naming the first.
        """
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise OutputError(f"{self._path}: {len(missing)} rows were never written, the first is {missing[0]}")


@contextmanager
def create_slabs(path: str | Path, grid: Grid, dtype: Any) -> Iterator[SlabWriter]:
    """Create a ``.nii`` or ``.nii.gz`` file that is written in slabs; it appears when the block ends and it is whole.

    Rows of ``.nii`` may be written in any order, and by several processes: the others `join_slabs` with
    ``writer.partial``, and before the block ends (behind a barrier) this one is told with `mark_written` what they
    wrote. What is left by a process that was killed is a hidden ``.partial-`` file.

    Parameters
    ----------
    grid : Grid
        Of the whole volume.
    dtype : numpy type
        To store the values as.

    Raises
    ------
    OutputError
        When the disk is full, a row is missing at the end, or the name ends otherwise; no file is left.

    Examples
    --------
    >>> with create_slabs("mask.nii", grid, np.uint8) as writer:  # doctest: +SKIP
    ...     for start in range(0, grid.shape[0], 16):
    ...         writer.write(start, mask[start : start + 16])
    """
    path = Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise OutputError(f"{path}: slabs are written as .nii or .nii.gz")
    kind = np.dtype(dtype).newbyteorder("=")
    header = nifti_header(grid.shape, grid, kind)
    n_bytes = int(np.prod(grid.shape, dtype=np.int64)) * kind.itemsize
    with atomic_path(path) as partial, open_output(partial, n_bytes) as stream:
        stream.write(header)
        writer = SlabWriter(path, partial, stream, grid, kind)
        if not path.name.lower().endswith(".gz"):
            stream.truncate(len(header) + n_bytes)
            stream.flush()  # before others write
        yield writer
        writer.check_whole()


@contextmanager
def join_slabs(partial: str | Path, grid: Grid, dtype: Any) -> Iterator[SlabWriter]:
    """Write rows into a ``.nii`` file that another process made with `create_slabs`, of the same grid and type.

    Raises
    ------
    OutputError
        When it is not there, is compressed or of another size, or the disk is full.
    """
    partial = Path(partial)
    kind = np.dtype(dtype).newbyteorder("=")
    n_bytes = len(nifti_header(grid.shape, grid, kind)) + int(np.prod(grid.shape, dtype=np.int64)) * kind.itemsize
    if partial.name.lower().endswith(".gz"):
        raise OutputError(f"{partial}: a compressed file is written by one process; use .nii")
    if not partial.is_file() or partial.stat().st_size != n_bytes:
        raise OutputError(f"{partial}: is not there, or not of the {n_bytes} bytes that this volume takes")
    with output_errors(partial), partial.open("r+b") as stream:
        yield SlabWriter(partial, partial, stream, grid, kind)
