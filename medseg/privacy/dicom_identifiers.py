"""Identifiers in the header of a DICOM object."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medseg.errors import ImageError
from medseg.files import files_below
from medseg.imaging.quiet import quiet_pydicom
from medseg.privacy.encodings import decodings
from medseg.privacy.identifiers import Identifier
from medseg.progress import track

__all__ = ["of_dataset", "of_dicom"]

# attributes of PS3.15 table E.1-1 whose values can be searched for; names of persons and UIDs go by their type
KIND_OF = {
    "PatientName": "patient_name", "OtherPatientNames": "patient_name", "PatientBirthName": "patient_name",
    "PatientID": "patient_id", "OtherPatientIDs": "patient_id", "MedicalRecordLocator": "patient_id",
    "PatientBirthDate": "birth_date", "PatientAddress": "address", "PatientTelephoneNumbers": "telephone",
    "PersonTelephoneNumbers": "telephone", "PersonAddress": "address", "ResponsibleOrganization": "institution",
    "AccessionNumber": "accession_number", "AdmissionID": "admission_id", "ServiceEpisodeID": "admission_id",
    "InstitutionName": "institution", "InstitutionAddress": "address", "StudyID": "study_id",
    "StudyDate": "study_date", "SeriesDate": "study_date", "AcquisitionDate": "study_date",
    "ContentDate": "study_date",
}  # fmt: skip
UID_ENDS = ("InstanceUID", "FrameOfReferenceUID", "IrradiationEventUID", "DeviceUID")
REGISTERED = "1.2.840.10008."  # UIDs of the standard itself
LEAST_STUDY_ID = 6  # characters: a study is often just "1"


def of_dicom(path: Path) -> list[Identifier]:
    """Identifiers of a DICOM file or of all below a folder.

    Raises
    ------
    ImageError
        When no DICOM object is there.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    found: dict[Identifier, None] = {}
    n_read = 0
    files = files_below(path)
    for file in track(files, "reading identifiers", len(files)):
        with quiet_pydicom():
            try:
                header = pydicom.dcmread(file, stop_before_pixels=True)
                found |= dict.fromkeys(of_dataset(header))
            except (InvalidDicomError, EOFError):
                continue
            except Exception as error:  # damaged headers raise many types; each means the same here
                raise ImageError(f"{file}: damaged DICOM header ({type(error).__name__}); leave it out") from error
        n_read += 1
    if not n_read:
        raise ImageError(f"{path}: no DICOM object found")
    return list(found)


def of_dataset(dataset: Any) -> list[Identifier]:
    """Identifiers of one header, nested items and private elements included."""
    declared = "SpecificCharacterSet" in dataset
    return [
        Identifier(kind, value.strip())
        for element in dataset.iterall()
        if (kind := _kind(element))
        for value in _values(element, declared)
        if value.strip("^= \0") and not (kind == "uid" and value.startswith(REGISTERED))
        if not (kind == "study_id" and len(value) < LEAST_STUDY_ID)
    ]


def _kind(element: Any) -> str:
    if element.VR == "PN":
        return KIND_OF.get(element.keyword, "person_name")
    if element.VR == "UI" and element.keyword.endswith(UID_ENDS):
        return "uid"
    return KIND_OF.get(element.keyword, "")


def _values(element: Any, declared: bool) -> Iterator[str]:
    """Text of an element; names without a declared character set in each encoding they may be in."""
    values = element.value if element.VM > 1 else [element.value]
    for value in values:
        raw = getattr(value, "original_string", b"")
        if not declared and isinstance(raw, bytes) and not raw.isascii():
            yield from decodings(raw)
        elif value is not None:
            yield str(value)
