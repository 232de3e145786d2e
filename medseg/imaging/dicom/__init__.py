"""DICOM images: headers, series, geometry, pixels."""

from medseg.imaging.dicom.headers import Scan, scan
from medseg.imaging.dicom.series import Series, series_of
from medseg.imaging.dicom.volumes import read_dicom

__all__ = ["Scan", "Series", "read_dicom", "scan", "series_of"]
