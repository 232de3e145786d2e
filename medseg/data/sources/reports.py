"""Measurement reports (DICOM SR, TID 1500), wherever they lie in a tree, as points."""

import logging
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from medseg.data.pseudonyms import Pseudonyms
from medseg.data.sources.inventory import Inventory, Readers, Rows
from medseg.errors import AnnotationError
from medseg.imaging.dicom import scan
from medseg.imaging.dicom.headers import DicomObject
from medseg.imaging.find import ImageSource
from medseg.lesion import Lesion

if TYPE_CHECKING:
    from medseg.imaging.objects.report_drawing import SlicePlace

__all__ = ["report_points"]

logger = logging.getLogger(__name__)
TEMPLATE = "1500"  # Measurement Report (PS3.16 TID 1500)
EVIDENCE = ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence")
REFERENCES = ("SeriesInstanceUID", "ReferencedSOPInstanceUID")


def report_points(
    source: Path, inventory: Inventory, pseudonyms: Pseudonyms, *, exclude: Path | Collection[Path] | None = None
) -> tuple[Rows, Readers]:
    """Lesions of the measurement reports of a tree; reports of other templates are left alone.

    A lesion belongs to the image that it was drawn on; one in space to the volumes of its frame of reference among
    those that its report rests on. Images of a report's study without a lesion in it count as read.

    Returns
    -------
    Rows, Readers
        Points of each image, and who read it: persons by pseudonyms.

    Raises
    ------
    AnnotationError
        When a report is damaged. In a tree with Segmentations a report that only names their segments is left out.
    """
    rows: Rows = defaultdict(list)
    readers: Readers = defaultdict(set)
    objects = scan(source, exclude=exclude).objects
    masks = any("Segmentation" in item.kind for item in objects)
    places = _places(inventory)
    unverified, alone = 0, []
    for report in filter(None, map(_header, objects)):
        evidence = inventory.referred_to(report.uids, report.uids)
        if not evidence:
            alone.append(report.path)
            continue
        try:
            found = _lesions(report, evidence, inventory, pseudonyms, places)
        except AnnotationError as error:
            if not masks:
                raise
            logger.warning("a report is left out, its lesions may be in the Segmentations (--debug says why)")
            logger.debug("a report is left out: %s", error)
            continue
        unverified += not report.verified
        for image, lesions in found:
            rows[image.case_id] += [_row(lesion) for lesion in lesions]
            # who found nothing is not named, but counts
            readers[image.case_id] |= {lesion.reader for lesion in lesions} or {pseudonyms.of(str(report.path), "r")}
    if unverified:
        logger.warning("%d report(s) were not verified by a person, and are taken as reference", unverified)
    if alone:
        logger.warning("%d report(s) refer to no image that is here (--debug names them)", len(alone))
        logger.debug("reports of no image: %s", ", ".join(map(str, alone)))
    return dict(rows), dict(readers)


@dataclass(frozen=True, slots=True)
class _Report:
    """A measurement report, and the UIDs of the series and instances that it rests on."""

    path: Path
    study_uid: str
    verified: bool
    uids: frozenset[str]


def _header(item: DicomObject) -> _Report | None:
    """Header of a measurement report; None for other objects, and for reports without measurements."""
    from medseg.imaging.objects import read_report

    if item.sop_class not in read_report.CLASSES:
        return None
    import pydicom

    header = pydicom.dcmread(item.path, specific_tags=["ContentTemplateSequence", "VerificationFlag", *EVIDENCE])
    templates = {str(template.get("TemplateIdentifier")) for template in header.get("ContentTemplateSequence") or []}
    if TEMPLATE not in templates:
        return None
    uids = {str(element.value) for element in header.iterall() if element.keyword in REFERENCES}
    return _Report(item.path, item.study_uid, header.get("VerificationFlag") == "VERIFIED", frozenset(uids))


def _places(inventory: Inventory) -> "dict[tuple[str, int], SlicePlace | None]":
    """Where all slices lie, by instance and number of the frame from 1; None for projections."""
    from medseg.imaging.objects.report_drawing import SlicePlace, frame_places

    places: dict[tuple[str, int], SlicePlace | None] = {}
    for item in inventory.items:
        places |= frame_places(item.description.frames if item.description is not None else ())
    return places


def _lesions(
    report: _Report, evidence: Sequence[ImageSource], inventory: Inventory, pseudonyms: Pseudonyms,
    places: "dict[tuple[str, int], SlicePlace | None]",
) -> list[tuple[ImageSource, list[Lesion]]]:  # fmt: skip
    """Images that a report speaks of, each with the lesions in it."""
    from medseg.imaging.objects.read_report import read_report

    content = read_report(report.path, places=places, pseudonym=lambda name: pseudonyms.of(name, "r"))
    for note in content.notes:
        logger.warning("report: %s", note.message)
    space = content.frame_of_reference
    found: dict[str, tuple[ImageSource, list[Lesion]]] = {
        image.case_id: (image, []) for image in evidence if _is_of(image, report.study_uid, space)
    }
    for reported in content.reported:
        if reported.sop_uids:
            images = inventory.holding(reported.sop_uids)
        else:
            images = [image for image in evidence if _is_of(image, "", space)]
        for image in images:
            found.setdefault(image.case_id, (image, []))[1].append(reported.lesion)
    return list(found.values())


def _is_of(image: ImageSource, study_uid: str, frame_of_reference: str) -> bool:
    """Whether an image is of a study and of a frame of reference; an empty one says nothing."""
    if image.description is None:
        return False
    first = image.description.first
    known = (first.facts.get("FrameOfReferenceUID", ""), frame_of_reference)
    return (not study_uid or first.study_uid == study_uid) and (not all(known) or known[0] == known[1])


def _row(lesion: Lesion) -> dict[str, object]:
    column = "diameter_mm" if lesion.unit == "mm" else "diameter_px"
    place = {"x": lesion.x, "y": lesion.y, "z": lesion.z, column: lesion.diameter}
    return {**place, "class": lesion.name, "reader": lesion.reader, "ignore": int(lesion.ignore)}
