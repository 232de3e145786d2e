"""Which format a file has, by its suffix or, without a known one, by its first bytes."""

from pathlib import Path

__all__ = ["FORMATS", "IMAGE_SUFFIXES", "NOT_DICOM_SUFFIXES", "format_of", "split_member"]

FORMATS = {
    ".nii": "nifti", ".nii.gz": "nifti", ".hdr": "nifti", ".hdr.gz": "nifti", ".img": "pixels", ".img.gz": "pixels",
    ".nrrd": "itk", ".nhdr": "itk", ".mha": "itk", ".mhd": "itk",
    ".png": "picture", ".jpg": "picture", ".jpeg": "picture", ".tif": "picture", ".tiff": "picture",
    ".dcm": "dicom", ".dicom": "dicom", ".ima": "dicom", ".npy": "stack",
}  # fmt: skip
IMAGE_SUFFIXES = tuple(suffix for suffix, kind in FORMATS.items() if kind != "pixels")
# of other known kinds: their headers are not looked at when a tree is searched for DICOM files
NOT_DICOM_SUFFIXES = (
    *(suffix for suffix, kind in FORMATS.items() if kind != "dicom"),
    ".csv", ".json", ".xml", ".txt", ".md", ".html", ".pdf", ".yaml", ".zip", ".gz", ".py", ".raw", ".zraw",
)  # fmt: skip
DICOM_MARK = slice(128, 132)


def format_of(path: Path) -> str:
    """Name of the format of a file; empty if unknown.

    Examples
    --------
    >>> format_of(Path("brain.nii.gz"))
    'nifti'
    """
    name = path.name.lower()
    for suffix in sorted(FORMATS, key=len, reverse=True):
        if name.endswith(suffix):
            return FORMATS[suffix]
    if name == "dicomdir":
        return "dicom"
    try:
        with path.open("rb") as stream:
            head = stream.read(DICOM_MARK.stop)
    except OSError:
        return ""
    return "dicom" if head[DICOM_MARK] == b"DICM" else ""


def split_member(name: str | Path) -> tuple[Path, str]:
    """Divide ``stack.npy#12`` or ``folder#SERIES_UID`` into file or folder and member; empty for other names."""
    text = str(name)
    left, mark, member = text.rpartition("#")
    if mark and not Path(text).exists() and (left.endswith(".npy") or Path(left).exists()):
        return Path(left), member
    return Path(text), ""
