"""A network over a volume that is spread over processes, or over slabs in turn; no process holds all of it."""

import mmap
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import nn

from medseg.data.npy_rows import NpyRows
from medseg.data.patches import crop_or_pad
from medseg.detectors.base import Detector
from medseg.inference.blending import Blend, Windows
from medseg.inference.class_maps import flips_of
from medseg.inference.settings import InferenceSettings
from medseg.parallel.errors import RankError
from medseg.parallel.ranks import one_line
from medseg.parallel.signs import beat, busy, is_lost_connection
from medseg.parallel.team import Team

__all__ = ["Spread", "SpreadMaps", "Window"]

Result = TypeVar("Result")


class Spread(ABC, Generic[Result]):
    """What a network says of images that are spread.

    The first process leads: it tells the others which image and collects the results. The image is a file, of which
    each process reads its own rows.

    Parameters
    ----------
    row_step : int
        Parts begin at multiples of so many rows.
    """

    def __init__(
        self, team: Team, network: nn.Module, detector: Detector, *, dimensions: int, row_step: int,
        settings: InferenceSettings, autocast: torch.autocast | None,
    ) -> None:  # fmt: skip
        self._team, self._network, self._detector = team, network, detector
        self._dimensions, self._row_step = dimensions, row_step
        self._overlap, self._autocast = settings.overlap, autocast
        self._flips = flips_of(settings, dimensions)
        self._context = team.context()

    def lead(self, image: np.ndarray) -> Result:
        """Predict an image, shape (channel, z, y, x), with the other processes, which `follow`.

        An image that is mapped from an ``.npy`` file, such as `prepare_slabs` makes, is read from there; another one is
        written to a temporary file first. The other processes must see the file.

        Raises
        ------
        RankError
            When something fails that leaves the processes at different places: they cannot go on together.
        """
        with tempfile.TemporaryDirectory(prefix="medseg-image-") as folder:
            path = _file_of(image, Path(folder))
            self._team.told(str(path))
            return self._run(path)

    def follow(self) -> None:
        """Do this process's part of the images that the first one names, until it names none."""
        while True:
            with busy():  # each wait has its own limit: a batch may last for days
                path = self._team.told()
            if path is None:
                return
            if self._team.data_rank == 0:
                self._run(Path(path))

    def _run(self, path: Path) -> Result:
        if self._team.is_alone:
            with NpyRows(path) as image:
                return self._over(image)
        try:
            with busy(0), NpyRows(path) as image:  # silence counts: who hangs here keeps the others waiting
                self._team.meet()  # all have opened the file, which goes when the first process is done or fails
                return self._over(image)
        except Exception as error:  # whatever it is: the others are somewhere in the same window and wait
            if isinstance(error, RankError) or is_lost_connection(error):
                raise
            raise RankError(f"prediction that is spread over processes ends with what failed in one: {one_line(error)}"
                            ) from error  # fmt: skip

    @abstractmethod
    def _over(self, image: NpyRows) -> Result:
        """This process's part of the work over one image."""

    def _spread(self, window: "Window") -> torch.Tensor:
        bounds = self._team.bounds(window.size[0], self._row_step)
        # outside of the context, in which a part would pass for the whole tensor
        (x,) = self._team.spread(self._context, lambda a, b: (torch.from_numpy(window.rows(a, b)[None]),), bounds)
        return x


class SpreadMaps(Spread[np.ndarray]):
    """The maps of a network, float32 of shape (map, z, y, x), from 1 GiB on mapped from a temporary file.

    Parameters
    ----------
    patch_size : tuple of int
        (y, x) or (z, y, x): maps are made window by window, each spread.
    others
        As of `Spread`.
    """

    def __init__(
        self, team: Team, network: nn.Module, detector: Detector, *, patch_size: tuple[int, ...], **others: Any
    ) -> None:
        super().__init__(team, network, detector, **others)
        self._patch_size = patch_size

    @torch.inference_mode()
    def _over(self, image: NpyRows) -> np.ndarray:
        shape = image.shape[1:]
        size = self._patch_size
        windows = Windows(shape[-self._dimensions :], size, self._overlap)
        lowest = _lowest(image) if windows.reach_beyond else np.zeros(image.shape[0], np.float32)
        planes = range(shape[0]) if self._dimensions == 2 else [None]
        blend: Blend | None = None
        for plane, flip in product(planes, self._flips):
            for start in windows.starts(flip):
                window = Window(image, plane, start, size, lowest, flip)
                for first, rows in self._outputs(window):
                    blend = blend or Blend(len(rows[0]), shape, windows, len(self._flips))
                    first, rows = window.turned(first, rows[0])
                    blend.add(rows, plane, start, first, flip)
                beat()
        return blend.result() if blend is not None else np.zeros((0, *shape), np.float32)

    def _outputs(self, window: "Window") -> Iterator[tuple[int, np.ndarray]]:
        """Activated rows of one window on the first process, with the number of the first row of each."""
        x = self._spread(window)
        with self._context:
            with self._autocast or nullcontext():
                y = self._network(x)
            y = self._detector.activate(y)
        for first, rows in self._team.rows_of(self._context, y):
            yield first, rows.numpy()


class Window:
    """One window of an image, seen from its mirror image where one is asked for.

    Parameters
    ----------
    plane : int or None
        Slice in which a two-dimensional window lies.
    start, size : tuple of int
        (y, x) or (z, y, x); what lies outside of the image has the values `lowest`.
    lowest : ndarray, shape (channel,), optional
        0 unless given.
    flip : int or None
        Axis, counted from the end, that is mirrored.
    """

    def __init__(
        self, image: NpyRows, plane: int | None, start: tuple[int, ...], size: tuple[int, ...],
        lowest: np.ndarray | None = None, flip: int | None = None,
    ) -> None:  # fmt: skip
        self.size = size
        lowest = np.zeros(image.shape[0], np.float32) if lowest is None else lowest
        self._image, self._plane, self._start, self._lowest, self._flip = image, plane, start, lowest, flip

    @property
    def _flips_rows(self) -> bool:
        return self._flip == -len(self.size)

    def turned(self, first: int, rows: np.ndarray) -> tuple[int, np.ndarray]:
        """Turn rows, shape (channel, row, ...), of the window into those of the mirrored one, or back."""
        if self._flip is None:
            return first, rows
        if self._flips_rows:
            first = self.size[0] - first - rows.shape[1]
        return first, np.flip(rows, self._flip)

    def rows(self, first: int, last: int) -> np.ndarray:
        """Return rows `first` to `last`, shape (channel, row, ...), float32."""
        if self._flips_rows:
            first, last = self.size[0] - last, self.size[0] - first
        corner, size = (self._start[0] + first, *self._start[1:]), (last - first, *self.size[1:])
        if self._plane is not None:
            corner, size = (self._plane, *corner), (1, *size)
        z, y, x = (
            slice(min(max(low, 0), side), max(min(low + n, side), 0))
            for low, n, side in zip(corner, size, self._image.shape[1:])
        )
        part = np.stack([self._image.read_box(channel, (z, y, x)) for channel in range(self._image.shape[0])])
        low_z, low_y, low_x = corner
        depth, height, width = size
        rows = crop_or_pad(
            part, (low_z - z.start, low_y - y.start, low_x - x.start), (depth, height, width), outside=self._lowest
        )
        _, turned = self.turned(first, rows if self._plane is None else rows[:, 0])
        return np.ascontiguousarray(turned, np.float32)


def _lowest(image: NpyRows) -> np.ndarray:
    """Smallest value of each channel."""
    n_channels, depth = image.shape[:2]
    return np.array(
        [min(image.read(channel, row, row + 1).min() for row in range(depth)) for channel in range(n_channels)],
        np.float32,
    )


def _file_of(image: np.ndarray, folder: Path) -> Path:
    """File from which all processes read an image."""
    # a part of a mapped array has that array for its base, and the name of the same file
    if isinstance(image, np.memmap) and isinstance(image.base, mmap.mmap) and str(image.filename).endswith(".npy"):
        return Path(str(image.filename))
    path = folder / "image.npy"
    np.save(path, image)
    return path
