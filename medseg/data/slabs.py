"""Preparing a volume, and bringing a map back, in slabs: no step holds all of it.

The rows of the file are read once, rising. What they become on the working grid goes into a file beside the result,
over which the statistics are taken and from which the result is written; on disk, both stand at the same time.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from medseg.data.intensity import Scale, scale_of
from medseg.data.npy_rows import NpyRows
from medseg.data.preprocess import Occupied, Prepared, check_channels, grid_of_part, working_grid
from medseg.data.resample import Box, index_map, needed_box, resample, whole_box
from medseg.data.settings import InputSettings
from medseg.errors import GeometryError
from medseg.files import atomic_path
from medseg.imaging.slab_writing import create_slabs
from medseg.imaging.slabs import SlabReader
from medseg.volume import Grid

__all__ = ["SLAB_BYTES", "MapOnGrid", "prepare_slabs", "slabs_on", "write_on"]

SLAB_BYTES = 1 << 27  # of float32 in one slab; a step holds about six of them


def prepare_slabs(
    source: SlabReader,
    settings: InputSettings,
    *,
    spacing: tuple[float, float, float] | None,
    path: str | Path,
    missing: frozenset[int] = frozenset(),
    slab_bytes: int = SLAB_BYTES,
) -> Prepared:
    """Do what `prepare_image` does in slabs, into an ``.npy`` file.

    Parameters
    ----------
    source : SlabReader
        The image; its channels lie on one grid.
    path : str or Path
        The file, which appears when it is whole. Beside it stands for a while a second one of the same size.
    missing : frozenset of int
        Channels that are zeros because there is no image, and stay zeros.
    slab_bytes : int
        About the size of a slab, at least one row of the grids and the rows that the blur reaches over. Where z of
        the file is not z of the patient, each slab goes over all rows of the file beside the result.

    Returns
    -------
    Prepared
        Its image is mapped from `path`. Values are those of `prepare_image` within what float32 resolves.

    Raises
    ------
    MedsegError
        As of `prepare_image`, or when rows of the source cannot be read, or the disk is full.
    """
    path = Path(path)
    check_channels(source.n_channels, settings)
    grid = working_grid(source.grid, settings, spacing)
    with (
        atomic_path(path) as result,
        tempfile.TemporaryDirectory(prefix=".partial-", dir=path.parent) as folder,
        NpyRows.create(Path(folder) / "resampled.npy", (source.n_channels, *grid.shape)) as resampled,
    ):
        spans = _resample(source, grid, resampled, slab_bytes, crop=settings.crop == "above_zero")
        grid = grid_of_part(grid, spans)
        with NpyRows.create(result, (settings.network_channels, *grid.shape)) as output:
            for number in range(source.n_channels):
                channel = _Channel(resampled, number, spans, slab_bytes)
                scale = None if number in missing else scale_of(channel.slabs, settings.intensity)
                _write_channel(channel, scale, output, settings)
    image = np.load(path, mmap_mode="r", allow_pickle=False)
    return Prepared(image, grid, source.grid, source.pixel_spacing_mm)


def _resample(source: SlabReader, grid: Grid, file: NpyRows, slab_bytes: int, *, crop: bool) -> Box:
    """Write the source on `grid` into `file`, and return the part that is kept."""
    occupied = Occupied(grid.shape)
    for box, image in _resampled(source, grid, slab_bytes):
        for channel, values in enumerate(image):
            file.write_box(channel, box, values)
        if crop:
            occupied.add(image, begin=(box[0].start, box[1].start, box[2].start))
    return occupied.spans() if crop else whole_box(grid)


class _Channel:
    """The part `spans` of one channel of a file, in slabs."""

    def __init__(self, file: NpyRows, channel: int, spans: Box, slab_bytes: int) -> None:
        self._file, self.number, self._spans = file, channel, spans
        self._step = max(1, slab_bytes // (4 * file.shape[2] * file.shape[3]))

    def slabs(self) -> Iterator[np.ndarray]:
        """Read it, slab by slab."""
        z, y, x = self._spans
        for start in range(z.start, z.stop, self._step):
            yield self._file.read(self.number, start, min(start + self._step, z.stop))[:, y, x]


def _write_channel(part: _Channel, scale: Scale | None, output: NpyRows, settings: InputSettings) -> None:
    start = 0
    for slab in part.slabs():
        values = slab if scale is None else scale.apply(slab)
        output.write(part.number, start, values)
        if settings.mirrored_channel:
            output.write(settings.channels + part.number, start, values[..., ::-1])
        start += len(slab)


def _resampled(source: SlabReader, grid: Grid, slab_bytes: int) -> Iterator[tuple[Box, np.ndarray]]:
    """Boxes of `grid` with their image, shape (channel, z, y, x), in the order of the rows of the source."""
    held = np.empty((source.n_channels, 0, *source.grid.shape[1:]), np.float32)
    first = 0  # row of the source that the first of `held` is
    for box, rows in sorted(_boxes(source, grid, slab_bytes), key=lambda pair: (pair[1].start, pair[1].stop)):
        new = source.read(max(rows.start, first + held.shape[1]), rows.stop)
        held = np.concatenate([held[:, rows.start - first :], new], axis=1) if held.shape[1] else new
        first = rows.start
        image = [resample(channel, source.grid, grid, outside=None, begin=(first, 0, 0), box=box) for channel in held]
        yield box, np.stack(image)


def _boxes(source: SlabReader, grid: Grid, slab_bytes: int) -> list[tuple[Box, slice]]:
    """Boxes of `grid`, cut across the axis that runs along the rows of the source, and the rows that each needs."""
    along_z = np.abs(index_map(source.grid, grid)[2, :3])
    axis = 2 - int(along_z.argmax())  # of (z, y, x)
    rows_a_step = float(along_z.max())
    middle = grid.shape[axis] // 2
    z = needed_box(source.grid, grid, _cut(grid, axis, middle, middle + 1))[0]
    row_bytes = 4 * source.n_channels * int(np.prod(source.grid.shape[1:]))
    rows = max(slab_bytes // row_bytes, z.stop - z.start)  # else the rows that the blur needs would outweigh the slab
    layer_bytes = 4 * source.n_channels * int(np.prod(grid.shape)) // grid.shape[axis]
    step = max(1, min(int(rows / rows_a_step), slab_bytes // layer_bytes))
    starts = range(0, grid.shape[axis], step)
    boxes = [_cut(grid, axis, start, min(start + step, grid.shape[axis])) for start in starts]
    return [(box, needed_box(source.grid, grid, box)[0]) for box in boxes]


def _cut(grid: Grid, axis: int, start: int, stop: int) -> Box:
    z, y, x = (slice(start, stop) if number == axis else whole for number, whole in enumerate(whole_box(grid)))
    return z, y, x


class MapOnGrid(Protocol):
    """A map of which parts are read: a file (`NpyRows`), or arrays."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(channel, z, y, x)."""

    def read_box(self, channel: int, box: Box) -> np.ndarray:
        """Return the voxels in `box`, (z, y, x), of a channel."""


def slabs_on(
    values: MapOnGrid,
    grid: Grid,
    target: Grid,
    *,
    start: int = 0,
    stop: int | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> Iterator[tuple[int, np.ndarray]]:
    """Bring a map to another grid as ``resample(..., smooth=False)`` does, a slab at a time.

    Parameters
    ----------
    values : MapOnGrid
        The map on `grid`, one channel.
    target : Grid
        Such as that of the image as it was read.
    start, stop : int
        Rows of `target` that are wanted, such as one process's share.

    Yields
    ------
    row : int
        First row of the slab.
    slab : ndarray of float32, shape (n, y, x)
        0 beyond `grid`.

    Raises
    ------
    GeometryError
        When the map does not fit its grid.
    """
    if values.shape != (1, *grid.shape):
        raise GeometryError(f"a map of the shape {values.shape[1:]} does not fit the grid {grid.shape}")
    stop = target.shape[0] if stop is None else stop
    step = max(1, slab_bytes // (4 * target.shape[1] * target.shape[2]))
    for row in range(start, stop, step):
        box = _cut(target, 0, row, min(row + step, stop))
        part = needed_box(grid, target, box, smooth=False)
        yield row, resample(
            values.read_box(0, part), grid, target, smooth=False,
            begin=(part[0].start, part[1].start, part[2].start), box=box,
        )  # fmt: skip


def write_on(
    values: MapOnGrid,
    grid: Grid,
    target: Grid,
    path: str | Path,
    *,
    threshold: float | None = None,
    slab_bytes: int = SLAB_BYTES,
) -> None:
    """Write a map in the geometry of `target` as float32 NIfTI, or as a uint8 mask of what reaches `threshold`.

    Parameters
    ----------
    values, grid, target
        As of `slabs_on`.
    path : str or Path
        ``.nii.gz`` or ``.nii``.

    Raises
    ------
    MedsegError
        When the map does not fit its grid, or the file cannot be written.
    """
    with create_slabs(path, target, np.float32 if threshold is None else np.uint8) as writer:
        for row, slab in slabs_on(values, grid, target, slab_bytes=slab_bytes):
            writer.write(row, slab if threshold is None else (slab >= threshold).astype(np.uint8))
