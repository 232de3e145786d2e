"""Which images a path holds, for prediction."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.imaging.dicom import group_series, read_headers
from medseg.imaging.read import format_of

__all__ = ["ImageSource", "find_inputs"]


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


def find_inputs(path: str | Path, *, name_series: Callable[[str], str]) -> list[ImageSource]:
    """List the images at or below `path`: one case a file, one a DICOM series.

    Parameters
    ----------
    name_series : callable
        Gives the pseudonym of a Series Instance UID.

    Raises
    ------
    ImageError
        When the path does not exist, or two files would become the same case.
    """
    path = Path(path)
    if not path.exists():
        raise ImageError(f"{path}: no such file or folder")
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    plain = [file for file in files if format_of(file) in ("nifti", "itk", "picture")]
    sources = [ImageSource(_stem(file), file) for file in plain]
    if any(format_of(file) == "dicom" for file in files):
        headers, _ = read_headers(path)
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


def _stem(file: Path) -> str:
    return file.name[: -len(".nii.gz")] if file.name.endswith(".nii.gz") else file.stem
