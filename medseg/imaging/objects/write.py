"""Writing a DICOM object to a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from medseg.files import atomic_path

if TYPE_CHECKING:
    import pydicom

__all__ = ["write_object"]


def write_object(path: str | Path, dataset: "pydicom.Dataset") -> None:
    """Write a DICOM object as a file of PS3.10, atomically.

    Raises
    ------
    OutputError
        When the disk is full or the folder cannot be written.
    """
    with atomic_path(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)
