"""Changes of place, by rows: mirroring and the affine map. The rows of any division are the same bit for bit."""

import math

import numpy as np
import torch
from monai.transforms import Resample
from monai.transforms.utils import create_rotate, create_scale, create_translate
from monai.utils import convert_to_tensor

from medseg.data.rows import Rows, row_blocks

__all__ = ["affine_matrix", "flipped", "moved"]

GRID_VOXELS = 1 << 19  # mapped at once: the float64 positions and values take some 60 bytes a voxel
FINEST = 2.0**-20  # voxels; positions along the rows are multiples of it, see `moved`


def flipped(rows: Rows, axes: tuple[int, ...]) -> Rows:
    """Mirror `rows` along the spatial `axes`."""
    n = rows.shape[1]

    def read(start: int, stop: int) -> torch.Tensor:
        if 0 in axes:
            start, stop = n - stop, n - start
        return rows.read(start, stop).flip([axis + 1 for axis in axes])

    return Rows(rows.shape, read)


def affine_matrix(
    turn: float, shifts: list[float], scales: list[float], others: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Map of MONAI's `RandAffine` from places of the result to places of the source, both from the centre.

    Parameters
    ----------
    turn : float
        In radians, in the plane (y, x).
    shifts, scales : list of float
        In voxels and as factors, one an axis.
    others : tuple of float
        In three dimensions: in radians, in the planes (z, x) and (z, y).
    """
    n = len(shifts)
    matrix = create_rotate(n, (turn, *others) if n == 3 else (turn,)) @ create_translate(n, shifts)
    return np.asarray(matrix @ create_scale(n, scales), np.float64)


def moved(rows: Rows, matrix: np.ndarray, *, nearest: bool) -> Rows:
    """Sample `rows` where `matrix` points to, linearly or from the nearest voxel; beyond the edge: the edge's values.

    Rows of the result need those source rows that they are sampled from.
    """
    shape = rows.shape[1:]
    resample = Resample(mode="nearest" if nearest else "bilinear", padding_mode="border")

    def sampled(start: int, stop: int) -> torch.Tensor:
        where = _positions(matrix, shape, start, stop)
        where[0] = where[0].clip(0, shape[0] - 1)
        if nearest:
            where = [along.round() for along in where]
        else:
            where[0] = (where[0] / FINEST).round() * FINEST
        low, high = int(where[0].min()), min(int(where[0].max()) + 2, shape[0])
        # With a power of two for the number of rows, the resampler's arithmetic along them is exact, so that where the
        # source was cut leaves no trace, not even a rounding error.
        source = rows.read(low, high)
        length = 1 << max(1, math.ceil(math.log2(high - low)))
        padded = source.new_zeros((source.shape[0], length, *source.shape[2:]))
        padded[:, : high - low] = source
        where[0] = where[0] - low
        grid = torch.stack([along - (side - 1) / 2 for along, side in zip(where, padded.shape[1:])])
        return convert_to_tensor(resample(padded, grid), track_meta=False).to(source.dtype)

    def read(start: int, stop: int) -> torch.Tensor:
        parts = [sampled(*block) for block in row_blocks(rows.shape, start, stop, GRID_VOXELS)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    return Rows(rows.shape, read)


def _positions(matrix: np.ndarray, shape: tuple[int, ...], start: int, stop: int) -> list[torch.Tensor]:
    """Index in the source, one float64 tensor an axis, of each voxel of the rows [start, stop)."""
    ranges = [(start, stop), *((0, side) for side in shape[1:])]
    from_centre = []
    for axis, (low, high) in enumerate(ranges):
        line = torch.arange(low, high, dtype=torch.float64) - (shape[axis] - 1) / 2
        from_centre.append(line.reshape([-1 if a == axis else 1 for a in range(len(shape))]))
    full = [high - low for low, high in ranges]
    positions = []
    for line, side in zip(matrix.tolist(), shape):
        # element by element and in this order for every division: a matrix product may round by its shape
        position = torch.full(full, line[-1] + (side - 1) / 2, dtype=torch.float64)
        for factor, along in zip(line, from_centre):
            if factor:
                position += factor * along
        positions.append(position)
    return positions
