"""Which images a path holds, for prediction."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.files import files_below, safe_name
from medseg.imaging.dicom import group_series, read_headers
from medseg.imaging.read import format_of

__all__ = ["ImageSource", "find_inputs", "stem_of"]


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image to predict.

    Parameters
    ----------
    case_id : str
        Stem of the file, or the pseudonym of the series UID of bare DICOM.
    path : Path
        File or folder for `medseg.imaging.read`.
    series_uid : str or None
        The series, where the folder may hold several.
    patient_id, modality : str
        From the DICOM header, empty for other formats. The former must leave the program as a pseudonym only.
    """

    case_id: str
    path: Path
    series_uid: str | None = None
    patient_id: str = ""
    modality: str = ""


def find_inputs(
    path: str | Path, *, name_series: Callable[[str], str], exclude: Path | None = None
) -> list[ImageSource]:
    """List the images at or below `path`: one case a file, one a DICOM series.

    Parameters
    ----------
    name_series : callable
        Gives the pseudonym of a Series Instance UID.
    exclude : Path, optional
        A folder that is left out: the output, where it lies inside `path`.

    Returns
    -------
    list of ImageSource
        A damaged DICOM file is a case of its own, which fails when it is read.

    Raises
    ------
    ImageError
        When the path does not exist, or two files would become the same case.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    files = files_below(path, exclude=exclude)
    plain = [file for file in files if format_of(file) in ("nifti", "itk", "picture")]
    sources = [ImageSource(safe_name(stem_of(file)), file) for file in plain]
    dicom = {file for file in files if format_of(file) == "dicom"}
    if dicom:
        headers, unreadable = read_headers(path, exclude=exclude)
        sources += [ImageSource(name_series(str(file)), file) for file, _ in unreadable if file in dicom]
        for uid, members in group_series(headers).items():
            file, header = members[0]
            where = file if len(members) == 1 else Path(os.path.commonpath([member.parent for member, _ in members]))
            patient, modality = str(header.get("PatientID", "")).strip(), str(header.get("Modality", ""))
            sources.append(ImageSource(name_series(uid), where, uid, patient, modality))
    seen: dict[str, Path] = {}
    for source in sources:
        if source.case_id in seen:
            raise ImageError(
                f"{source.path} and {seen[source.case_id]} would both be case {source.case_id}; rename one"
            )
        seen[source.case_id] = source.path
    return sources


def stem_of(file: Path) -> str:
    """Name of a file without its suffix, ``.nii.gz`` being one.

    Examples
    --------
    >>> stem_of(Path("brain.nii.gz"))
    'brain'
    """
    return file.name[: -len(".nii.gz")] if file.name.endswith(".nii.gz") else file.stem
