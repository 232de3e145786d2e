"""DICOM images: headers, series, geometry, pixels."""

from medseg.imaging.dicom.volumes import assemble, group_series, read_dicom, read_headers, refuse_damaged

__all__ = ["assemble", "group_series", "read_dicom", "read_headers", "refuse_damaged"]
