"""What a written object takes over from its source: patient, study, character set, frame of reference."""

import re
from collections.abc import Sequence

import pydicom

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.unique_ids import unique_id

__all__ = ["character_set", "frame_of_reference", "study_header"]

PATIENT_GROUPS = (0x0010, 0x0012)  # Patient, Patient Study, Clinical Trial modules (PS3.3 C.7.1, C.7.2)
STUDY = (
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber",
    "IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "SpecificCharacterSet",
    "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
)  # fmt: skip
# Type 2: required, but may be empty (PS3.3 C.7.1.1, C.7.2.1); files of hospitals often lack them
MAY_BE_EMPTY = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
DEFAULT_REPERTOIRE, UTF_8 = "ISO 2022 IR 6", "ISO_IR 192"
MULTI_BYTE = ("ISO 2022 IR 87", "ISO 2022 IR 159", "ISO 2022 IR 149", "ISO 2022 IR 58")  # never the first of several
AGE = re.compile(r"\d{3}[DWMY]")  # VR AS
SEXES = ("M", "F", "O")


def study_header(source: SourceSeries) -> pydicom.Dataset:
    """Patient and study attributes of a source.

    What the standard requires and the source lacks is empty, and so are values that the standard forbids and that
    would make the result invalid: a sex other than M, F, O; dates, times and ages that are none.

    Raises
    ------
    OutputError
        When the source has no instances, or lacks the UIDs that a result must refer to.
    """
    if not source.datasets:
        raise OutputError("a DICOM result refers to the images it was made from, and there are none")
    first = source.datasets[0]
    for image in source.datasets:
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            if not image.get(keyword):
                raise OutputError(f"an image of the source has no {keyword}, which a DICOM result must refer to")
    header = pydicom.Dataset()
    for tag in list(first.keys()):
        if tag.group not in PATIENT_GROUPS and pydicom.datadict.keyword_for_tag(tag) not in STUDY:
            continue
        element = first[tag]
        if not element.is_empty and (element.VR != "AS" or AGE.fullmatch(str(element.value))):
            header.add(_decoded(element))
    for keyword in MAY_BE_EMPTY:
        if header.get(keyword) is None:
            setattr(header, keyword, "")
    if header.PatientSex not in SEXES:
        header.PatientSex = ""
    for keyword, kind in (("PatientBirthDate", _date), ("StudyDate", _date), ("StudyTime", _time)):
        if not kind(str(header.get(keyword) or "")):
            setattr(header, keyword, "")
    return header


def _decoded(element: pydicom.DataElement) -> pydicom.DataElement:
    """Names as text: pydicom keeps the bytes of their old character set, and would write these into one of another."""
    if element.VR != "PN" or element.is_empty:
        return element
    names = [str(name) for name in (element.value if element.VM > 1 else [element.value])]
    return pydicom.DataElement(element.tag, "PN", names if len(names) > 1 else names[0])


def _date(text: str) -> bool:
    try:
        pydicom.valuerep.DA(text)
    except ValueError:
        return False
    return True


def _time(text: str) -> bool:
    try:
        pydicom.valuerep.TM(text)
    except ValueError:
        return False
    return True


def character_set(source: SourceSeries, texts: Sequence[str]) -> str | list[str] | None:
    """Specific Character Set of a result whose own words are `texts`.

    That of the source, which its peers evidently read; UTF-8 where the source has none that is valid and its
    patient's name is not ASCII, or where the result's own words are not (PS3.3 C.12.1.1.2).
    """
    first = source.datasets[0]
    inherited = [str(first.get(keyword) or "") for keyword in ("PatientName", "PatientID", "ReferringPhysicianName")]
    names = _valid_names(first.get("SpecificCharacterSet"))
    if any(not text.isascii() for text in texts) or (not names and any(not text.isascii() for text in inherited)):
        return UTF_8
    return names[0] if len(names) == 1 else names or None


def _valid_names(stated: object) -> list[str]:
    """Names of character sets as the standard spells them; none where it does not know them."""
    from highdicom.valuerep import SpecificCharacterSetValues

    names = [stated] if isinstance(stated, str) else [str(name) for name in stated or []]  # type: ignore[attr-defined]
    if len(names) == 1:
        names = [names[0].replace("ISO 2022 IR ", "ISO_IR ")]  # the other form is for several
    else:  # an empty first one stands for the default repertoire
        names = [name.replace("ISO_IR ", "ISO 2022 IR ") or DEFAULT_REPERTOIRE for name in names]
        if names and names[0] in MULTI_BYTE:
            return []
    known = {value.value for value in SpecificCharacterSetValues}
    return names if all(name in known for name in names) else []


def frame_of_reference(source: SourceSeries) -> str:
    """Frame of Reference UID of the source; where it has none, one that follows from its series."""
    first = source.datasets[0]
    return str(first.get("FrameOfReferenceUID") or unique_id(str(first.SeriesInstanceUID), "frame of reference"))
