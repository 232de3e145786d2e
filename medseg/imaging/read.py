"""`read`: any supported image into one `Volume`, by its format."""

from pathlib import Path

from medseg.errors import ImageError
from medseg.imaging.formats import IMAGE_SUFFIXES, format_of, split_member
from medseg.volume import Volume

__all__ = ["read"]


def read(path: str | Path, *, series_uid: str | None = None, allow_irregular: bool = False) -> Volume:
    """Read an image.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, TIFF, NIfTI, NRRD, MHA / MHD or DICOM file, a folder holding a DICOM series,
        ``folder#SERIES_UID`` where it holds several (``folder#SERIES_UID/echo-2`` where the series itself holds
        several volumes), or ``stack.npy#12``: image 12 of a NumPy array of shape (n, y, x).
    series_uid : str, optional
        The series to read where a folder holds several, with ``/part`` where the series does.
    allow_irregular : bool
        Resample DICOM slices that are missing or at unequal distances, with a warning in `Volume.notes`.

    Returns
    -------
    Volume
        float32 values; a projection image (unit ``px``) for pictures, radiographs and stacks.

    Raises
    ------
    ImageError
        When the file is missing, damaged or not an image.
    GeometryError
        When its position in space is missing or contradictory.
    """
    path, member = split_member(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    kind = "dicom" if path.is_dir() else format_of(path)
    if kind == "dicom":
        from medseg.imaging.dicom import read_dicom

        return read_dicom(path, series=series_uid or member or None, allow_irregular=allow_irregular)
    if kind in ("nifti", "pixels"):  # the latter are the second file of a pair
        from medseg.imaging.nifti import read_nifti

        return read_nifti(path)
    if kind == "itk":
        from medseg.imaging.itk import read_itk

        return read_itk(path)
    if kind == "picture":
        from medseg.imaging.picture import read_picture

        return read_picture(path)
    if kind == "stack" and member:
        from medseg.imaging.stack import read_member

        return read_member(path, member)
    if kind == "stack":
        raise ImageError(f"{path}: a stack holds many images; name one of them as {path.name}#0")
    raise ImageError(f"{path}: not a supported image; expected one of {', '.join(IMAGE_SUFFIXES)} or a DICOM folder")
