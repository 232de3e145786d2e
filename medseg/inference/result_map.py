"""A map of one prediction, brought from the working grid to that of the input, in slabs or whole."""

from pathlib import Path

import numpy as np

from medseg.data.resample import Box
from medseg.data.slabs import slabs_on, write_on
from medseg.volume import Grid

__all__ = ["ResultMap"]


class ResultMap:
    """The largest probability (or heat) over the classes.

    Parameters
    ----------
    maps : ndarray of float32, shape (class, z, y, x)
        On `grid`; may be mapped from a file.
    grid : Grid
        The working grid.
    source : Grid
        That of the input, in which everything is given out; 0 beyond `grid`.
    """

    def __init__(self, maps: np.ndarray, grid: Grid, source: Grid) -> None:
        self._maps, self._grid, self.source = maps, grid, source

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, z, y, x) on the working grid."""
        return 1, *self._maps.shape[1:]

    def of_same_grid(self, maps: np.ndarray) -> "ResultMap":
        """Return another map of the same image, from `maps` of shape (class, z, y, x) on the working grid."""
        return ResultMap(maps, self._grid, self.source)

    def read_box(self, channel: int, box: Box) -> np.ndarray:
        """Return the voxels in `box`, (z, y, x), of the working grid."""
        return self._maps[(slice(None), *box)].max(axis=0)

    def rows(self, start: int, stop: int, *, threshold: float | None = None) -> np.ndarray:
        """Return rows of the input's grid, shape (stop - start, y, x).

        Parameters
        ----------
        threshold : float, optional
            Return 1 where the map reaches it and 0 elsewhere, uint8, instead of the values.
        """
        kind = np.float32 if threshold is None else np.uint8
        result = np.empty((stop - start, *self.source.shape[1:]), kind)
        for row, slab in slabs_on(self, self._grid, self.source, start=start, stop=stop):
            result[row - start : row - start + len(slab)] = slab if threshold is None else slab >= threshold
        return result

    def write(self, path: Path, *, threshold: float | None = None) -> None:
        """Write NIfTI in the input's grid, slab by slab: float32, or uint8 of what reaches `threshold`."""
        write_on(self, self._grid, self.source, path, threshold=threshold)
