"""Grey scale of a presentation state: what makes modality values of stored values, and what window shows them.

A presentation state replaces all of it, also the image's Photometric Interpretation (PS3.4 N.2.1.4).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.valuerep import format_number_as_ds

from medseg.imaging.dicom.instance import Frame, instance_of
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.dicom.values import is_inverted
from medseg.imaging.objects.opened import first_item
from medseg.imaging.objects.reference_headers import instance_reference

__all__ = ["ImageFrame", "image_frames", "set_grey_scale"]

LEAST_WIDTH = 1e-6  # a window has a width
LINEAR_LEAST_WIDTH = 1.0  # of the usual function (PS3.3 C.11.2.1.2.1)
NO_RESCALE = (1.0, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class ImageFrame:
    """One frame of a source.

    Parameters
    ----------
    image : pydicom.Dataset
        Header of its file.
    frame : Frame
        Its number, place and rescaling.
    is_one_of_many : bool
        Whether references to it must name its number.
    """

    image: pydicom.Dataset
    frame: Frame
    is_one_of_many: bool

    def reference(self) -> pydicom.Dataset:
        """Item that refers to it."""
        item = instance_reference(self.image)
        if self.is_one_of_many:
            item.ReferencedFrameNumber = self.frame.number + 1
        return item


def image_frames(source: SourceSeries) -> list[ImageFrame]:
    """All frames of a source.

    Raises
    ------
    ImageError
        When a header is damaged.
    """
    return [
        ImageFrame(image, frame, int(image.get("NumberOfFrames") or 1) > 1)
        for image in source.datasets
        for frame in instance_of(Path("source"), image, 0).frames
    ]


def set_grey_scale(state: pydicom.Dataset, frames: list[ImageFrame], window: tuple[float, float] | None) -> None:
    """Set modality LUT, windows and presentation LUT of a presentation state.

    One modality LUT holds for all images of a state. Where theirs differ, as in PET, it is left out, and the windows
    are in stored values, one for each image.

    Parameters
    ----------
    window : tuple of float or None
        Modality values shown black and white; None for the windows that the images state.
    """
    first = frames[0].image
    tables = first.get("ModalityLUTSequence")
    rescales = {item.frame.rescale for item in frames}
    if tables and len(frames) == 1:
        state.ModalityLUTSequence = tables
    elif len(rescales) == 1 and rescales != {NO_RESCALE}:
        slope, intercept = rescales.pop()
        state.RescaleSlope, state.RescaleIntercept = format_number_as_ds(slope), format_number_as_ds(intercept)
        state.RescaleType = first.get("RescaleType") or ("HU" if first.get("Modality") == "CT" else "US")
    in_stored_values = len({item.frame.rescale for item in frames}) > 1
    by_window: dict[str, tuple[pydicom.Dataset, list[ImageFrame]]] = {}
    for item in frames:
        slope, intercept = item.frame.rescale if in_stored_values else NO_RESCALE
        shown = _stated_window(item, slope, intercept) if window is None else _exact(*window, slope, intercept)
        if shown is not None:
            by_window.setdefault(shown.to_json(), (shown, []))[1].append(item)
    windows = [shown for shown, _ in by_window.values()]
    for shown, items in by_window.values():
        if len(items) < len(frames):
            shown.ReferencedImageSequence = list(_references(items))
    if windows:
        state.SoftcopyVOILUTSequence = windows
    state.PresentationLUTShape = "INVERSE" if is_inverted(first) else "IDENTITY"


def _references(items: list[ImageFrame]) -> Iterator[pydicom.Dataset]:
    """One reference an image, with the numbers of its frames."""
    by_image: dict[str, list[ImageFrame]] = {}
    for item in items:
        by_image.setdefault(str(item.image.SOPInstanceUID), []).append(item)
    for of_image in by_image.values():
        reference = instance_reference(of_image[0].image)
        if of_image[0].is_one_of_many:
            reference.ReferencedFrameNumber = [item.frame.number + 1 for item in of_image]
        yield reference


def _exact(low: float, high: float, slope: float, intercept: float) -> pydicom.Dataset:
    """Window from black to white; exact, unlike the usual one, which is half a grey value off (PS3.3 C.11.2.1.3)."""
    ends = sorted(((low - intercept) / slope, (high - intercept) / slope))
    item = pydicom.Dataset()
    item.WindowCenter = format_number_as_ds(sum(ends) / 2)
    item.WindowWidth = format_number_as_ds(max(ends[1] - ends[0], LEAST_WIDTH))
    item.VOILUTFunction = "LINEAR_EXACT"
    return item


def _stated_window(item: ImageFrame, slope: float, intercept: float) -> pydicom.Dataset | None:
    """First window or table that an image states for a frame; None where it states none that is valid."""
    stated = item.image
    if item.is_one_of_many:
        per_frame = item.image.get("PerFrameFunctionalGroupsSequence") or [pydicom.Dataset()] * (item.frame.number + 1)
        own = first_item(per_frame[item.frame.number], "FrameVOILUTSequence")
        shared = first_item(first_item(item.image, "SharedFunctionalGroupsSequence"), "FrameVOILUTSequence")
        stated = next((group for group in (own, shared) if len(group)), item.image)
    shown = pydicom.Dataset()
    if stated.get("VOILUTSequence") and (slope, intercept) == NO_RESCALE:
        shown.VOILUTSequence = stated.VOILUTSequence
        return shown
    center, width = (_first_number(stated.get(keyword)) for keyword in ("WindowCenter", "WindowWidth"))
    function = str(stated.get("VOILUTFunction") or "LINEAR")
    if center is None or width is None or width < (LINEAR_LEAST_WIDTH if function == "LINEAR" else LEAST_WIDTH):
        return None
    if (slope, intercept) == NO_RESCALE:
        shown.WindowCenter, shown.WindowWidth = format_number_as_ds(center), format_number_as_ds(width)
        shown.VOILUTFunction = function
        return shown
    return _exact(center - width / 2, center + width / 2, slope, intercept)


def _first_number(value: object) -> float | None:
    first = value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) and len(value) else value  # type: ignore[arg-type]
    try:
        return float(first)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
