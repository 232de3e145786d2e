"""Where the slices of a volume lie: regular, tilted, or wrong, and how (PS3.3 C.7.6.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.imaging.dicom.instance import Frame
from medseg.volume import Note

__all__ = ["Placement", "Problem", "place"]

ORIENTATION_TOLERANCE = 1e-3  # of direction cosines, which vendors round to 6 digits or fewer
SPACING_TOLERANCE = 1e-3  # mm
SAME_PLACE = 0.05  # of the usual gap: nearer slices are doubled
# A slice may lie this far from its place on the regular grid: 2 % of the gap, or what positions that were rounded to
# 0.1 mm deviate by, unless that is more than a tenth of the gap.
GAP_TOLERANCE, ROUNDING_MM, ROUNDING_SHARE = 0.02, 0.06, 0.1
# Slices that drift sideways by less than this, over the whole volume, are put in line: each then lies within a quarter
# of a pixel of its place. Directions rounded to three digits do that; a tilted gantry moves them by many pixels.
DRIFT_PIXELS = 0.5
LEAST_SLICES = 3  # of two slices the gap must be confirmed by what the header says of it
SHOWN = 5  # gaps named in a message


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a set of slices is no regular volume.

    Parameters
    ----------
    code : str
        ``missing_slices``, ``doubled_slices``, ``irregular_slices``, ``mixed_orientation`` ...
    message : str
        With positions and gaps in mm along the normal.
    resampling : bool
        Whether resampling can make a regular volume of it, if the user allows that.
    """

    code: str
    message: str
    resampling: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Slices in order, and their places.

    Parameters
    ----------
    order : ndarray of int, shape (n,)
        Slices sorted along the normal.
    along : ndarray, shape (n,)
        Position along the normal, mm, sorted.
    in_plane : ndarray, shape (n, 2)
        Position of the first pixel along the rows' and columns' directions, mm.
    axes : ndarray, shape (3, 3)
        Columns: direction of the rows (x), of the columns (y), the normal.
    spacing : tuple of float
        Pixel spacing (x, y) in mm.
    step : float
        Usual distance between slices in mm.
    tilt_degrees : float
        Angle between the normal and the line through the slices; 0 for a straight volume.
    problem : Problem or None
        None for slices that lie regularly (though perhaps tilted).
    """

    order: np.ndarray
    along: np.ndarray
    in_plane: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    step: float
    tilt_degrees: float = 0.0
    problem: Problem | None = None
    notes: tuple[Note, ...] = ()

    @property
    def affine(self) -> np.ndarray:
        """Affine (x, y, z, 1) -> LPS mm of a straight regular volume."""
        affine = np.eye(4)
        affine[:3, :3] = self.axes * np.array([*self.spacing, self.step])
        affine[:3, 3] = self.axes @ np.array([*self.in_plane.mean(axis=0), self.along[0]])
        return affine


def place(frames: Sequence[Frame]) -> Placement | Problem:
    """Find the places of slices.

    Returns
    -------
    Placement or Problem
        The latter where there is no common direction to sort along.
    """
    common = _common_plane(frames)
    if isinstance(common, Problem):
        return common
    axes, spacing = common
    positions = np.array([frame.position for frame in frames], dtype=float) @ axes  # (n, 3): along x, y, normal
    order = np.argsort(positions[:, 2], kind="stable")
    in_plane, along = positions[order, :2], positions[order, 2]
    if len(frames) == 1:
        return _single(frames[0], order, along, in_plane, axes, spacing)
    gaps = np.diff(along)
    apart = gaps[gaps > 1e-3]
    step = float(np.median(apart)) if len(apart) else 0.0
    problem = _spacing_problem(along, gaps, step, frames[0].thickness)
    slope, residual = _drift(along, in_plane)
    drift = float((np.abs(slope) * (along[-1] - along[0]) / np.array(spacing)).max())
    tilt = float(np.degrees(np.arctan(np.linalg.norm(slope)))) if drift > DRIFT_PIXELS else 0.0
    if problem is None and residual > max(min(spacing) / 2, ROUNDING_MM):
        text = f"slices are shifted sideways by up to {residual:.2f} mm from one straight line"
        problem = Problem("irregular_slices", text)
    if problem is None:
        step = round(_line(along)[0], 9)
    notes = _notes(along, step) if problem is None else ()
    return Placement(order, along, in_plane, axes, spacing, step, tilt, problem, notes)


def _common_plane(frames: Sequence[Frame]) -> tuple[np.ndarray, tuple[float, float]] | Problem:
    """Axes (columns: x, y, normal) and pixel spacing (x, y) that all frames share."""
    if any(frame.position is None or frame.orientation is None for frame in frames):
        return Problem("no_position", "its images do not say where they lie in the patient")
    if any(frame.spacing is None for frame in frames):
        return Problem("no_spacing", "its images do not say their pixel spacing")
    orientations = np.array([frame.orientation for frame in frames], dtype=float)
    if np.abs(orientations - orientations[0]).max() > ORIENTATION_TOLERANCE:
        different = len(np.unique(np.round(orientations, 2), axis=0))
        return Problem(
            "mixed_orientation", f"slices of {different} orientations in one series (a localizer among them?)"
        )
    spacings = np.array([frame.spacing for frame in frames], dtype=float)
    if np.abs(spacings - spacings[0]).max() > SPACING_TOLERANCE:
        found = np.unique(np.round(spacings, 4), axis=0)[:SHOWN].tolist()
        return Problem("mixed_spacing", f"slices of several pixel spacings {found} mm in one series")
    if (spacings[0] <= 0).any():
        return Problem("bad_spacing", f"pixel spacing {spacings[0].tolist()} is not above 0 mm")
    row, column = orientations[0][:3], orientations[0][3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 1e-2 or abs(lengths[1] - 1) > 1e-2 or abs(row @ column) > 1e-3:
        text = f"ImageOrientationPatient {orientations[0].tolist()} is not two unit vectors at a right angle"
        return Problem("bad_orientation", text)
    return _right_angles(row, column), (
        float(spacings[0][1]),
        float(spacings[0][0]),
    )  # PixelSpacing is (between rows, between columns)


def _right_angles(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """The nearest three unit vectors at right angles, as columns: what the rounded cosines of the header stand for."""
    normal = np.cross(row, column)
    left, _, right = np.linalg.svd(np.stack([row, column, normal / np.linalg.norm(normal)], axis=1))
    return left @ right


def _single(
    frame: Frame, order: np.ndarray, along: np.ndarray, in_plane: np.ndarray, axes: np.ndarray,
    spacing: tuple[float, float],
) -> Placement | Problem:  # fmt: skip
    if frame.thickness is None:
        return Problem("no_thickness", "one slice without a thickness: its extent is unknown")
    note = Note("single_slice", "a single slice: its thickness is taken for the distance between slices", warning=True)
    return Placement(order, along, in_plane, axes, spacing, frame.thickness, notes=(note,))


def _spacing_problem(along: np.ndarray, gaps: np.ndarray, step: float, stated: float | None) -> Problem | None:
    doubled = gaps < max(SAME_PLACE * step, 1e-3)
    if doubled.any():
        places = ", ".join(f"{value:.2f}" for value in along[:-1][doubled][:SHOWN])
        text = f"{int(doubled.sum())} doubled slice position(s), at {places} mm along the normal"
        return Problem("doubled_slices", text)
    if len(along) < LEAST_SLICES:
        if stated is not None and abs(stated - step) <= GAP_TOLERANCE * step:
            return None
        text = f"{len(along)} slices are too few for a volume: nothing confirms their distance of {gaps[0]:.2f} mm"
        return Problem("too_few_slices", text)
    tolerance = _tolerance(step)
    slope, offset = _line(along)
    if np.abs(along - offset - slope * np.arange(len(along))).max() <= tolerance:
        return None
    multiple = gaps / step
    odd = np.abs(gaps - step) > 2 * tolerance
    if not odd.any():  # each gap is nearly right, and together they drift
        odd = np.abs(multiple - 1) >= np.abs(multiple - 1).max()
    whole = np.abs(gaps - np.rint(multiple) * step) <= 2 * tolerance * np.maximum(multiple, 1)
    listed = ", ".join(f"{g:.2f} mm after {a:.2f} mm" for g, a in list(zip(gaps[odd], along[:-1][odd]))[:SHOWN])
    if whole.all():
        number = int(np.rint(multiple - 1)[odd].sum())
        text = f"{number} slice(s) missing: gaps of {listed} along the normal, {step:.2f} mm was expected"
        return Problem("missing_slices", text, resampling=True)
    text = (
        f"irregular distances between slices: {int(odd.sum())} gap(s) ({listed} along the normal), usual {step:.2f} mm"
    )
    return Problem("irregular_slices", text, resampling=True)


def _tolerance(step: float) -> float:
    return max(GAP_TOLERANCE * step, min(ROUNDING_MM, ROUNDING_SHARE * step))


def _line(along: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the straight line through positions against their number."""
    slope, offset = np.polyfit(np.arange(len(along)), along, 1)
    return float(slope), float(offset)


def _drift(along: np.ndarray, in_plane: np.ndarray) -> tuple[np.ndarray, float]:
    """In-plane movement a mm along the normal, shape (2,), and the largest distance in mm from that line."""
    centred = along - along.mean()
    spread = float(centred @ centred)
    slope = centred @ (in_plane - in_plane.mean(axis=0)) / spread if spread > 0 else np.zeros(2)
    residual = in_plane - in_plane.mean(axis=0) - centred[:, None] * slope
    return slope, float(np.abs(residual).max())


def _notes(along: np.ndarray, step: float) -> tuple[Note, ...]:
    jitter = float(np.abs(np.diff(along) - step).max())
    if jitter <= GAP_TOLERANCE * step:
        return ()
    return (
        Note("rounded_positions", f"distances between slices vary by up to {jitter:.3f} mm, as rounded positions do"),
    )
