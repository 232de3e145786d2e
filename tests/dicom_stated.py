"""What the header of a DICOM file states of its geometry, taken from pydicom alone, and whether a volume follows it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from medseg.volume import Volume

POSITION_TOLERANCE = 0.06  # of a pixel or of a slice distance: readers may allow for rounded positions
PROJECTION_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


@dataclass(frozen=True, slots=True, eq=False)
class StatedFrame:
    """Numbers of one frame as its header has them, lengths in mm."""

    position: np.ndarray
    row: np.ndarray
    column: np.ndarray
    spacing: tuple[float, float]
    thicknesses: tuple[float, ...]

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.row, self.column)


def stated_frames(path: Path) -> list[StatedFrame]:
    """Frames of a file.

    Raises
    ------
    Exception
        Of any type, where the header does not state the geometry.
    """
    data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    shared = (data.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = data.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    return [_frame([group, shared, data]) for group in groups]


def _frame(sources: list[Dataset]) -> StatedFrame:
    position = _numbers(sources, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _numbers(sources, "PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = _numbers(sources, "PixelMeasuresSequence", "PixelSpacing")
    thicknesses = []
    for keyword in ("SliceThickness", "SpacingBetweenSlices"):
        try:
            thicknesses += _numbers(sources, "PixelMeasuresSequence", keyword)
        except (ValueError, TypeError):
            continue
    if len(position) != 3 or len(orientation) != 6 or len(spacing) != 2:
        raise ValueError("wrong number of values")
    if not np.isfinite([*position, *orientation, *spacing]).all():
        raise ValueError("not finite")
    return StatedFrame(
        np.array(position), np.array(orientation[:3]), np.array(orientation[3:]), (spacing[0], spacing[1]),
        tuple(thicknesses),
    )  # fmt: skip


def _numbers(sources: list[Dataset], sequence: str, keyword: str) -> list[float]:
    for source in sources:
        group = source.get(sequence)
        value = group[0].get(keyword) if group else source.get(keyword)
        if value is not None and value != "":
            return [float(part) for part in value] if hasattr(value, "__iter__") else [float(value)]
    raise ValueError(f"no {keyword}")


def invention(volume: Volume, files: list[Path]) -> str:
    """What the geometry of a volume says that the headers of its files do not; empty where all is stated."""
    if volume.is_projection:
        return _invented_spacing(volume, files)
    try:
        frames = [frame for file in files for frame in stated_frames(file)]
    except Exception as error:  # pydicom raises many types for damaged values; each means: not stated
        return f"has an affine, but the header does not state one ({type(error).__name__}: {error})"
    resampled = any(note.code.endswith("_resampled") for note in volume.notes)
    affine = volume.affine_lps
    first = frames[0]
    expected = np.stack([first.row * first.spacing[1], first.column * first.spacing[0]], axis=1)
    if not np.allclose(affine[:3, :2], expected, atol=0.02 * min(first.spacing)):
        return f"in-plane axes {affine[:3, :2].tolist()}, stated {expected.tolist()}"
    if resampled:
        return ""
    if volume.array.shape[1] != len(frames):
        return f"{volume.array.shape[1]} slices of {len(frames)} stated frames"
    return _invented_step(affine, frames)


def _invented_step(affine: np.ndarray, frames: list[StatedFrame]) -> str:
    first = frames[0]
    if len(frames) == 1:
        length = float(np.linalg.norm(affine[:3, 2]))
        if not any(abs(length - stated) < 1e-3 for stated in first.thicknesses):
            return f"slice distance {length}, stated {first.thicknesses}"
    for frame in frames:
        index = np.linalg.solve(affine, [*frame.position, 1.0])[:3]
        off = index - [0, 0, np.clip(round(index[2]), 0, len(frames) - 1)]
        if np.abs(off[2]) > POSITION_TOLERANCE or np.abs(off[:2]).max() > 0.5 + POSITION_TOLERANCE:
            return f"a slice at {frame.position.tolist()} is off its place by {off.round(3).tolist()} voxels"
        if not np.allclose([*frame.row, *frame.column], [*first.row, *first.column], atol=5e-3):
            return "frames of several orientations"
    return ""


def _invented_spacing(volume: Volume, files: list[Path]) -> str:
    if volume.pixel_spacing_mm is None:
        return ""
    data = pydicom.dcmread(files[0], stop_before_pixels=True, force=True)
    factor = float(data.get("EstimatedRadiographicMagnificationFactor") or 1)
    for keyword in PROJECTION_SPACINGS:
        try:
            stated = [float(value) for value in data.get(keyword)]
        except (TypeError, ValueError):
            continue
        if any(np.allclose(volume.pixel_spacing_mm, np.array(stated) / by, atol=1e-4) for by in (1.0, factor)):
            return ""
    return f"pixel spacing {volume.pixel_spacing_mm} is not stated"
