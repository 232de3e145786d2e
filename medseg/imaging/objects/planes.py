"""Frames of a multi-frame object as planes in space, and the regular grid that they lie on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from medseg.errors import GeometryError
from medseg.imaging.dicom.geometry import Problem, place
from medseg.imaging.dicom.instance import Frame
from medseg.volume import Grid

__all__ = ["ROUNDING_MM", "Planes", "planes_of", "regular_grid", "tolerance"]

SAME_PLACE_MM = 1e-3  # frames nearer than this along the normal lie in one plane
# A frame may lie this far from its place on a grid. Files often round the three coordinates of a position to 0.1 mm.
OFF_GRID, ROUNDING_MM = 0.05, 0.087  # of a voxel; mm: sqrt(3) * 0.05
LARGEST_ROUNDING = 0.25  # of a voxel: beyond, rounding is no explanation
MOST_VOXELS = 1 << 32  # of a grid without an image: 16384 slices of 512 x 512; more is a damaged file


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Parallel frames of one size.

    Parameters
    ----------
    shape : tuple of int
        (rows, columns) of each frame.
    axes : ndarray, shape (3, 3)
        Columns: direction in which the columns follow each other (x), the rows (y), the normal x cross y; LPS.
    spacing : tuple of float
        Distance between columns, between rows, mm.
    positions : ndarray, shape (n, 3)
        Centre of the first pixel of each frame, LPS mm.
    step_mm : float or None
        Distance between slices that the object states, or their thickness; None where it states neither.
    """

    shape: tuple[int, int]
    axes: np.ndarray
    spacing: tuple[float, float]
    positions: np.ndarray
    step_mm: float | None

    @property
    def normal(self) -> np.ndarray:
        """Unit vector, shape (3,)."""
        return self.axes[:, 2]


def planes_of(frames: Sequence[Frame], shape: tuple[int, int]) -> Planes | None:
    """Planes of the frames of an object; None where no frame says where it lies (projections).

    Raises
    ------
    GeometryError
        When only some say so, or they differ in orientation or pixel spacing.
    """
    if all(frame.position is None and frame.orientation is None for frame in frames):
        return None
    # a thickness is not needed to know a plane
    placement = place([replace(frame, thickness=frame.thickness or 1.0) for frame in frames])
    if isinstance(placement, Problem):
        raise GeometryError(f"its frames do not lie in parallel planes: {placement.message}", code=placement.code)
    positions = np.array([frame.position for frame in frames], dtype=float)
    return Planes(shape, placement.axes, placement.spacing, positions, frames[0].thickness)


def regular_grid(planes: Planes) -> Grid:
    """The smallest regular grid that holds all frames; slices without a frame may lie between.

    The distance between slices is the stated one, or the smallest that is found, whichever fits all frames. A grid may
    be sheared, where frames are shifted sideways in proportion to their distance.

    Raises
    ------
    GeometryError
        When the frames are at irregular distances, or one frame states no thickness.
    """
    along = planes.positions @ planes.normal
    order = np.argsort(along, kind="stable")
    first = np.concatenate([[True], np.diff(along[order]) > SAME_PLACE_MM])
    positions, along = planes.positions[order][first], along[order][first]
    if len(along) == 1:
        if planes.step_mm is None:
            raise GeometryError(
                "its frames lie in one plane and state no thickness: give the image it belongs to", code="no_thickness"
            )
        return _grid(planes, positions[0], planes.normal * planes.step_mm, 1)
    numbers = _slice_numbers(along, planes)
    # least squares over all frames: the rounding of single positions averages out
    design = np.stack([np.ones(len(numbers)), numbers], axis=1)
    (origin, step), *_ = np.linalg.lstsq(design, positions, rcond=None)
    straight = planes.normal * (step @ planes.normal)
    middle = origin + (step - straight) * numbers.mean()
    for start, direction in ((middle, straight), (origin, step)):  # sheared only where it must be
        away = np.abs((positions - start - numbers[:, None] * direction) @ planes.axes).max(axis=0)
        distances = np.array([*planes.spacing, float(step @ planes.normal)])
        if (away <= tolerance(distances) * distances).all():
            return _grid(planes, start, direction, int(numbers[-1]) + 1)
    text = f"its frames lie up to {away.max():.2f} mm off a regular grid"
    raise GeometryError(f"{text}: give the image they belong to", code="irregular_slices")


def tolerance(distances_mm: np.ndarray) -> np.ndarray:
    """How far off its place on a grid of these distances a frame may lie, in voxels."""
    return np.clip(ROUNDING_MM / np.asarray(distances_mm), OFF_GRID, LARGEST_ROUNDING)


def _slice_numbers(along: np.ndarray, planes: Planes) -> np.ndarray:
    """Number of the slice of each frame, from 0."""
    gaps = np.diff(along)
    most = MOST_VOXELS / (planes.shape[0] * planes.shape[1])
    for step in (planes.step_mm, float(gaps.min())):
        if step is None or step <= SAME_PLACE_MM or (along[-1] - along[0]) / step >= most:
            continue
        # gap by gap: small errors of the stated distance must not add up
        counts = gaps / step
        whole = np.rint(counts)
        if (whole >= 1).all() and (np.abs(counts - whole) <= 2 * tolerance(np.array(step)) * whole).all():
            return np.concatenate([[0.0], np.cumsum(whole)])
    listed = ", ".join(f"{gap:.2f}" for gap in np.unique(np.round(gaps, 2))[:5])
    text = f"its frames lie at irregular distances ({listed} mm)"
    raise GeometryError(f"{text}: give the image they belong to", code="irregular_slices")


def _grid(planes: Planes, origin: np.ndarray, step: np.ndarray, n_slices: int) -> Grid:
    affine = np.eye(4)
    affine[:3, :2] = planes.axes[:, :2] * np.array(planes.spacing)
    affine[:3, 2], affine[:3, 3] = step, origin
    return Grid((n_slices, *planes.shape), affine)
