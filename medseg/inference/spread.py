"""A network over a volume that is spread over processes, or over slabs in turn; no process holds all of it."""

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path

import numpy as np
import torch
from monai.data.utils import compute_importance_map, dense_patch_slices
from torch import nn

from medseg.data.patches import crop_or_pad
from medseg.detectors.base import Detector
from medseg.inference.settings import InferenceSettings
from medseg.parallel.signs import busy
from medseg.parallel.team import Team

__all__ = ["SpreadMaps"]

MEMORY_BYTES = 1 << 30  # of maps that are kept in memory; larger ones lie in a file


class SpreadMaps:
    """The maps (or class probabilities) of a network, window by window, each spread.

    The first process leads: it tells the others which image and collects the results. The image reaches the others as
    a file, of which each reads its own rows.

    Parameters
    ----------
    patch_size : tuple of int or None
        (y, x) or (z, y, x); None: the whole image is one window.
    row_step : int
        Parts begin at multiples of so many rows.
    """

    def __init__(
        self, team: Team, network: nn.Module, detector: Detector, *, patch_size: tuple[int, ...] | None,
        dimensions: int, row_step: int, settings: InferenceSettings, autocast: torch.autocast | None,
    ) -> None:  # fmt: skip
        self._team, self._network, self._detector = team, network, detector
        self._patch_size, self._dimensions, self._row_step = patch_size, dimensions, row_step
        self._settings, self._autocast = settings, autocast
        self._context = team.context()

    def lead(self, image: np.ndarray) -> np.ndarray:
        """Predict an image, shape (channel, z, y, x), with the other processes, which `follow`."""
        with tempfile.TemporaryDirectory(prefix="medseg-image-") as folder:
            if self._team.is_alone:
                return self._run(image)
            about = _file_of(image, Path(folder))
            self._team.told(about)
            return self._run(image)

    def follow(self) -> None:
        """Do this process's part of the images that the first one names, until it names none."""
        with busy():
            while (about := self._team.told()) is not None:
                if self._team.data_rank == 0:
                    path, kind, shape, offset = about
                    self._run(np.memmap(path, kind, "r", offset, shape))

    @torch.inference_mode()
    def _run(self, image: np.ndarray) -> np.ndarray:
        axes = {"z": -3, "y": -2, "x": -1}
        flips: list[int | None] = [None, *(axes[n] for n in self._settings.flip_axes if -axes[n] <= self._dimensions)]
        shape = image.shape[-self._dimensions :]
        size = self._patch_size or shape
        starts = [(0,) * self._dimensions] if self._patch_size is None else _starts(shape, size, self._settings.overlap)
        gaussian = None if len(starts) == 1 else compute_importance_map(size, mode="gaussian").numpy()
        bounds = self._team.bounds(size[0], self._row_step)
        lowest = np.array([channel.min() for channel in image], image.dtype)
        planes = range(image.shape[1]) if self._dimensions == 2 else [None]
        maps: _Blend | None = None
        scores: list[np.ndarray] = []
        for plane, start, flip in product(planes, starts, flips):
            window = _Window(image, plane, start, size, lowest)
            for first, rows in self._outputs(window, bounds, flip):
                if rows.ndim == 2:
                    scores.append(rows[0])
                    continue
                maps = maps or _Blend(len(rows[0]), image.shape[1:], gaussian)
                maps.add(rows[0], plane, start, first)
        if scores:
            return np.mean(scores, axis=0)
        return maps.result() if maps is not None else np.zeros((0, *image.shape[1:]), np.float32)

    def _outputs(
        self, window: "_Window", bounds: tuple[int, ...], flip: int | None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Activated rows of one window on the first process, with the number of the first row of each."""

        def read(a: int, b: int) -> tuple[torch.Tensor]:
            return (torch.from_numpy(window.rows(a, b))[None],)

        with self._context:
            (x,) = self._team.spread(self._context, read, bounds)
            x = x if flip is None else torch.flip(x, [flip])
            with self._autocast or nullcontext():
                y = self._network(x)
            y = self._detector.activate(y)
            y = y if flip is None or y.ndim == 2 else torch.flip(y, [flip])
        for first, rows in self._team.rows_of(self._context, y):
            yield first, rows.numpy()


class _Window:
    """One window of an image; rows outside of the image are its lowest values."""

    def __init__(
        self, image: np.ndarray, plane: int | None, start: tuple[int, ...], size: tuple[int, ...], lowest: np.ndarray
    ) -> None:
        self._image, self._plane, self._start, self._size, self._lowest = image, plane, start, size, lowest

    def rows(self, first: int, last: int) -> np.ndarray:
        """Rows of the window, shape (channel, row, ...)."""
        corner = (self._start[0] + first, *self._start[1:])
        size = (last - first, *self._size[1:])
        if self._plane is None:
            (z, y, x), (depth, height, width) = corner, size
            return crop_or_pad(self._image, (z, y, x), (depth, height, width), outside=self._lowest)
        (y, x), (height, width) = corner, size
        return crop_or_pad(self._image, (self._plane, y, x), (1, height, width), outside=self._lowest)[:, 0]


class _Blend:
    """Maps of windows that overlap, averaged with Gaussian weights."""

    def __init__(self, n_maps: int, shape: tuple[int, ...], gaussian: np.ndarray | None) -> None:
        self._shape, self._gaussian = shape, gaussian
        self._total, self._weight = _zeros((n_maps, *shape)), _zeros(shape)

    def add(self, rows: np.ndarray, plane: int | None, start: tuple[int, ...], first: int) -> None:
        """Add rows, shape (map, row, ...), of the window that begins at `start`."""
        weight = np.ones(rows.shape[1:], np.float32)
        if self._gaussian is not None:
            weight = self._gaussian[first : first + rows.shape[1]]
        corner = (start[0] + first, *start[1:])
        if plane is not None:
            rows, weight, corner = rows[:, None], weight[None], (plane, *corner)
        sizes = zip(corner, weight.shape, self._shape)
        inside = [
            (max(0, -low), min(n, side - low)) for low, n, side in sizes
        ]  # of the rows: what lies within the image
        if any(high <= low for low, high in inside):
            return
        rows = rows[(slice(None), *(slice(low, high) for low, high in inside))]
        weight = weight[tuple(slice(low, high) for low, high in inside)]
        into = tuple(slice(at + low, at + high) for at, (low, high) in zip(corner, inside))
        self._total[(slice(None), *into)] += rows * weight
        self._weight[into] += weight

    def result(self) -> np.ndarray:
        """The blended maps."""
        for row in range(self._shape[0]):
            self._total[:, row] /= self._weight[row]
        return self._total


def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros in memory, or in a file that goes with the array."""
    if np.prod(shape) * 4 <= MEMORY_BYTES:
        return np.zeros(shape, np.float32)
    return np.memmap(tempfile.TemporaryFile(prefix="medseg-maps-"), np.float32, "w+", shape=shape)


def _starts(shape: tuple[int, ...], size: tuple[int, ...], overlap: float) -> list[tuple[int, ...]]:
    """Where windows begin: below 0 along an axis on which the image is smaller, which then lies in the middle."""
    padded = tuple(max(side, patch) for side, patch in zip(shape, size))
    before = [(max(0, patch - side) + 1) // 2 for side, patch in zip(shape, size)]
    steps = tuple(patch if patch == side else max(1, int(patch * (1 - overlap))) for side, patch in zip(padded, size))
    windows = dense_patch_slices(padded, size, steps)
    return [tuple(int(part.start) - low for part, low in zip(window, before)) for window in windows]


def _file_of(image: np.ndarray, folder: Path) -> tuple[str, str, tuple[int, ...], int]:
    """File, type, shape and offset by which other processes can read an image."""
    if isinstance(image, np.memmap) and image.filename is not None and image.flags.c_contiguous:
        return str(image.filename), image.dtype.str, image.shape, int(image.offset)
    path = folder / "image"
    np.ascontiguousarray(image).tofile(path)
    return str(path), image.dtype.str, image.shape, 0
