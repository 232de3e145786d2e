"""Secondary captures: pictures of results in colour, which every viewer shows (PS3.3 A.8.1, A.8.5.4)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.building import building
from medseg.imaging.objects.evidence import study_header
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.reference_headers import instance_reference, reference_headers, referenced_series
from medseg.imaging.objects.template import ResultIdentity, identity

__all__ = ["build_capture"]

SINGLE, SEVERAL = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.4"  # the latter: multi-frame true color
PAGE_NUMBER_VECTOR = 0x00182001  # what the frames differ in (PS3.3 C.8.6.4)
LARGEST_SIDE, MOST_BYTES = 65535, 2**32 - 2  # Rows and Columns have 16 bits, the length of an element 32 and is even


def build_capture(
    pictures: Sequence[np.ndarray],
    source: SourceSeries,
    *,
    provenance: Provenance,
    description: str = "Findings drawn over the image",
    compression: Literal["none", "rle"] = "none",
    result: ResultIdentity = ResultIdentity(series_number=9004),  # noqa: B008 - immutable
) -> pydicom.Dataset:
    """Build a secondary capture: one frame a picture, without loss.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shape (y, x, 3)
        RGB. Smaller ones get a black margin to the right and below, because frames have one size. They are expected to
        show the notice of the research use.
    source : SourceSeries
        Images that the pictures were made from; the capture refers to all of them.
    provenance : Provenance
        The algorithm.
    description : str
        What the pictures show, in a few words.
    compression : {"none", "rle"}
        Uncompressed is accepted by every archive; RLE is smaller.
    result : ResultIdentity
        Numbers and UIDs.

    Raises
    ------
    OutputError
        When there is no picture, one is not RGB of 8 bits, DICOM cannot hold their size, or the source lacks UIDs.
    """
    frames = _frames(pictures)
    with building("capture"):
        return _image(frames, source, provenance, description, compression, result)


def _image(
    frames: np.ndarray,
    source: SourceSeries,
    provenance: Provenance,
    description: str,
    compression: str,
    result: ResultIdentity,
) -> pydicom.Dataset:
    capture = study_header(source)
    capture.pop("SpecificCharacterSet", None)  # the source's may be invalid
    capture.update(_series(source, provenance, description, result))
    capture.update(_pixels(frames))
    images = reference_headers(source)
    capture.SourceImageSequence = [instance_reference(image) for image in images]
    capture.ReferencedSeriesSequence = referenced_series(images, "ReferencedInstanceSequence")
    capture.file_meta = pydicom.dataset.FileMetaDataset()
    capture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if compression == "rle":
        capture.compress(RLELossless, generate_instance_uid=False)
    return capture


def _frames(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """All pictures in one array, shape (frame, y, x, 3)."""
    for picture in pictures:
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise OutputError(f"a picture is RGB, uint8 (y, x, 3); found {picture.dtype} {picture.shape}")
    if not pictures:
        raise OutputError("a secondary capture holds at least one picture, and there is none")
    rows, columns = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    if max(rows, columns) > LARGEST_SIDE or len(pictures) * rows * columns * 3 > MOST_BYTES:
        raise OutputError(f"{len(pictures)} picture(s) of {rows} x {columns} pixels are more than DICOM holds")
    frames = np.zeros((len(pictures), rows, columns, 3), np.uint8)
    for frame, picture in zip(frames, pictures):
        frame[: picture.shape[0], : picture.shape[1]] = picture
    return frames


def _series(source: SourceSeries, provenance: Provenance, description: str, result: ResultIdentity) -> pydicom.Dataset:
    """Series, equipment and image description; the capture's own date, because it is an image of its own."""
    names = identity(source, provenance, "overlay", given=result, texts=[description])
    header, first, now = pydicom.Dataset(), source.datasets[0], datetime.now()
    if names["specific_character_set"] is not None:
        header.SpecificCharacterSet = names["specific_character_set"]
    header.SeriesInstanceUID, header.SOPInstanceUID = names["series_instance_uid"], names["sop_instance_uid"]
    header.SeriesNumber, header.InstanceNumber = names["series_number"], names["instance_number"]
    header.SeriesDescription = names["series_description"]
    header.Modality = "OT"
    if first.get("BodyPartExamined"):
        header.BodyPartExamined = first.BodyPartExamined
    if "Laterality" in first or not first.get("BodyPartExamined"):  # type 2C: of paired body parts (PS3.3 C.7.3.1)
        header.Laterality = first.get("Laterality") or ""
    header.Manufacturer, header.ManufacturerModelName = names["manufacturer"], names["manufacturer_model_name"]
    header.SoftwareVersions, header.DeviceSerialNumber = names["software_versions"], names["device_serial_number"]
    header.ConversionType = "WSD"  # workstation
    header.ImageType = ["DERIVED", "SECONDARY"]
    header.PatientOrientation = ""  # type 2C: pictures of several directions
    header.DerivationDescription = description
    header.ImageComments = f"{NOTICE}. {provenance.pipeline} {provenance.version}, {description.lower()}"
    header.BurnedInAnnotation = "YES"
    header.RecognizableVisualFeatures = "NO"
    header.InstanceCreationDate = header.ContentDate = header.DateOfSecondaryCapture = now.strftime("%Y%m%d")
    header.InstanceCreationTime = header.ContentTime = header.TimeOfSecondaryCapture = now.strftime("%H%M%S")
    return header


def _pixels(frames: np.ndarray) -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.SOPClassUID = SINGLE if len(frames) == 1 else SEVERAL
    if len(frames) > 1:
        header.NumberOfFrames = len(frames)
        header.FrameIncrementPointer = PAGE_NUMBER_VECTOR
        header.PageNumberVector = list(range(1, len(frames) + 1))
    header.Rows, header.Columns = frames.shape[1:3]
    header.SamplesPerPixel, header.PhotometricInterpretation, header.PlanarConfiguration = 3, "RGB", 0
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    data = frames.tobytes()
    header.add_new("PixelData", "OB", data + b"\0" * (len(data) % 2))
    return header
