"""DICOM Segmentations: writing masks and probabilities in the geometry of the volume (PS3.3 A.51)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.building import building
from medseg.imaging.objects.codes import algorithm, to_coded_concept
from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.objects.references import refer_to_source
from medseg.imaging.objects.settings import CodedTerm, ResultSettings
from medseg.imaging.objects.template import (
    ResultIdentity,
    check_size,
    identity,
    plane_positions,
    slice_step_mm,
    template,
)
from medseg.imaging.objects.unique_ids import unique_id
from medseg.volume import Grid

if TYPE_CHECKING:
    import pydicom
    from highdicom.seg import SegmentDescription

__all__ = ["SegmentLabel", "build_segmentation", "class_segments", "lesion_segments"]

SEGMENTATION = CodedTerm(value="113076", scheme="DCM", meaning="Segmentation")  # PS3.16 CID 7203
LARGEST_VALUE = 255  # of a fractional segmentation of 8 bits: probability 1
MOST_SEGMENTS = 65535  # numbers of segments have 16 bits
COLOURS = ("yellow", "magenta", "cyan", "orange", "lime", "red")  # of segments, in turn, for viewers that use them


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentLabel:
    """One segment of a segmentation.

    Parameters
    ----------
    label : str
        What people read in a viewer.
    term : CodedTerm
        What is segmented.
    tracking_id : str
        Name of the object that is followed through a report and over time; empty for a class.
    tracking_uid : str
        Its UID, where the report gives it one; otherwise a tracked segment gets its own.
    """

    label: str
    term: CodedTerm
    tracking_id: str = ""
    tracking_uid: str = ""


def class_segments(classes: Sequence[str], settings: ResultSettings) -> tuple[SegmentLabel, ...]:
    """One segment a class: the mask's value n is class n, counted from 1."""
    return tuple(SegmentLabel(label=name, term=settings.term(name)) for name in classes)


def lesion_segments(names: Sequence[str], settings: ResultSettings) -> tuple[SegmentLabel, ...]:
    """One segment a lesion: the mask's value n is lesion n, numbered as in ``findings.csv``.

    Parameters
    ----------
    names : sequence of str
        Class of each lesion.
    """
    return tuple(
        SegmentLabel(label=f"{name or 'lesion'} {number}", term=settings.term(name), tracking_id=f"lesion {number}")
        for number, name in enumerate(names, start=1)
    )


def build_segmentation(
    mask: np.ndarray,
    grid: Grid,
    source: SourceSeries,
    *,
    settings: ResultSettings,
    provenance: Provenance,
    classes: Sequence[str] = ("lesion",),
    segments: Sequence[SegmentLabel] | None = None,
    probability: np.ndarray | None = None,
    result: ResultIdentity = ResultIdentity(),  # noqa: B008 - immutable
) -> "pydicom.Dataset":
    """Build a DICOM Segmentation; `settings.segmentation` says of which kind.

    Parameters
    ----------
    mask : ndarray of unsigned int, shape (z, y, x)
        0 for background, n for segment n.
    grid : Grid
        Where the mask lies. In px for a projection image, whose pixel matrix it must have.
    source : SourceSeries
        Images that the mask was made from; it refers to all of them.
    settings : ResultSettings
        Kind of segmentation, coded terms.
    provenance : Provenance
        The algorithm.
    classes : sequence of str
        One segment each, unless `segments` are given.
    segments : sequence of SegmentLabel, optional
        The segments, such as ``lesion_segments(...)``.
    probability : ndarray, shape (z, y, x) or (segment, z, y, x), optional
        Between 0 and 1; fractional segmentations hold it instead of the mask. Of several segments but without an axis
        for them it becomes one segment, whatever the class.
    result : ResultIdentity
        Numbers and UIDs.

    Returns
    -------
    pydicom.Dataset
        Frames without any voxel of their segment are left out; of a mask without any voxel the first slice stays,
        because an image has at least one frame.

    Raises
    ------
    OutputError
        When mask, segments and source do not belong together, or DICOM cannot hold the result.
    """
    chosen = tuple(class_segments(classes, settings) if segments is None else segments)
    if not 0 < len(chosen) <= MOST_SEGMENTS:
        raise OutputError(f"a DICOM Segmentation holds 1 to {MOST_SEGMENTS} segments, not {len(chosen)}")
    if settings.segmentation == "fractional":
        frames = _fractions(probability, grid, len(chosen))
        if frames.shape[-1] < len(chosen):
            chosen = (SegmentLabel(label="finding", term=settings.finding),)
    else:
        frames = _numbers(mask, grid, len(chosen))
    with building("segmentation"):
        return _segmentation(frames, grid, source, chosen, settings, provenance, result)


def _segmentation(
    frames: np.ndarray, grid: Grid, source: SourceSeries, segments: Sequence[SegmentLabel], settings: ResultSettings,
    provenance: Provenance, result: ResultIdentity,
) -> "pydicom.Dataset":  # fmt: skip
    """Build it of frames (z, y, x) or (z, y, x, segment)."""
    import highdicom as hd

    header = template(source, grid)
    occupied = frames.any(axis=tuple(range(1, frames.ndim)))
    kept = np.flatnonzero(occupied) if occupied.any() else np.array([0])
    if settings.segmentation == "fractional":  # others take an eighth, or as little as the lesions' slices
        check_size(len(kept) * frames[0].size, "segmentation")
    texts = [text for segment in segments for text in (segment.label, segment.term.meaning)]
    segmentation = hd.seg.Segmentation(
        source_images=[header],
        pixel_array=frames[kept],
        segmentation_type=settings.segmentation.upper(),
        segment_descriptions=_descriptions(segments, settings, provenance, source, result.uid_seed),
        max_fractional_value=LARGEST_VALUE,
        content_label="SEGMENTATION",
        plane_positions=plane_positions(grid, kept),
        omit_empty_frames=bool(occupied.any()),
        **identity(source, provenance, "segmentation", given=result, texts=texts),
    )
    if grid.unit == "px":  # type 2C where the place in the patient is not stated (PS3.3 C.7.6.1)
        segmentation.PatientOrientation = source.datasets[0].get("PatientOrientation") or ""
    refer_to_source(segmentation, source, SEGMENTATION, step_mm=slice_step_mm(grid))
    return segmentation


def _numbers(mask: np.ndarray, grid: Grid, n_segments: int) -> np.ndarray:
    """Numbers of segments, shape (z, y, x), uint8 or uint16."""
    if mask.shape != grid.shape:
        raise OutputError(f"the mask has the shape {mask.shape} (z, y, x), its grid {grid.shape}")
    if mask.dtype.kind not in "bui" or mask.min(initial=0) < 0:
        raise OutputError(f"a mask holds whole numbers from 0, found {mask.dtype} from {mask.min(initial=0)}")
    largest = int(mask.max(initial=0))
    if largest > n_segments:
        raise OutputError(f"the mask holds the value {largest}, but there are {n_segments} segment(s)")
    return mask.astype(np.uint8 if n_segments <= LARGEST_VALUE else np.uint16, copy=False)


def _fractions(probability: np.ndarray | None, grid: Grid, n_segments: int) -> np.ndarray:
    """Probabilities in steps of 1/255, as they will be stored, shape (z, y, x, segment)."""
    if probability is None:
        raise OutputError("a fractional segmentation holds probabilities, and there are none; choose binary")
    stacked = probability[None] if probability.ndim == 3 else probability
    if stacked.shape[1:] != grid.shape or len(stacked) not in (1, n_segments):
        raise OutputError(f"the probability has the shape {probability.shape}, its grid {grid.shape}")
    if not (stacked.min() >= 0 and stacked.max() <= 1):  # also false for NaN
        raise OutputError("a fractional segmentation holds probabilities between 0 and 1; these are not")
    stored = np.rint(stacked * np.float32(LARGEST_VALUE)) / np.float32(LARGEST_VALUE)
    return np.moveaxis(stored, 0, -1).astype(np.float32, copy=False)


def _descriptions(
    segments: Sequence[SegmentLabel], settings: ResultSettings, provenance: Provenance, source: SourceSeries, seed: str
) -> "list[SegmentDescription]":
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription

    site = None if settings.site is None else [to_coded_concept(settings.site)]
    return [
        SegmentDescription(
            segment_number=number,
            segment_label=segment.label[:64],  # VR LO
            segmented_property_category=to_coded_concept(settings.category),
            segmented_property_type=to_coded_concept(segment.term),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm(provenance),
            tracking_id=segment.tracking_id or None,
            tracking_uid=_tracking_uid(segment, source, seed),
            anatomic_regions=site,
            display_color=CIELabColor.from_string(COLOURS[(number - 1) % len(COLOURS)]),
        )
        for number, segment in enumerate(segments, start=1)
    ]


def _tracking_uid(segment: SegmentLabel, source: SourceSeries, seed: str) -> str | None:
    if not segment.tracking_id:
        return None
    return segment.tracking_uid or unique_id(seed, str(source.datasets[0].SOPInstanceUID), segment.tracking_id)
