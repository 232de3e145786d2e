"""What a result says of the images it refers to: their UIDs, and the patient and study it shares with them."""

import pydicom

from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.evidence import study_header

__all__ = ["instance_reference", "reference_headers", "referenced_series", "result_header"]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
COPIED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "Rows", "Columns", "NumberOfFrames")


def result_header(source: SourceSeries) -> pydicom.Dataset:
    """Patient and study of a source in a header as if it were a CT image, which highdicom copies them from.

    It copies by the modules of the SOP class, and refuses classes that it does not know.

    Raises
    ------
    OutputError
        When the source has no images, or lacks the UIDs that a result must refer to.
    """
    header = study_header(source)
    first = source.datasets[0]
    header.SOPClassUID = CT_IMAGE
    header.SOPInstanceUID, header.SeriesInstanceUID = first.SOPInstanceUID, first.SeriesInstanceUID
    return header


def reference_headers(source: SourceSeries) -> list[pydicom.Dataset]:
    """UIDs and size of each image of a source; all that references need of them."""
    headers = []
    for image in source.datasets:
        header = pydicom.Dataset()
        for keyword in COPIED:
            if image.get(keyword) not in (None, ""):
                setattr(header, keyword, image.get(keyword))
        header.SamplesPerPixel = 1
        headers.append(header)
    return headers


def instance_reference(image: pydicom.Dataset) -> pydicom.Dataset:
    """Item that refers to one instance (PS3.3 table 10-11)."""
    reference = pydicom.Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    return reference


def referenced_series(images: list[pydicom.Dataset], keyword: str) -> list[pydicom.Dataset]:
    """Items of a Referenced Series Sequence over images.

    Parameters
    ----------
    images : list of pydicom.Dataset
        Images or other objects.
    keyword : str
        Of the sequence of instances in each item, which differs between modules.
    """
    by_series: dict[str, list[pydicom.Dataset]] = {}
    for image in images:
        by_series.setdefault(str(image.SeriesInstanceUID), []).append(instance_reference(image))
    items = []
    for uid, references in by_series.items():
        item = pydicom.Dataset()
        item.SeriesInstanceUID = uid
        setattr(item, keyword, references)
        items.append(item)
    return items
