"""Reading RT Structure Sets: contours in space (PS3.3 C.8.8.5, C.8.8.6)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import AnnotationError
from medseg.imaging.objects.opened import damage_named, open_object

if TYPE_CHECKING:
    import pydicom

__all__ = ["Contour", "Roi", "StructureSet", "read_structure_set"]

CLASSES = {"1.2.840.10008.5.1.4.1.1.481.3": "RT Structure Set Storage"}
GEOMETRIES = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", "CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# RT ROI Interpreted Types (PS3.3 C.8.8.8) that no lesion has: all defined terms but GTV, CTV and PTV
NO_LESIONS = frozenset(
    {
        "EXTERNAL", "TREATED_VOLUME", "IRRAD_VOLUME", "BOLUS", "AVOIDANCE", "ORGAN", "MARKER", "REGISTRATION",
        "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP",
        "BRACHY_CHNL_SHLD", "SUPPORT", "FIXATION", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT", "DEVICE",
    }
)  # fmt: skip
LARGEST_MM = 1e5  # a coordinate beyond is no place in a patient


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """One contour.

    Parameters
    ----------
    points : ndarray, shape (n, 3)
        LPS mm.
    geometry : str
        Contour Geometric Type: CLOSED_PLANAR, POINT ...
    image_uids : tuple of str
        SOP Instance UIDs of the slices it was drawn on, where stated.
    """

    points: np.ndarray
    geometry: str
    image_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One region of interest.

    Parameters
    ----------
    number : int
        Its number in the structure set.
    name : str
        As its author named it.
    contours : tuple of Contour
        Possibly none.
    kind : str
        Interpreted type, such as GTV or ORGAN; empty where not stated.
    """

    number: int
    name: str
    contours: tuple[Contour, ...]
    kind: str = ""

    @property
    def may_be_lesion(self) -> bool:
        """Whether its kind is a target's, not stated or none of PS3.3 C.8.8.8; not the body, an organ or a marker."""
        return self.kind not in NO_LESIONS

    @property
    def points(self) -> np.ndarray:
        """Its single points, shape (n, 3), LPS mm."""
        found = [contour.points for contour in self.contours if contour.geometry == "POINT"]
        return np.concatenate(found) if found else np.zeros((0, 3))


@dataclass(frozen=True, slots=True, eq=False)
class StructureSet:
    """Contours that belong to an image.

    Parameters
    ----------
    rois : tuple of Roi
        In the order of the file.
    series_uids, instance_uids : tuple of str
        Images that it refers to.
    frame_of_reference_uids : tuple of str
        Of its regions.
    """

    rois: tuple[Roi, ...]
    series_uids: tuple[str, ...]
    instance_uids: tuple[str, ...]
    frame_of_reference_uids: tuple[str, ...]


def read_structure_set(path: str | Path) -> StructureSet:
    """Read an RT Structure Set.

    Raises
    ------
    AnnotationError
        When the file is missing, something else, damaged or contradicts itself.
    """
    path = Path(path)
    header, _ = open_object(path, CLASSES, "an RT Structure Set")
    with damage_named(path):
        definitions = {}
        for item in header.get("StructureSetROISequence") or []:
            number = item.get("ROINumber")
            if not isinstance(number, int) or number in definitions:
                raise AnnotationError(f"{path}: the number of a region is missing or given twice ({number})")
            definitions[int(number)] = item
        if not definitions:
            raise AnnotationError(f"{path}: describes no regions")
        kinds = {
            item.get("ReferencedROINumber"): str(item.get("RTROIInterpretedType") or "").strip().upper()
            for item in header.get("RTROIObservationsSequence") or []
        }
        contours = _contours(path, header, set(definitions))
        rois = tuple(
            Roi(number, str(item.get("ROIName") or ""), tuple(contours.get(number, ())), kinds.get(number, ""))
            for number, item in definitions.items()
        )
        frames = dict.fromkeys(str(item.get("ReferencedFrameOfReferenceUID") or "") for item in definitions.values())
        return StructureSet(rois, *_references(header, rois), tuple(uid for uid in frames if uid))


def _contours(path: Path, header: "pydicom.Dataset", known: set[int]) -> dict[int, list[Contour]]:
    found: dict[int, list[Contour]] = {}
    for item in header.get("ROIContourSequence") or []:
        number = item.get("ReferencedROINumber")
        if number not in known:
            raise AnnotationError(f"{path}: holds contours of the region {number}, which it does not describe")
        found.setdefault(int(number), []).extend(
            _contour(path, int(number), contour) for contour in item.get("ContourSequence") or []
        )
    return found


def _contour(path: Path, number: int, item: "pydicom.Dataset") -> Contour:
    geometry = str(item.get("ContourGeometricType") or "")
    if geometry not in GEOMETRIES:
        raise AnnotationError(f"{path}: a contour of the region {number} has the geometric type '{geometry}'")
    values = _numbers(item)
    stated = item.get("NumberOfContourPoints")
    if len(values) == 0 or len(values) % 3 or (stated is not None and int(stated) * 3 != len(values)):
        text = f"{path}: a contour of the region {number} has {len(values)} coordinates"
        raise AnnotationError(f"{text}, {stated} points of three were stated; the file is damaged")
    if not (np.abs(values) < LARGEST_MM).all():  # also false for NaN
        raise AnnotationError(f"{path}: a contour of the region {number} has coordinates of no place in a patient")
    images = tuple(str(image.get("ReferencedSOPInstanceUID") or "") for image in item.get("ContourImageSequence") or [])
    return Contour(values.reshape(-1, 3), geometry, tuple(uid for uid in images if uid))


def _numbers(item: "pydicom.Dataset") -> np.ndarray:
    """Contour Data, from its text at once: number by number takes a hundred times as long."""
    if "ContourData" not in item:
        return np.zeros(0)
    raw = item.get_item("ContourData").value
    if isinstance(raw, bytes):
        text = raw.rstrip(b" \0")
        return np.array(text.split(b"\\"), dtype=np.float64) if text else np.zeros(0)
    return np.atleast_1d(np.array(raw, dtype=np.float64))


def _references(header: "pydicom.Dataset", rois: tuple[Roi, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    series: dict[str, None] = {}
    instances: dict[str, None] = {}
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for item in study.get("RTReferencedSeriesSequence") or []:
                series[str(item.get("SeriesInstanceUID") or "")] = None
                for image in item.get("ContourImageSequence") or []:
                    instances[str(image.get("ReferencedSOPInstanceUID") or "")] = None
    for roi in rois:
        for contour in roi.contours:
            instances.update(dict.fromkeys(contour.image_uids))
    return tuple(uid for uid in series if uid), tuple(uid for uid in instances if uid)
