"""Frames of an object put onto the grid of an image, by their positions in space."""

from dataclasses import dataclass

import numpy as np

from medseg.errors import GeometryError
from medseg.imaging.objects.planes import Planes, tolerance
from medseg.volume import Grid

__all__ = ["Placing", "place_on"]


@dataclass(frozen=True, slots=True, eq=False)
class Placing:
    """Where the pixels of each frame lie on a grid.

    Parameters
    ----------
    grid : Grid
        The grid.
    steps : ndarray of int, shape (3, 2)
        Index step (x, y, z) from column to column and from row to row: one of its numbers is 1 or -1.
    origins : ndarray of int, shape (n, 3)
        Index (x, y, z) of the first pixel of each frame; it may lie outside of the grid.
    """

    grid: Grid
    steps: np.ndarray
    origins: np.ndarray

    def target(self, array: np.ndarray, number: int, shape: tuple[int, int]) -> tuple[tuple[slice, slice], np.ndarray]:
        """Find what part of a frame lies on the grid.

        Parameters
        ----------
        array : ndarray, shape (z, y, x)
            On the grid.
        number : int
            0-based number of the frame.
        shape : tuple of int
            (rows, columns) of the frame.

        Returns
        -------
        tuple of slice
            Rows and columns of the frame that lie on the grid; empty where none do.
        ndarray
            View of `array` of these pixels, in the order of the frame.
        """
        column_axis, row_axis = np.abs(self.steps).argmax(axis=0)
        through = 3 - column_axis - row_axis
        plane = self.origins[number, through]
        view = np.moveaxis(array.transpose(2, 1, 0), (row_axis, column_axis, through), (0, 1, 2))
        view = view[..., plane] if 0 <= plane < view.shape[2] else view[:0, :0, 0]
        inside = []
        for position, (axis, index) in enumerate(((row_axis, 1), (column_axis, 0))):
            start = int(self.origins[number, axis])
            if self.steps[axis, index] < 0:  # counted in the direction of the frame
                view, start = np.flip(view, position), self.grid.shape[2 - axis] - 1 - start
            low = max(0, -start)
            high = max(low, min(shape[position], view.shape[position] - start))
            inside.append(slice(low, high))
            view = view[start + low : start + high] if position == 0 else view[:, start + low : start + high]
        return (inside[0], inside[1]), view


def place_on(planes: Planes | None, grid: Grid, n_frames: int, shape: tuple[int, int]) -> Placing:
    """Find where frames lie on the grid of an image.

    Parameters
    ----------
    planes : Planes or None
        None for frames of a projection image, which all cover the same pixel matrix.
    grid : Grid
        Of the image: in mm for planes, in px for projections. Its axes may run in any order and direction.
    n_frames : int
        Number of frames.
    shape : tuple of int
        (rows, columns) of each.

    Raises
    ------
    GeometryError
        When the frames do not lie on the grid's slices, pixel on voxel; the message says how far off they are.
    """
    if planes is None:
        if grid.unit != "px":
            raise GeometryError("its frames do not say where they lie in the patient, the image does")
        if grid.shape != (1, *shape):
            raise GeometryError(f"its frames have {shape} pixels (rows, columns), the image {grid.shape[1:]}")
        return Placing(grid, np.eye(3, 2, dtype=int), np.zeros((n_frames, 3), int))
    if grid.unit != "mm":
        raise GeometryError("its frames lie in the patient, the image is a projection without patient coordinates")
    inverse = np.linalg.inv(grid.affine[:3, :3])
    exact = inverse @ (planes.axes[:, :2] * np.array(planes.spacing))
    steps = np.rint(exact).astype(int)
    if (np.abs(steps).sum(axis=0) != 1).any() or (np.abs(steps).sum(axis=1) > 1).any():
        raise GeometryError(_mismatch(planes, grid))
    corners = np.array([[0, 0], [shape[1] - 1, 0], [0, shape[0] - 1], [shape[1] - 1, shape[0] - 1]])  # (column, row)
    drift = corners @ (exact - steps).T  # (4, 3)
    found = grid.to_index(planes.positions)
    origins = np.rint(found + drift.mean(axis=0))  # judged at the centre of the frame
    away = np.abs(found[:, None] + drift - origins[:, None]).max(axis=(0, 1))
    spacing = np.array(grid.spacing[::-1])
    if (away > tolerance(spacing)).any():
        x, y, z = away
        text = f"its frames lie up to {x:.2f}, {y:.2f}, {z:.2f} voxels (x, y, z) off the image's grid"
        raise GeometryError(f"{text}, {(away * spacing).max():.2f} mm: is it of another series, or of a resampled one?")
    return Placing(grid, steps, origins.astype(int))


def _mismatch(planes: Planes, grid: Grid) -> str:
    x, y = planes.spacing
    directions = grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
    nearest = np.degrees(np.arccos(np.clip(np.abs(directions.T @ planes.normal).max(), 0, 1)))
    z_mm, y_mm, x_mm = grid.spacing
    return (
        f"its frames, pixels of {x:.3f} x {y:.3f} mm, do not fit the image's voxels of "
        f"{x_mm:.3f} x {y_mm:.3f} x {z_mm:.3f} mm (planes at an angle of {nearest:.1f} degrees to the image's)"
    )
