"""DICOM images: headers, series, geometry, pixels."""

from medseg.imaging.dicom.headers import Scan, scan
from medseg.imaging.dicom.series import Series, homes_of, series_of
from medseg.imaging.dicom.volumes import read_dicom

__all__ = ["Scan", "Series", "homes_of", "read_dicom", "scan", "series_of"]
