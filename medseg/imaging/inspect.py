"""What a tree of files holds, and whether it can be read."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medseg.errors import GeometryError, ImageError
from medseg.files import files_below
from medseg.imaging.dicom import assemble, group_series, read_headers, refuse_damaged
from medseg.imaging.read import format_of, read
from medseg.progress import track
from medseg.volume import Volume

__all__ = ["inspect"]


def inspect(paths: Iterable[str | Path]) -> dict[str, Any]:
    """List every series below `paths`.

    Returns
    -------
    dict
        ``series``: path, series_uid, modality, n_files, shape, spacing_mm, transfer_syntax, status
        (ok, warning, rejected) and problems (code, message); ``unreadable``: path and reason.
    """
    listing: dict[str, Any] = {"schema_version": 1, "series": [], "unreadable": []}
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(f"{path}: no such file or folder")
        files = files_below(path)
        plain = [file for file in files if format_of(file) in ("nifti", "itk", "picture")]
        for file in track(plain, "inspecting", len(plain)):
            listing["series"].append(_entry(file, "", 1, "", "", lambda file=file: read(file)))
        if len(plain) < len(files):
            _inspect_dicom(path, set(plain), listing)
    return listing


def _inspect_dicom(path: Path, known: set[Path], listing: dict[str, Any]) -> None:
    headers, unreadable = read_headers(path)

    def load(members: Any, where: Path) -> Volume:
        refuse_damaged(members, unreadable)
        return assemble(members, where)

    for uid, members in group_series(headers).items():
        first = members[0][1]
        syntax = str(first.file_meta.get("TransferSyntaxUID", ""))
        where = members[0][0] if len(members) == 1 else members[0][0].parent
        modality = str(first.get("Modality", ""))
        listing["series"].append(
            _entry(where, uid, len(members), modality, syntax, lambda m=members, w=where: load(m, w))
        )
    for file, reason in unreadable:
        if file not in known:
            listing["unreadable"].append({"path": str(file), "reason": reason})


def _entry(path: Path, uid: str, n_files: int, modality: str, syntax: str, load: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": str(path), "series_uid": uid, "modality": modality, "n_files": n_files, "shape": None,
        "spacing_mm": None, "transfer_syntax": syntax, "status": "ok", "problems": [],
    }  # fmt: skip
    try:
        volume: Volume = load()
    except (ImageError, GeometryError) as error:
        code = "geometry" if isinstance(error, GeometryError) else "image"
        entry["status"] = "rejected"
        entry["problems"].append({"code": code, "message": str(error)})
        return entry
    entry["shape"] = list(volume.array.shape)
    if not volume.is_projection or volume.pixel_spacing_mm is not None:
        entry["spacing_mm"] = list(volume.spacing_mm)
    else:
        entry["problems"].append({"code": "no_spacing", "message": "pixel spacing unknown: sizes are in pixels"})
    if volume.array.min() == volume.array.max():
        entry["problems"].append({"code": "constant", "message": "every voxel has the same value"})
    if entry["problems"]:
        entry["status"] = "warning"
    return entry
