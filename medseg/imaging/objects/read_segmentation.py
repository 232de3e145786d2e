"""Reading DICOM Segmentations: binary, fractional and labelmap, from whatever wrote them (PS3.3 C.8.20)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from medseg.errors import AnnotationError
from medseg.imaging.objects.multiframe import MultiFrame, multiframe_of
from medseg.imaging.objects.opened import coded_term, damage_named, first_item, open_object, referenced_images
from medseg.imaging.objects.placing import Placing
from medseg.imaging.objects.settings import CodedTerm
from medseg.volume import Grid

if TYPE_CHECKING:
    import pydicom

__all__ = ["Segment", "SegmentationImage", "read_segmentation"]

CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
}
Kind = Literal["binary", "fractional", "labelmap"]
KINDS = ("binary", "fractional", "labelmap")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a segmentation.

    Parameters
    ----------
    number : int
        Its number, from 1.
    label : str
        Name given by whoever made it.
    category, term : CodedTerm or None
        Category and type of what is segmented; None where not coded.
    algorithm_type : str
        AUTOMATIC, SEMIAUTOMATIC or MANUAL.
    algorithm_name, tracking_id, tracking_uid : str
        Empty where not stated.
    """

    number: int
    label: str
    category: CodedTerm | None = None
    term: CodedTerm | None = None
    algorithm_type: str = ""
    algorithm_name: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationImage:
    """A DICOM Segmentation; its pixels are read when they are asked for.

    Parameters
    ----------
    kind : {"binary", "fractional", "labelmap"}
        How segments are stored.
    segments : tuple of Segment
        Without the background.
    series_uids, instance_uids : tuple of str
        Images that it refers to.
    frame_of_reference_uid : str
        Empty for that of a projection image.
    frames : MultiFrame
        Pixels and places.
    frame_segments : tuple of int
        Number of the segment of each frame; 0 for the frames of a labelmap, which hold all.
    largest : int
        Stored value of a fraction of 1.
    """

    kind: Kind
    segments: tuple[Segment, ...]
    series_uids: tuple[str, ...]
    instance_uids: tuple[str, ...]
    frame_of_reference_uid: str
    frames: MultiFrame
    frame_segments: tuple[int, ...]
    largest: int = 1

    def mask(
        self, segment_numbers: Sequence[int] | None = None, *, grid: Grid | None = None
    ) -> tuple[np.ndarray, Grid]:
        """Voxels that belong to any of the segments; of fractions, those of 0.5 and more.

        Parameters
        ----------
        segment_numbers : sequence of int, optional
            Of which segments; all without it.
        grid : Grid, optional
            Of the image; without it a regular grid that just holds the frames. Slices without a frame are empty, as
            Segmentations leave empty frames out.

        Returns
        -------
        ndarray of uint8, shape (z, y, x)
            0 or 1.
        Grid
            Where it lies.

        Raises
        ------
        GeometryError
            When the frames do not lie on the grid, or on no regular one.
        AnnotationError
            When there is no such segment, or two frames of one segment at one place.
        """
        chosen = self._chosen(segment_numbers)
        placing = self.frames.placing(grid)
        result = np.zeros(placing.grid.shape, np.uint8)
        for _, values, view in self._frames(result, placing, chosen):
            if self.kind == "labelmap":
                view |= np.isin(values, chosen)
            else:
                view |= self._belongs(values)
        return result, placing.grid

    def labels(self, *, grid: Grid | None = None) -> tuple[np.ndarray, Grid]:
        """Number of the segment of each voxel, as `mask` does.

        Returns
        -------
        ndarray of uint16, shape (z, y, x)
            0 where there is none.
        Grid
            Where it lies.

        Raises
        ------
        AnnotationError
            Also when segments overlap, which one number a voxel cannot say.
        GeometryError
            As for `mask`.
        """
        placing = self.frames.placing(grid)
        result = np.zeros(placing.grid.shape, np.uint16)
        for segment, values, view in self._frames(result, placing, self._chosen(None)):
            belongs = self._belongs(values)
            shared = int(np.count_nonzero(view[belongs]))
            if shared:
                text = f"{self.frames.path}: segment {segment} shares {shared} voxels of a slice with other segments"
                raise AnnotationError(f"{text}; read its segments one by one")
            view[belongs] = values[belongs] if self.kind == "labelmap" else segment
        return result, placing.grid

    def probability(self, segment_number: int, *, grid: Grid | None = None) -> tuple[np.ndarray, Grid]:
        """Fraction of each voxel that one segment has, as `mask` does: 0 or 1 where the kind is not fractional.

        Returns
        -------
        ndarray of float32, shape (z, y, x)
            From 0 to 1.
        Grid
            Where it lies.
        """
        if self.kind != "fractional":
            mask, found = self.mask([segment_number], grid=grid)
            return mask.astype(np.float32), found
        placing = self.frames.placing(grid)
        result = np.zeros(placing.grid.shape, np.float32)
        for _, values, view in self._frames(result, placing, self._chosen([segment_number])):
            view[...] = values / np.float32(self.largest)
        return result, placing.grid

    def _chosen(self, numbers: Sequence[int] | None) -> list[int]:
        known = [segment.number for segment in self.segments]
        missing = sorted(set(numbers or ()) - set(known))
        if missing:
            raise AnnotationError(f"{self.frames.path}: has the segments {known}, not {missing}")
        return known if numbers is None else list(numbers)

    def _frames(
        self, array: np.ndarray, placing: Placing, chosen: Sequence[int]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Segment, checked values and view of `array` of every frame that holds one of the segments."""
        path = self.frames.path
        numbers = [i for i, segment in enumerate(self.frame_segments) if segment == 0 or segment in chosen]
        places = {(self.frame_segments[i], *placing.origins[i].tolist()) for i in numbers}
        if len(places) < len(numbers):
            text = f"{path}: {len(numbers) - len(places)} frame(s) lie where another of their segment does"
            raise AnnotationError(f"{text}; is it of several points in time?")
        described = np.zeros(1 << 16, bool)  # numbers of segments have 16 bits
        described[[0, *(segment.number for segment in self.segments)]] = True
        for number, values, view in self.frames.on_grid(array, placing, numbers):
            if self.kind == "labelmap" and not described[values].all():
                raise AnnotationError(f"{path}: its frame {number + 1} holds segments that it does not describe")
            if self.kind == "fractional" and values.max(initial=0) > self.largest:
                raise AnnotationError(f"{path}: holds the fraction {values.max()}, above its largest, {self.largest}")
            yield self.frame_segments[number], values, view

    def _belongs(self, values: np.ndarray) -> np.ndarray:
        # whole numbers: 127 of 255 is below one half, 128 above it
        return values.astype(np.int64) * 2 >= self.largest if self.kind == "fractional" else values != 0


def read_segmentation(path: str | Path) -> SegmentationImage:
    """Read a DICOM Segmentation.

    Raises
    ------
    AnnotationError
        When the file is missing, something else, damaged or contradicts itself.
    ImageError
        When its frames are not stored as the standard says.
    GeometryError
        When its frames are not parallel planes.
    """
    path = Path(path)
    header, offset = open_object(path, CLASSES, "a DICOM Segmentation")
    with damage_named(path):
        kind = str(header.get("SegmentationType") or "").lower()
        if kind not in KINDS:
            found = kind.upper() or "missing"
            raise AnnotationError(f"{path}: its SegmentationType is {found}, expected one of {', '.join(KINDS)}")
        segments = _segments(path, header, kind)
        frames = multiframe_of(path, header, offset)
        if frames.format.bits_allocated not in (1, 8, 16) or frames.format.signed:
            bits = frames.format.bits_allocated
            raise AnnotationError(
                f"{path}: its pixels have {bits} bits or a sign; a segmentation has 1, 8 or 16, unsigned"
            )
        return SegmentationImage(
            cast(Kind, kind),
            segments,
            *referenced_images(header),
            str(header.get("FrameOfReferenceUID") or ""),
            frames,
            _frame_segments(path, header, kind, {segment.number for segment in segments}),
            _largest(path, header) if kind == "fractional" else 1,
        )


def _segments(path: Path, header: "pydicom.Dataset", kind: str) -> tuple[Segment, ...]:
    found = tuple(
        Segment(
            number=int(item.get("SegmentNumber", -1)),
            label=str(item.get("SegmentLabel") or ""),
            category=coded_term(item, "SegmentedPropertyCategoryCodeSequence"),
            term=coded_term(item, "SegmentedPropertyTypeCodeSequence"),
            algorithm_type=str(item.get("SegmentAlgorithmType") or ""),
            algorithm_name=str(item.get("SegmentAlgorithmName") or ""),
            tracking_id=str(item.get("TrackingID") or ""),
            tracking_uid=str(item.get("TrackingUID") or ""),
        )
        for item in header.get("SegmentSequence") or []
    )
    if kind == "labelmap":  # 0 may be described: the background
        found = tuple(segment for segment in found if segment.number != 0)
    numbers = [segment.number for segment in found]
    if not found:
        raise AnnotationError(f"{path}: describes no segments")
    if min(numbers) < 1 or len(set(numbers)) < len(numbers):
        raise AnnotationError(f"{path}: the numbers of its segments, {numbers}, are not different and above 0")
    return found


def _frame_segments(path: Path, header: "pydicom.Dataset", kind: str, known: set[int]) -> tuple[int, ...]:
    groups = header.PerFrameFunctionalGroupsSequence
    if kind == "labelmap":
        return (0,) * len(groups)
    shared = first_item(header, "SharedFunctionalGroupsSequence")
    found = []
    for number, group in enumerate(groups, start=1):
        stated = group if group.get("SegmentIdentificationSequence") else shared
        segment = first_item(stated, "SegmentIdentificationSequence").get("ReferencedSegmentNumber")
        if not isinstance(segment, int) or segment not in known:
            raise AnnotationError(f"{path}: its frame {number} is of segment {segment}, which it does not describe")
        found.append(segment)
    return tuple(found)


def _largest(path: Path, header: "pydicom.Dataset") -> int:
    value = header.get("MaximumFractionalValue")
    if not isinstance(value, int) or value < 1:
        raise AnnotationError(f"{path}: does not state its MaximumFractionalValue, so its fractions mean nothing")
    return value
