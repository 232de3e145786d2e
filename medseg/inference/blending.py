"""Where the windows of an image lie, and one map out of those of all windows; neither needs the image itself."""

import tempfile
from collections.abc import Iterator
from itertools import product

import numpy as np
from monai.data.utils import compute_importance_map, dense_patch_slices

__all__ = ["Blend", "Windows"]

MEMORY_BYTES = 1 << 30  # of an array that is kept in memory; larger ones lie in a file


class Windows:
    """Windows that cover an image and overlap, as those of `medseg.inference.windows`.

    Parameters
    ----------
    shape : tuple of int
        The image's last axes, as many as a window has.
    size : tuple of int
        Of a window. Along an axis on which the image is smaller, it lies in the middle of the window.
    overlap : float
        Of neighbours, as a share of the window.
    """

    def __init__(self, shape: tuple[int, ...], size: tuple[int, ...], overlap: float) -> None:
        self.shape, self.size = shape, size
        self._padded = tuple(max(side, patch) for side, patch in zip(shape, size))
        self._before = tuple((patch - side + 1) // 2 for side, patch in zip(shape, self._padded))
        steps = tuple(
            patch if patch == side else max(1, int(patch * (1 - overlap))) for side, patch in zip(self._padded, size)
        )
        places = dense_patch_slices(self._padded, size, steps)
        self._starts = [tuple(int(part.start) for part in place) for place in places]  # on the padded image
        self._gaussian: np.ndarray | None = None
        if len(self._starts) > 1:
            self._gaussian = np.asarray(compute_importance_map(size, mode="gaussian"), np.float32)
            self._sum = _zeros(self._padded)
            for start in self._starts:
                self._sum[tuple(slice(low, low + n) for low, n in zip(start, size))] += self._gaussian

    @property
    def reach_beyond(self) -> bool:
        """Whether there is less image than a window takes."""
        return self._padded != self.shape

    def starts(self, flip: int | None) -> Iterator[tuple[int, ...]]:
        """Yield where windows begin, below 0 where they begin outside.

        Parameters
        ----------
        flip : int or None
            Axis, counted from the end, along which they lie as on the mirror image.
        """
        for start in self._starts:
            there = list(start)
            if flip is not None:
                there[flip] = self._padded[flip] - self.size[flip] - start[flip]
            yield tuple(low - before for low, before in zip(there, self._before))

    def share(self, start: tuple[int, ...], first: int, n: int, flip: int | None) -> np.ndarray | None:
        """Return what `n` rows of the window at `start` count in the mean of all that cover them; None: all of it."""
        if self._gaussian is None:
            return None
        spans, step = [], [slice(None)] * len(self.size)
        rows = (n, *self.size[1:])
        for low, before, length in zip((start[0] + first, *start[1:]), self._before, rows):
            spans.append(slice(low + before, low + before + length))
        if flip is not None:  # the sums of the mirror image
            side = self._padded[flip]
            spans[flip] = slice(side - spans[flip].stop, side - spans[flip].start)
            step[flip] = slice(None, None, -1)
        return self._gaussian[first : first + n] / self._sum[tuple(spans)][tuple(step)]


class Blend:
    """The mean of the maps of windows that overlap, and of mirror images.

    Parameters
    ----------
    n_maps : int
    shape : tuple of int
        (z, y, x) of the image.
    n_views : int
        The image and its mirror images.
    """

    def __init__(self, n_maps: int, shape: tuple[int, ...], windows: Windows, n_views: int) -> None:
        self._shape, self._windows, self._n_views = shape, windows, n_views
        self._total = _zeros((n_maps, *shape))

    def add(self, rows: np.ndarray, plane: int | None, start: tuple[int, ...], first: int, flip: int | None) -> None:
        """Add rows, shape (map, row, ...), of the window at `start`, the first being its row `first`.

        Parameters
        ----------
        plane : int or None
            Slice of the image in which a two-dimensional window lies.
        """
        share = self._windows.share(start, first, rows.shape[1], flip)
        if share is not None:
            rows = rows * share
        corner = (start[0] + first, *start[1:])
        if plane is not None:
            rows, corner = rows[:, None], (plane, *corner)
        inside, into = [], []
        for low, n, side in zip(corner, rows.shape[1:], self._shape):
            inside.append(slice(max(0, -low), max(0, min(n, side - low))))
            into.append(slice(max(0, low), max(0, min(low + n, side))))
        self._total[(slice(None), *into)] += rows[(slice(None), *inside)]

    def result(self) -> np.ndarray:
        """Return the maps, shape (map, z, y, x)."""
        if self._n_views > 1:
            for channel, row in product(range(len(self._total)), range(self._shape[0])):
                self._total[channel, row] /= self._n_views
        return self._total


def _zeros(shape: tuple[int, ...]) -> np.ndarray:
    """Zeros in memory, or in a file that goes with the array."""
    if 4 * int(np.prod(shape, dtype=np.int64)) <= MEMORY_BYTES:
        return np.zeros(shape, np.float32)
    return np.memmap(tempfile.TemporaryFile(prefix="medseg-maps-"), np.float32, "w+", shape=shape)
