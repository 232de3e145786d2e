"""Source series whose headers a validator finds complete: CT, MR, DX, enhanced CT."""

import copy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    generate_uid,
)
from pydicom.valuerep import format_number_as_ds

from medseg.imaging.dicom.source import SourceSeries
from medseg.volume import Grid

AXES = {  # direction of rows (x) and of columns (y), LPS
    "axial": ([1, 0, 0], [0, 1, 0]),
    "coronal": ([1, 0, 0], [0, 0, -1]),
    "sagittal": ([0, 1, 0], [0, 0, -1]),
    "oblique": ([0.8, 0.36, 0.48], [-0.6, 0.48, 0.64]),
}


def make_grid(plane="axial", shape=(5, 12, 9), *, spacing=(2.5, 0.7, 0.8), reverse=False) -> Grid:
    """Return a grid of slices in a plane; reversed, slice numbers run against the normal. Spacing is (z, y, x)."""
    x, y = (np.array(axis, dtype=float) for axis in AXES[plane])
    z, n = np.cross(x, y), shape[0]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([x * spacing[2], y * spacing[1], z * spacing[0]], axis=1)
    affine[:3, 3] = [-31.25, 12.5, 100.125]
    if reverse:
        affine[:3, 3] += affine[:3, 2] * (n - 1)
        affine[:3, 2] *= -1
    return Grid(shape, affine)


def ct_series(grid: Grid, *, mr: bool = False) -> SourceSeries:
    """One file a slice of the grid, in the order of the position along the normal."""
    shared = _header(MRImageStorage if mr else CTImageStorage, "MR" if mr else "CT")
    shared.update(_mr() if mr else _ct())
    _place(shared, grid, 0)
    shared.SeriesInstanceUID, shared.FrameOfReferenceUID = generate_uid(), generate_uid()
    order = range(grid.shape[0])
    if np.linalg.det(grid.affine[:3, :3]) < 0:
        order = reversed(order)
    images = []
    for number, index in enumerate(order, start=1):
        image = copy.deepcopy(shared)
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPInstanceUID, image.InstanceNumber = generate_uid(), number
        _place(image, grid, index)
        images.append(image)
    return SourceSeries(tuple(images))


def enhanced_series(grid: Grid) -> SourceSeries:
    """One multi-frame file whose frames are stored in reverse order."""
    image = _header(EnhancedCTImageStorage, "CT")
    image.SeriesInstanceUID, image.FrameOfReferenceUID = generate_uid(), generate_uid()
    image.SOPInstanceUID, image.InstanceNumber = generate_uid(), 1
    image.NumberOfFrames = grid.shape[0]
    image.Rows, image.Columns = grid.shape[1:]
    slice_header = pydicom.Dataset()
    _place(slice_header, grid, 0)
    orientation, measures = pydicom.Dataset(), pydicom.Dataset()
    orientation.ImageOrientationPatient = slice_header.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = slice_header.PixelSpacing, slice_header.SliceThickness
    groups = pydicom.Dataset()
    groups.PlaneOrientationSequence, groups.PixelMeasuresSequence = [orientation], [measures]
    image.SharedFunctionalGroupsSequence = [groups]
    frames = []
    for index in reversed(range(grid.shape[0])):
        position, groups = pydicom.Dataset(), pydicom.Dataset()
        _place(slice_header, grid, index)
        position.ImagePositionPatient = slice_header.ImagePositionPatient
        groups.PlanePositionSequence = [position]
        frames.append(groups)
    image.PerFrameFunctionalGroupsSequence = frames
    return SourceSeries((image,))


def radiograph(shape=(10, 14)) -> SourceSeries:
    """One radiograph without patient coordinates."""
    image = _header(DigitalXRayImageStorageForPresentation, "DX")
    image.SeriesInstanceUID, image.SOPInstanceUID, image.InstanceNumber = generate_uid(), generate_uid(), 1
    image.Rows, image.Columns = shape
    for keyword, value in {
        "ImageType": ["ORIGINAL", "PRIMARY", ""], "PresentationIntentType": "FOR PRESENTATION", "ImageLaterality": "U",
        "PatientOrientation": ["L", "F"], "BodyPartExamined": "CHEST", "PixelIntensityRelationship": "LOG",
        "PixelIntensityRelationshipSign": -1, "RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "US",
        "PresentationLUTShape": "IDENTITY", "LossyImageCompression": "00", "BurnedInAnnotation": "NO",
        "WindowCenter": 2048, "WindowWidth": 4096, "DetectorType": "DIRECT", "ImagerPixelSpacing": [0.15, 0.15],
        "PositionerType": "NONE", "ViewPosition": "PA", "PixelSpacing": [0.15, 0.15], "PixelRepresentation": 0,
        "BitsStored": 12, "HighBit": 11,
    }.items():  # fmt: skip
        setattr(image, keyword, value)
    image.AnatomicRegionSequence = [_code("51185008", "SCT", "Chest")]
    image.ViewCodeSequence = [_code("272479007", "SCT", "postero-anterior")]
    image.ViewCodeSequence[0].ViewModifierCodeSequence = []
    image.AcquisitionContextSequence = []
    return SourceSeries((image,))


def with_pixels(image: pydicom.Dataset) -> pydicom.Dataset:
    """Return a copy of a header of a single frame with pixels, to be written."""
    image = copy.deepcopy(image)
    image.PixelData = np.arange(image.Rows * image.Columns, dtype=np.uint16).tobytes()
    return image


def validator_errors(dataset: pydicom.Dataset, path) -> list[str]:
    """Lines of errors that dciodvfy reports on a dataset, written to `path`."""
    import pytest

    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    if getattr(dataset, "file_meta", None) is None:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, timeout=60, check=False)
    lines = (found.stdout + found.stderr).splitlines()
    assert len(lines) > 0  # it names the IOD
    return [line for line in lines if line.startswith("Error")]


def _header(sop_class: str, modality: str) -> pydicom.Dataset:
    header = pydicom.Dataset()
    for keyword, value in {
        "SpecificCharacterSet": "ISO_IR 100", "SOPClassUID": sop_class, "Modality": modality,
        "PatientName": "Doe^Jane", "PatientID": "P1", "PatientBirthDate": "19700102", "PatientSex": "F",
        "StudyInstanceUID": generate_uid(), "StudyDate": "20240203", "StudyTime": "101112", "StudyID": "1",
        "AccessionNumber": "A1", "ReferringPhysicianName": "", "SeriesNumber": 3, "SeriesDate": "20240203",
        "SeriesTime": "101112", "ContentDate": "20240203", "ContentTime": "101112", "AcquisitionNumber": 1,
        "Manufacturer": "Maker", "PatientOrientation": "", "PatientPosition": "HFS", "Laterality": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "PositionReferenceIndicator": "",
        "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1,
    }.items():  # fmt: skip
        setattr(header, keyword, value)
    if modality == "DX":
        for keyword in ("PatientPosition", "Laterality", "PositionReferenceIndicator"):
            delattr(header, keyword)
    return header


def _ct() -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.RescaleIntercept, header.RescaleSlope, header.RescaleType = -1024, 1, "HU"
    header.KVP, header.ImageType = 120, ["ORIGINAL", "PRIMARY", "AXIAL"]
    return header


def _mr() -> pydicom.Dataset:
    header = pydicom.Dataset()
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "SE", "NONE", ""
    header.MRAcquisitionType, header.EchoTime, header.EchoTrainLength, header.RepetitionTime = "2D", 10, 1, 500
    header.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    return header


def _place(header: pydicom.Dataset, grid: Grid, index: int) -> None:
    z_mm, y_mm, x_mm = grid.spacing
    axes = np.concatenate([grid.affine[:3, 0] / x_mm, grid.affine[:3, 1] / y_mm])
    header.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in axes]
    header.ImagePositionPatient = [format_number_as_ds(float(v)) for v in grid.to_world(np.array([[0, 0, index]]))[0]]
    header.PixelSpacing = [format_number_as_ds(y_mm), format_number_as_ds(x_mm)]
    header.SliceThickness = format_number_as_ds(z_mm)
    header.Rows, header.Columns = grid.shape[1:]


def _code(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def write_study(folder: Path) -> tuple[str, str]:
    """A synthetic MR series of discs as the model was trained on; its Study and Series Instance UID."""
    random = np.random.default_rng(3)
    y, x = np.mgrid[:48, :48]
    folder.mkdir(parents=True)
    source = ct_series(make_grid("axial", (4, 48, 48)), mr=True)
    for number, header in enumerate(source.datasets):
        pixels = random.normal(80, 12, (48, 48))
        if number in (1, 2):
            pixels[(y - 20) ** 2 + (x - 30) ** 2 <= 25] += 70
        image = with_pixels(header)
        image.PixelData = np.clip(pixels, 1, 255).astype(np.uint16).tobytes()
        image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return str(source.datasets[0].StudyInstanceUID), str(source.datasets[0].SeriesInstanceUID)
