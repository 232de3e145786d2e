"""Opening a DICOM object that is not trusted: of the right class and whole, or an error that says what is wrong."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from medseg.errors import AnnotationError, MedsegError
from medseg.imaging.objects.settings import CodedTerm
from medseg.imaging.quiet import quiet_pydicom

if TYPE_CHECKING:
    import pydicom

__all__ = ["coded_term", "damage_named", "first_item", "open_object", "referenced_images"]

LONGEST_MEANING = 64  # VR LO


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what a damaged object makes pydicom or NumPy raise into an `AnnotationError` that names the file.

    Their warnings are kept back: they quote values of the header.
    """
    try:
        with quiet_pydicom():
            yield
    except MedsegError:
        raise
    except Exception as error:  # values of the wrong kind raise many types; each means the same here
        raise AnnotationError(f"{path}: damaged DICOM object ({type(error).__name__})") from error


def open_object(path: Path, classes: Mapping[str, str], expected: str) -> "tuple[pydicom.Dataset, int]":
    """Read the header of an object of one of the SOP classes.

    Parameters
    ----------
    classes : mapping of str
        SOP class UIDs that are read, and what they are called.
    expected : str
        What the user was to give, for the message.

    Returns
    -------
    pydicom.Dataset, int
        The header, and the byte at which its pixels start.

    Raises
    ------
    AnnotationError
        When the file is missing, damaged or something else.
    """
    import pydicom

    if not path.is_file():
        raise AnnotationError(f"{path}: no such file")
    with damage_named(path):
        with path.open("rb") as stream:
            header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)  # old files lack the preamble
            offset = stream.tell()
        found = str(header.get("SOPClassUID") or "")
        if not found:
            raise AnnotationError(f"{path}: not readable as DICOM, or without a SOP class")
        if found not in classes:
            raise AnnotationError(f"{path}: {expected} was expected, found {pydicom.uid.UID(found).name}")
    return header, offset


def first_item(dataset: "pydicom.Dataset", keyword: str) -> "pydicom.Dataset":
    """First item of a sequence; an empty one where it is absent or has none."""
    import pydicom

    sequence = dataset.get(keyword)
    return sequence[0] if sequence else pydicom.Dataset()


def coded_term(dataset: "pydicom.Dataset", keyword: str) -> CodedTerm | None:
    """Code in the first item of a sequence (PS3.3 8.8); None where it is absent or incomplete."""
    item = first_item(dataset, keyword)
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    scheme, meaning = item.get("CodingSchemeDesignator") or "", str(item.get("CodeMeaning") or "")
    try:
        return CodedTerm(value=str(value), scheme=str(scheme), meaning=meaning[:LONGEST_MEANING])
    except ValidationError:
        return None


def referenced_images(header: "pydicom.Dataset") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Series Instance UIDs and SOP Instance UIDs of the images that an object refers to, in order."""
    series: dict[str, None] = {}
    instances: dict[str, None] = {}
    for item in header.get("ReferencedSeriesSequence") or []:
        series[str(item.get("SeriesInstanceUID") or "")] = None
        for reference in item.get("ReferencedInstanceSequence") or []:
            instances[str(reference.get("ReferencedSOPInstanceUID") or "")] = None
    for reference in header.get("SourceImageSequence") or []:
        instances[str(reference.get("ReferencedSOPInstanceUID") or "")] = None
    for groups in header.get("PerFrameFunctionalGroupsSequence") or []:
        for derivation in groups.get("DerivationImageSequence") or []:
            for reference in derivation.get("SourceImageSequence") or []:
                instances[str(reference.get("ReferencedSOPInstanceUID") or "")] = None
    return tuple(uid for uid in series if uid), tuple(uid for uid in instances if uid)
