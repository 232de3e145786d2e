"""`read`: any supported image into one `Volume`, by its format."""

from pathlib import Path

from medseg.errors import ImageError
from medseg.volume import Volume

__all__ = ["IMAGE_SUFFIXES", "format_of", "read", "split_member"]

FORMATS = {
    ".nii": "nifti", ".nii.gz": "nifti", ".nrrd": "itk", ".mha": "itk", ".mhd": "itk",
    ".png": "picture", ".jpg": "picture", ".jpeg": "picture", ".tif": "picture", ".tiff": "picture",
    ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom", ".npy": "stack",
}  # fmt: skip
IMAGE_SUFFIXES = tuple(FORMATS)


def format_of(path: Path) -> str:
    """Name of the format of a file, by its suffix or, without a known one, its first bytes; empty if unknown.

    Examples
    --------
    >>> format_of(Path("brain.nii.gz"))
    'nifti'
    """
    name = path.name.lower()
    for suffix in (".nii.gz", path.suffix.lower()):
        if suffix and name.endswith(suffix) and suffix in FORMATS:
            return FORMATS[suffix]
    try:
        with path.open("rb") as stream:
            head = stream.read(132)
    except OSError:
        return ""
    return "dicom" if head[128:132] == b"DICM" else ""


def split_member(name: str | Path) -> tuple[Path, str]:
    """Divide ``stack.npy#12`` or ``folder#SERIES_UID`` into file or folder and member; empty for other names."""
    text = str(name)
    left, mark, member = text.rpartition("#")
    if mark and (left.endswith(".npy") or Path(left).is_dir()):
        return Path(left), member
    return Path(text), ""


def read(path: str | Path, *, series_uid: str | None = None) -> Volume:
    """Read an image.

    Parameters
    ----------
    path : str or Path
        A PNG, JPEG, TIFF, NIfTI, NRRD, MHA / MHD or DICOM file, a folder holding a DICOM series,
        ``folder#SERIES_UID`` where it holds several, or ``stack.npy#12``: image 12 of a NumPy array of shape
        (n, y, x).
    series_uid : str, optional
        The series to read where a folder holds several.

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
    if member and not path.is_dir():
        from medseg.imaging.stack import read_member

        return read_member(path, member)
    series_uid = series_uid or member or None
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    kind = "dicom" if path.is_dir() else format_of(path)
    if kind == "nifti":
        from medseg.imaging.nifti import read_nifti

        return read_nifti(path)
    if kind == "itk":
        from medseg.imaging.itk import read_itk

        return read_itk(path)
    if kind == "picture":
        from medseg.imaging.picture import read_picture

        return read_picture(path)
    if kind == "dicom":
        from medseg.imaging.dicom import read_dicom

        return read_dicom(path, series_uid=series_uid)
    if kind == "stack":
        raise ImageError(f"{path}: a stack holds many images; name one of them as {path.name}#0")
    if path.name.lower().endswith((".hdr", ".img")):
        raise ImageError(f"{path}: Analyze files do not say where left is; convert from the original instead")
    raise ImageError(f"{path}: not a supported image; expected one of {', '.join(IMAGE_SUFFIXES)} or a DICOM folder")
