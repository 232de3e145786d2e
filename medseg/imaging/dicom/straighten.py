"""From tilted or unequally spaced slices to a straight, regular volume, by linear interpolation."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from medseg.imaging.dicom.geometry import Placement
from medseg.volume import Grid, Note

__all__ = ["Straightened", "straighten"]


@dataclass(frozen=True, slots=True, eq=False)
class Straightened:
    """A resampled volume: array of shape (z, y, x), its grid, and what was done."""

    array: np.ndarray
    grid: Grid
    notes: tuple[Note, ...]


def straighten(slices: Iterable[np.ndarray], placement: Placement) -> Straightened:
    """Resample slices to a grid at right angles.

    In the plane each slice is moved by what the tilt shifted it; along the normal, slices at the usual distance are
    interpolated where the gaps differ. What no slice covers gets the least value of the volume.

    Parameters
    ----------
    slices : iterable of ndarray, shape (y, x)
        In the order of `placement`.

    Returns
    -------
    Straightened
        Covers every slice.
    """
    spacing = np.array(placement.spacing)
    low, high = placement.in_plane.min(axis=0), placement.in_plane.max(axis=0)
    extra = np.ceil((high - low) / spacing - 1e-6).astype(int)  # columns and rows that the shifts add
    # of each slice, in pixels (x, y); rounded, so that a shift by whole pixels is one
    offsets = np.round((placement.in_plane - low) / spacing, 6)
    planes = None
    for k, plane in enumerate(slices):
        if planes is None:
            shape = (len(placement.along), plane.shape[0] + extra[1], plane.shape[1] + extra[0])
            planes = np.full(shape, np.nan, dtype=np.float32)
        planes[k] = _moved(plane, offsets[k], planes.shape[1:])
    if planes is None:
        raise ValueError("no slice to resample")
    notes = []
    if placement.tilt_degrees:
        text = f"the gantry was tilted by {placement.tilt_degrees:.1f} degrees: resampled to a straight volume"
        notes.append(Note("tilt_resampled", text, warning=True))
    step = placement.step
    if placement.problem is not None:
        targets, step = _targets(placement)
        planes = _between(planes, placement.along, targets)
        text = f"{placement.problem.message}: resampled to {len(targets)} slices every {step:.2f} mm"
        notes.append(Note("irregular_resampled", text, warning=True))
    np.copyto(planes, np.nanmin(planes), where=np.isnan(planes))
    affine = np.eye(4)
    affine[:3, :3] = placement.axes * np.array([*spacing, step])
    affine[:3, 3] = placement.axes @ np.array([*low, placement.along[0]])
    return Straightened(planes, Grid(planes.shape, affine), tuple(notes))  # type: ignore[arg-type]


def _moved(plane: np.ndarray, offset: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The slice moved by `offset` pixels (x, y) into a frame of `shape`; NaN where it does not reach."""
    from scipy.ndimage import affine_transform

    back = (-offset[1], -offset[0])  # pixel (y, x) of the frame -> of the slice
    return affine_transform(
        plane.astype(np.float32), np.ones(2), offset=back, output_shape=shape, order=1, mode="constant", cval=np.nan
    )


def _targets(placement: Placement) -> tuple[np.ndarray, float]:
    """Positions along the normal every `step` mm; the step is fitted to the extent, so that no slice is lost."""
    extent = placement.along[-1] - placement.along[0]
    count = round(float(extent) / placement.step) + 1
    return np.linspace(placement.along[0], placement.along[-1], count), float(extent / (count - 1))


def _between(planes: np.ndarray, along: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Interpolate planes at `targets` mm from those at `along`; where only one of two neighbours reaches, it counts."""
    result = np.empty((len(targets), *planes.shape[1:]), dtype=np.float32)
    below = np.clip(np.searchsorted(along, targets, side="right") - 1, 0, len(along) - 2)
    weights = (targets - along[below]) / (along[below + 1] - along[below])
    for k, (left, weight) in enumerate(zip(below, weights)):
        a, b = planes[left], planes[left + 1]
        mixed = a + np.float32(weight) * (b - a)
        result[k] = np.where(np.isnan(a), b if weight > 0 else a, np.where(np.isnan(b), a, mixed))
    return result
