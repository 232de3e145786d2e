"""Reading lesions from structured reports of medseg and others (PS3.16 TID 1500)."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.errors import AnnotationError
from medseg.imaging.objects import report_codes as codes
from medseg.imaging.objects.opened import coded_term, damage_named, open_object
from medseg.imaging.objects.report_drawing import Drawing, SlicePlace, slice_places
from medseg.imaging.objects.report_lesion import lesion_of
from medseg.imaging.objects.report_tree import by_name, children, measured, text_of
from medseg.imaging.objects.settings import ResultSettings
from medseg.lesion import Lesion
from medseg.volume import Note

if TYPE_CHECKING:
    import pydicom

__all__ = ["ReportContent", "ReportedLesion", "SlicePlace", "read_report", "slice_places"]

CLASSES = {
    "1.2.840.10008.5.1.4.1.1.88.22": "Enhanced SR", "1.2.840.10008.5.1.4.1.1.88.33": "Comprehensive SR",
    "1.2.840.10008.5.1.4.1.1.88.34": "Comprehensive 3D SR", "1.2.840.10008.5.1.4.1.1.88.35": "Extensible SR",
}  # fmt: skip
NO_PLACE = "a measurement group says not where it lies and was left out"


@dataclass(frozen=True, slots=True)
class ReportedLesion:
    """One lesion of a report.

    Parameters
    ----------
    lesion : Lesion
        In LPS mm, or in px of the image `sop_uids` names.
    certainty : float or None
        Between 0 and 1, where a device stated it.
    tracking_id, tracking_uid : str
        Empty where not stated.
    sop_uids : tuple of str
        Images that it was drawn on; none where it was drawn in space.
    """

    lesion: Lesion
    certainty: float | None = None
    tracking_id: str = ""
    tracking_uid: str = ""
    sop_uids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What a report holds.

    Parameters
    ----------
    reported : tuple of ReportedLesion
        In the order of the report; none where nothing was found.
    referenced_series_uids, referenced_sop_uids : tuple of str
        Images and other objects that it rests on.
    frame_of_reference : str
        Of the lesions that were drawn in space; empty where none was.
    notes : tuple of Note
        What was left out.
    """

    reported: tuple[ReportedLesion, ...]
    referenced_series_uids: tuple[str, ...]
    referenced_sop_uids: tuple[str, ...]
    frame_of_reference: str = ""
    notes: tuple[Note, ...] = field(default=())

    @property
    def lesions(self) -> list[Lesion]:
        """The lesions alone."""
        return [item.lesion for item in self.reported]


def read_report(
    path: str | Path,
    *,
    places: Mapping[tuple[str, int], SlicePlace | None] | None = None,
    pixel_spacing_mm: tuple[float, float] | None = None,
    settings: ResultSettings | None = None,
    pseudonym: Callable[[str], str] | None = None,
) -> ReportContent:
    """Read the measurement groups of a report as lesions.

    A lesion's diameter is that of its measurement `Diameter`; otherwise that of the circle or sphere of its outline's
    area or volume, or of the measured volume or area; otherwise the length of its long axis; 0 where there is none of
    these. On projections the outline comes first.

    Parameters
    ----------
    places : mapping, optional
        Where slices lie, by SOP Instance UID and frame: ``slice_places(...)``. Graphics on slices need it.
    pixel_spacing_mm : tuple of float, optional
        (y, x) of a projection: brings diameters given in mm to pixels.
    settings : ResultSettings, optional
        Its terms name the classes; a lesion with none of these terms has the meaning of its finding as name.
    pseudonym : callable, optional
        Names a reader by the names of the persons who observed; they get nowhere else. Without it a reader's name
        follows from the UID of the report: two persons are never taken as one. A device has its own name.

    Raises
    ------
    AnnotationError
        When the file is missing, something else or damaged; when graphics lie on slices that `places` lacks, or a
        lesion is given as a segment alone: its place is never guessed.
    """
    path = Path(path)
    root, _ = open_object(path, CLASSES, "a structured report")
    with damage_named(path):
        groups = [item for item in _all_items(root) if by_name([item], codes.MEASUREMENT_GROUP)]
        template = [str(item.get("TemplateIdentifier") or "") for item in root.get("ContentTemplateSequence") or []]
        if not groups and "1500" not in template:
            raise AnnotationError(f"{path}: holds no measurement groups, a measurement report (TID 1500) was expected")
        reader = _reader(root, pseudonym)
        reported: list[ReportedLesion] = []
        left_out, frames = 0, dict[str, None]()
        for number, group in enumerate(groups, start=1):
            drawing = Drawing(f"{path}, measurement group {number}", group, root, places or {})
            shapes = drawing.shapes()
            left_out += not shapes and _has_measurements(group)
            frames.update(dict.fromkeys(drawing.frames))
            for unit, uids, shape in shapes:
                lesion = lesion_of(group, unit, shape, pixel_spacing_mm, _name(group, settings), reader)
                reported.append(_entry(group, lesion, uids))
        if len(frames) > 1:
            raise AnnotationError(f"{path}: its lesions lie in {len(frames)} frames of reference, one was expected")
        notes = (Note("groups_without_place", f"{left_out} x {NO_PLACE}", warning=True),) if left_out else ()
        return ReportContent(tuple(reported), *_evidence(root), next(iter(frames), ""), notes)


def _all_items(root: "pydicom.Dataset") -> "list[pydicom.Dataset]":
    found = [root]
    for item in found:  # grows
        found += children(item)
    return found


def _has_measurements(group: "pydicom.Dataset") -> bool:
    return any(item.get("ValueType") == "NUM" for item in children(group))


def _entry(group: "pydicom.Dataset", lesion: Lesion, uids: tuple[str, ...]) -> ReportedLesion:
    items = children(group)
    texts = [next(iter(by_name(items, term)), None) for term in (codes.TRACKING_ID, codes.TRACKING_UID)]
    certainty = None
    for item in by_name(items, codes.CERTAINTY):
        value = measured(item)
        if value is not None:
            certainty = value[0] / 100 if value[1] == codes.PERCENT.value else value[0]
    tracking_id, tracking_uid = ("" if item is None else text_of(item) for item in texts)
    return ReportedLesion(lesion, certainty, tracking_id, tracking_uid, uids)


def _name(group: "pydicom.Dataset", settings: ResultSettings | None) -> str:
    term = next((coded_term(item, "ConceptCodeSequence") for item in by_name(children(group), codes.FINDING)), None)
    if term is None:
        return ""
    for name, known in {} if settings is None else settings.class_terms.items():
        if (known.value, known.scheme) == (term.value, term.scheme):
            return name
    return term.meaning


def _reader(root: "pydicom.Dataset", pseudonym: Callable[[str], str] | None) -> str:
    persons = [text_of(item) for item in by_name(children(root), codes.PERSON_NAME)]
    if persons:
        if pseudonym is not None:
            return pseudonym("\\".join(sorted(persons)))
        return "reader " + hashlib.sha256(str(root.get("SOPInstanceUID") or "").encode()).hexdigest()[:8]
    return next((text_of(item) for item in by_name(children(root), codes.DEVICE_NAME)), "")


def _evidence(root: "pydicom.Dataset") -> tuple[tuple[str, ...], tuple[str, ...]]:
    series, instances = dict[str, None](), dict[str, None]()
    for keyword in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        for study in root.get(keyword) or []:
            for item in study.get("ReferencedSeriesSequence") or []:
                series[str(item.get("SeriesInstanceUID") or "")] = None
                for reference in item.get("ReferencedSOPSequence") or []:
                    instances[str(reference.get("ReferencedSOPInstanceUID") or "")] = None
    return tuple(uid for uid in series if uid), tuple(uid for uid in instances if uid)
