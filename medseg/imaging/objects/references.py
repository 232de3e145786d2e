"""Which source images a result refers to, as a whole and frame by frame."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from medseg.imaging.dicom.instance import Frame, instance_of
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.planes import ROUNDING_MM
from medseg.imaging.objects.reference_headers import instance_reference, referenced_series
from medseg.imaging.objects.settings import CodedTerm

__all__ = ["refer_to_source"]

# A frame coincides with a source slice nearer than this, of the distance between slices, or than the rounding of
# positions. A frame between two slices was interpolated, and is that of neither.
SAME_PLANE = 0.1
SAME_PIXEL = 0.1  # of a pixel: rows and columns of the frame are those of the source
COPLANAR = 1e-4  # 1 - |cosine| of the angle between two normals: less than one degree
SEVERAL_MM = 1e-3  # slices nearer to each other than this lie at one place: echoes, phases
SOURCE_IMAGE = CodedTerm(  # PS3.16 CID 7202
    value="121322", scheme="DCM", meaning="Source image for image processing operation"
)


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Slices that say where they lie: files, or frames of them.

    Parameters
    ----------
    images : tuple of pydicom.Dataset
        The instance of each.
    numbers : tuple of int or None
        1-based number of the frame; None in a file of a single one.
    corners : ndarray, shape (n, 4, 3)
        Centres of the first, the last and the other two pixels at the corners, LPS mm.
    normals : ndarray, shape (n, 3)
        Unit vectors.
    pixel_mm : ndarray, shape (n,)
        Distance between pixels, the smaller one.
    """

    images: tuple[pydicom.Dataset, ...]
    numbers: tuple[int | None, ...]
    corners: np.ndarray
    normals: np.ndarray
    pixel_mm: np.ndarray


def refer_to_source(result: pydicom.Dataset, source: SourceSeries, derivation: CodedTerm, *, step_mm: float) -> None:
    """Make `result`, a multi-frame object, refer to all of its source, and each frame to the slices at its place.

    Common Instance Reference (PS3.3 C.12.2) and Source Image Sequence list every instance. Derivation Image
    (PS3.3 C.7.6.16.2.6) of a frame lists the source slices in the same plane. Where none is, because the volume was
    resampled (tilted gantry, unequal distances), it stays empty, as the standard allows: the frame's position says
    where it lies.

    Parameters
    ----------
    result : pydicom.Dataset
        Changed in place.
    source : SourceSeries
        What it was made from.
    derivation : CodedTerm
        How frames were derived (PS3.16 CID 7203).
    step_mm : float
        Distance between the frames of the result.
    """
    result.SourceImageSequence = [instance_reference(image) for image in source.datasets]
    result.ReferencedSeriesSequence = referenced_series(list(source.datasets), "ReferencedInstanceSequence")
    frames, there = _slices([result]), _slices(source.datasets)
    for number, item in enumerate(result.PerFrameFunctionalGroupsSequence):
        if len(frames.images) == 0:  # a projection: its pixel matrix is that of the one source image
            sources = [_reference(source.datasets[0], None, preserved=True)]
        else:
            sources = list(_at_place(frames, number, there, step_mm))
        item.DerivationImageSequence = [_derivation(sources, derivation)] if sources else []


def _slices(images: Sequence[pydicom.Dataset]) -> Slices:
    found = [
        (image, frame, int(image.Rows), int(image.Columns))
        for image in images
        for frame in instance_of(Path("source"), image, 0).frames
        if frame.position is not None and frame.orientation is not None and frame.spacing is not None
    ]
    several = ["PerFrameFunctionalGroupsSequence" in image for image, *_ in found]
    normals = [np.cross(frame.orientation[:3], frame.orientation[3:]) for _, frame, *_ in found]  # type: ignore[index]
    return Slices(
        tuple(image for image, *_ in found),
        tuple(frame.number + 1 if many else None for many, (_, frame, *_) in zip(several, found)),
        np.array([_corners(frame, rows, columns) for _, frame, rows, columns in found]).reshape(-1, 4, 3),
        np.array([normal / np.linalg.norm(normal) for normal in normals]).reshape(-1, 3),
        np.array([min(frame.spacing) for _, frame, *_ in found]),  # type: ignore[arg-type]
    )


def _corners(frame: Frame, rows: int, columns: int) -> np.ndarray:
    orientation, spacing = np.array(frame.orientation), np.array(frame.spacing)
    across = orientation[:3] * spacing[1] * (columns - 1)  # PixelSpacing is (between rows, between columns)
    down = orientation[3:] * spacing[0] * (rows - 1)
    return np.array(frame.position) + np.array([0 * across, across + down, across, down])


def _at_place(frames: Slices, number: int, there: Slices, step_mm: float) -> Iterable[pydicom.Dataset]:
    corners, normal = frames.corners[number], frames.normals[number]
    parallel = np.flatnonzero(1 - np.abs(there.normals @ normal) < COPLANAR)
    if len(parallel) == 0:
        return
    away = np.abs((there.corners[parallel, 0] - corners[0]) @ normal)
    nearest = float(away.min())
    if nearest > max(SAME_PLANE * step_mm, ROUNDING_MM):
        return
    shape = frames.images[number].Rows, frames.images[number].Columns
    for index in parallel[away < nearest + SEVERAL_MM]:
        sideways = there.corners[index] - corners
        sideways -= np.outer(sideways @ normal, normal)
        near = (np.linalg.norm(sideways, axis=1) < SAME_PIXEL * frames.pixel_mm[number]).all()
        preserved = bool(near) and shape == (there.images[index].Rows, there.images[index].Columns)
        yield _reference(there.images[index], there.numbers[index], preserved=preserved)


def _code(term: CodedTerm) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = term.value, term.scheme, term.meaning
    return item


def _reference(image: pydicom.Dataset, number: int | None, *, preserved: bool) -> pydicom.Dataset:
    item = instance_reference(image)
    if number is not None:
        item.ReferencedFrameNumber = number
    item.PurposeOfReferenceCodeSequence = [_code(SOURCE_IMAGE)]
    item.SpatialLocationsPreserved = "YES" if preserved else "NO"
    return item


def _derivation(sources: list[pydicom.Dataset], code: CodedTerm) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.SourceImageSequence = sources
    item.DerivationCodeSequence = [_code(code)]
    return item
