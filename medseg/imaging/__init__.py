"""Reading and writing images: PNG, JPEG, NIfTI, NRRD, MHA, DICOM, NumPy stacks."""

from medseg.imaging.find import ImageSource, find_inputs
from medseg.imaging.formats import IMAGE_SUFFIXES
from medseg.imaging.inspect import inspect
from medseg.imaging.read import read
from medseg.imaging.write import write_map, write_mask, write_volume

__all__ = [
    "IMAGE_SUFFIXES",
    "ImageSource",
    "find_inputs",
    "inspect",
    "read",
    "write_map",
    "write_mask",
    "write_volume",
]
