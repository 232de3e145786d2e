"""Small synthetic DICOM series."""

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_series(
    folder: Path, *, patient_id: str, n_slices: int = 5, seed: int = 0, name: str = "Doe^Jane", **facts: str
) -> str:
    """Write an axial CT series of `n_slices` slices of 16 x 16 pixels, with further `facts` in its header; its UID."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, study = generate_uid(), generate_uid()
    random = np.random.default_rng(seed)
    for number in range(n_slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        path = folder / f"{uid[-6:]}_{number}.dcm"
        data = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.StudyInstanceUID, data.SeriesInstanceUID = study, uid
        data.PatientID, data.PatientName, data.Modality = patient_id, name, "CT"
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 3 * number], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness, data.InstanceNumber = [0.7, 0.7], 3, number + 1
        data.Rows = data.Columns = 16
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        for keyword, value in facts.items():
            setattr(data, keyword, value)
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = random.integers(0, 2000, (16, 16), dtype=np.int16).tobytes()
        pydicom.dcmwrite(path, data, enforce_file_format=True)
    return uid
