"""DICOM files of the series of `dicom_matrix`: one a slice, or all frames in one."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

if TYPE_CHECKING:
    from dicom_matrix import Case

ECHO_TIMES, B_VALUES, TRIGGERS, TYPES = (30.0, 90.0), (0.0, 1000.0), (0.0, 400.0), ("M", "P")
THICKNESS = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One image: pixels as stored, shape (y, x), and where it lies."""

    stored: np.ndarray
    position: np.ndarray
    orientation: tuple[float, ...]
    spacing: tuple[float, float]
    rescale: tuple[float, float]
    volume: int


def write_classic(folder: Path, planes: list[Plane], case: "Case") -> None:
    """Write one file a plane, named and numbered in the order given."""
    series, study, frame_of_reference = (_uid(case, name) for name in ("series", "study", "frame of reference"))
    for number, plane in enumerate(planes):
        data = _image(case, CTImageStorage if case.modality == "CT" else MRImageStorage, plane.stored, number)
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame_of_reference
        data.InstanceNumber, data.SeriesNumber, data.AcquisitionNumber = number + 1, 3, 1
        data.ImagePositionPatient, data.ImageOrientationPatient = _ds(plane.position), _ds(plane.orientation)
        data.PixelSpacing = _ds(plane.spacing)
        if case.odd != "two_unsure":
            data.SliceThickness = THICKNESS
        if case.rescale:
            data.RescaleSlope, data.RescaleIntercept = _ds(plane.rescale)
        if case.tilt and case.modality == "CT":
            data.GantryDetectorTilt = case.tilt
        _mark(data, case.split, plane.volume)
        data.PixelData = plane.stored.tobytes()
        _save(folder / f"{number:03d}.dcm", data, case.syntax)


def write_enhanced(folder: Path, planes: list[Plane], case: "Case") -> None:
    """Write one multi-frame file, its frames in the order given (PS3.3 C.7.6.16)."""
    stored = np.stack([plane.stored for plane in planes])
    data = _image(case, EnhancedCTImageStorage if case.modality == "CT" else EnhancedMRImageStorage, stored[0], 0)
    data.SeriesInstanceUID, data.StudyInstanceUID = _uid(case, "series"), _uid(case, "study")
    data.FrameOfReferenceUID = _uid(case, "frame of reference")
    data.InstanceNumber, data.SeriesNumber, data.NumberOfFrames = 1, 3, len(planes)
    data.PerFrameFunctionalGroupsSequence = Sequence([_frame(plane, case) for plane in planes])
    _add_dimensions(data, planes, _uid(case, "dimensions"))
    shared = Dataset()
    shared.PlaneOrientationSequence = _item(ImageOrientationPatient=_ds(planes[0].orientation))
    shared.PixelMeasuresSequence = _item(PixelSpacing=_ds(planes[0].spacing), SliceThickness=THICKNESS)
    if len({plane.orientation for plane in planes}) > 1 or len({plane.spacing for plane in planes}) > 1:
        del shared.PlaneOrientationSequence, shared.PixelMeasuresSequence
        for frame, plane in zip(data.PerFrameFunctionalGroupsSequence, planes):
            frame.PlaneOrientationSequence = _item(ImageOrientationPatient=_ds(plane.orientation))
            frame.PixelMeasuresSequence = _item(PixelSpacing=_ds(plane.spacing), SliceThickness=THICKNESS)
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PixelData = stored.tobytes()
    _save(folder / "frames.dcm", data, case.syntax)


def _add_dimensions(data: Dataset, planes: list[Plane], organization: str) -> None:
    """Stacks, places in the stack, and the dimensions that both are (PS3.3 C.7.6.17)."""
    data.DimensionOrganizationSequence = _item(DimensionOrganizationUID=organization)
    pointers = [tag_for_keyword(name) for name in ("StackID", "InStackPositionNumber", "TemporalPositionIndex")]
    group = tag_for_keyword("FrameContentSequence")
    data.DimensionIndexSequence = Sequence(
        _item(DimensionOrganizationUID=organization, DimensionIndexPointer=pointer, FunctionalGroupPointer=group)[0]
        for pointer in pointers
    )
    orientations = sorted({plane.orientation for plane in planes})
    for frame, plane in zip(data.PerFrameFunctionalGroupsSequence, planes):
        normal = np.cross(plane.orientation[:3], plane.orientation[3:])
        stack = [other for other in planes if other.orientation == plane.orientation]
        places = sorted({round(float(other.position @ normal), 3) for other in stack})
        content = frame.FrameContentSequence[0]
        content.StackID = str(orientations.index(plane.orientation) + 1)
        content.InStackPositionNumber = places.index(round(float(plane.position @ normal), 3)) + 1
        content.DimensionIndexValues = [int(content.StackID), content.InStackPositionNumber, plane.volume + 1]


def _frame(plane: Plane, case: "Case") -> Dataset:
    frame, content = Dataset(), Dataset()
    frame.PlanePositionSequence = _item(ImagePositionPatient=_ds(plane.position))
    slope, intercept = _ds(plane.rescale)
    frame.PixelValueTransformationSequence = _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
    content.FrameAcquisitionNumber = 1 + (plane.volume if case.split == "acquisition" else 0)
    if case.split == "phase":
        content.TemporalPositionIndex = plane.volume + 1
    frame.FrameContentSequence = Sequence([content])
    if case.split == "echo":
        frame.MREchoSequence = _item(EffectiveEchoTime=ECHO_TIMES[plane.volume])
    if case.split == "b":
        frame.MRDiffusionSequence = _item(DiffusionBValue=B_VALUES[plane.volume])
    if case.split == "trigger":
        frame.CardiacSynchronizationSequence = _item(NominalCardiacTriggerDelayTime=TRIGGERS[plane.volume])
    if case.split == "type":
        kind = ["ORIGINAL", "PRIMARY", TYPES[plane.volume]]
        frame.update({f"{case.modality}ImageFrameTypeSequence": _item(FrameType=kind)})
    return frame


def _mark(data: Dataset, split: str, volume: int) -> None:
    """State which of the interleaved volumes an image belongs to."""
    if split == "echo":
        data.EchoTime, data.EchoNumbers = ECHO_TIMES[volume], volume + 1
    elif split == "b":
        data.DiffusionBValue = B_VALUES[volume]
    elif split == "phase":
        data.TemporalPositionIdentifier = volume + 1
    elif split == "trigger":
        data.TriggerTime = TRIGGERS[volume]
    elif split == "acquisition":
        data.AcquisitionNumber = volume + 1
    elif split == "type":
        data.ImageType = ["ORIGINAL", "PRIMARY", TYPES[volume]]


def _uid(case: "Case", what: str) -> str:
    """The same UID in every run."""
    return generate_uid(entropy_srcs=[case.name, what])


def _image(case: "Case", sop_class: str, stored: np.ndarray, number: int) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = sop_class
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = _uid(case, f"image {number}")
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if case.modality == "CT" else "M"]
    data.PatientName, data.PatientID, data.Modality, data.Manufacturer = "Doe^Jane", "1", case.modality, "test"
    data.StudyDate, data.StudyTime, data.PatientPosition = "20200101", "120000", "HFS"
    data.Rows, data.Columns = stored.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = stored.dtype.itemsize * 8, case.bits, case.bits - 1
    data.PixelRepresentation = int(case.signed)
    return data


def _save(path: Path, data: Dataset, syntax: str) -> None:
    if syntax:
        from dicom_syntaxes import encode

        data = encode(data, getattr(pydicom.uid, syntax))
    pydicom.dcmwrite(path, data, enforce_file_format=True)


def _item(**values: object) -> Sequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Sequence([item])


def _ds(values) -> list[str]:
    """Numbers as the decimal strings of DICOM, 16 characters at most."""
    return [format_number_as_ds(float(value)) for value in values]
