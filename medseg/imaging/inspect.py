"""What a tree of files holds, whether it can be read, and what a reader should look at."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medseg.errors import ImageError
from medseg.files import files_below
from medseg.imaging.dicom import Scan, Series, homes_of, scan, series_of
from medseg.imaging.dicom.volumes import damaged_beside, load_series
from medseg.imaging.formats import format_of
from medseg.imaging.read import read
from medseg.progress import track
from medseg.volume import Note, Volume

__all__ = ["inspect"]

SCHEMA_VERSION = 2
Look = Callable[[dict[str, Any], Volume | None], None]


@dataclass(slots=True)
class _Subject:
    """One image that is looked at: how to load it, and what is known before."""

    path: Path
    load: Callable[[], Volume]
    about: dict[str, Any] = field(default_factory=dict)
    problems: list[Note] = field(default_factory=list)


def inspect(paths: Iterable[str | Path], *, look: Look | None = None) -> dict[str, Any]:
    """List every image below `paths`.

    Parameters
    ----------
    look : callable, optional
        Called with each entry and its volume (None where it was rejected), while the volume is in memory.

    Returns
    -------
    dict
        ``series``: path, series_uid, part, kind, description, modality, n_files, shape, spacing_mm, transfer_syntax,
        status (ok, warning, rejected), problems and notes (code, message);
        ``objects``: DICOM objects that are no images (path, kind, series_uid, referenced_series);
        ``unreadable``: path and reason; ``copies``: further files of an image (path, copy_of);
        ``patients_in_several_folders``: lists of folders, one list a patient.

    Raises
    ------
    ImageError
        When a path does not exist.
    """
    listing: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "series": [], "objects": [], "unreadable": []}
    listing |= {"copies": [], "patients_in_several_folders": []}
    subjects: list[_Subject] = []
    for path in map(Path, paths):
        if not path.exists():
            raise ImageError(f"{path}: no such file or folder")
        files = files_below(path)
        plain = [file for file in files if format_of(file) in ("nifti", "itk", "picture")]
        subjects += [_Subject(file, lambda file=file: read(file)) for file in plain]  # type: ignore[misc]
        if len(plain) < len(files):
            subjects += _of_dicom(path, set(plain), listing)
    for subject in track(subjects, "inspecting", len(subjects)):
        entry, volume = _entry(subject)
        listing["series"].append(entry)
        if look is not None:
            look(entry, volume)
    return listing


def _of_dicom(path: Path, plain: set[Path], listing: dict[str, Any]) -> list[_Subject]:
    found = scan(path)
    listing["objects"] += [
        {
            "path": str(item.path),
            "kind": item.kind,
            "series_uid": item.series_uid,
            "referenced_series": list(item.referenced_series),
        }
        for item in found.objects
    ]
    listing["unreadable"] += [
        {"path": str(item.path), "reason": item.reason} for item in found.unreadable if item.path not in plain
    ]
    listing["copies"] += [{"path": str(copy), "copy_of": str(first)} for copy, first in found.copies]
    listing["patients_in_several_folders"] += _spread_patients(found)
    every = series_of(found.images)
    homes = homes_of(every)
    return [_subject(series, homes[series.series_uid], found) for series in every]


def _spread_patients(found: Scan) -> list[list[str]]:
    """Folders of each patient whose studies lie in several; the patient is not named."""
    studies: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for image in found.images:
        studies[image.patient_id][image.study_uid].add(str(image.path.parent.parent))
    spread = []
    for patient, by_study in studies.items():
        folders = {min(folders) for folders in by_study.values()}
        if patient and len(folders) > 1:
            spread.append(sorted(folders))
    return spread


def _subject(series: Series, where: Path, found: Scan) -> _Subject:
    files = {frame.path for frame in series.frames}
    about = {
        "series_uid": series.series_uid,
        "part": series.part,
        "kind": series.kind,
        "description": series.first.facts["SeriesDescription"],
        "modality": series.first.modality,
        "n_files": len(files),
        "transfer_syntax": ", ".join(sorted({image.format.transfer_syntax for image in series.instances})),
    }

    def load() -> Volume:
        damaged = damaged_beside(series, found)
        if damaged:
            reason = (
                f"{len(damaged)} damaged file(s) in its folder may be slices of it, the first {damaged[0].path.name}"
            )
            raise ImageError(f"{where}: {reason}", code="damaged_file")
        return load_series(series, where)

    copies = sum(first in files for _, first in found.copies)
    text = f"{copies} further file(s) hold the same images (equal SOP Instance UIDs) and are left out"
    problems = [Note("duplicate_files", text, warning=True)] if copies else []
    return _Subject(where, load, about, problems)


def _entry(subject: _Subject) -> tuple[dict[str, Any], Volume | None]:
    entry: dict[str, Any] = {
        "path": str(subject.path), "series_uid": "", "part": "", "kind": "volume", "description": "", "modality": "",
        "n_files": 1, "shape": None, "spacing_mm": None, "transfer_syntax": "", "status": "ok", "problems": [],
        "notes": [], **subject.about,
    }  # fmt: skip
    try:
        volume = subject.load()
    except ImageError as error:
        message = str(error).removeprefix(f"{subject.path}: ")
        entry["status"], entry["problems"] = "rejected", [{"code": error.code, "message": message}]
        return entry, None
    entry["shape"] = list(volume.array.shape)
    known = not volume.is_projection or volume.pixel_spacing_mm is not None
    entry["spacing_mm"] = list(volume.spacing_mm) if known else None
    entry["kind"] = "projection" if volume.is_projection else entry["kind"]
    notes = [*subject.problems, *volume.notes, *_content(volume)]
    entry["problems"] = _plain(note for note in notes if note.warning)
    entry["notes"] = _plain(note for note in notes if not note.warning)
    entry["status"] = "warning" if entry["problems"] else "ok"
    return entry, volume


def _content(volume: Volume) -> list[Note]:
    if volume.array.size and volume.array.min() == volume.array.max():
        return [Note("constant", "every voxel has the same value", warning=True)]
    return []


def _plain(notes: Iterable[Note]) -> Sequence[dict[str, str]]:
    return [{"code": note.code, "message": note.message} for note in notes]
