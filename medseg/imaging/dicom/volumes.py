"""Series of a tree as volumes: chosen, checked, decoded on threads, straightened where that is needed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.errors import GeometryError, ImageError
from medseg.imaging.dicom.geometry import Placement, Problem
from medseg.imaging.dicom.headers import Scan, Unreadable, scan
from medseg.imaging.dicom.instance import Instance
from medseg.imaging.dicom.series import Series, series_of
from medseg.imaging.dicom.slices import read_slices
from medseg.imaging.dicom.straighten import straighten
from medseg.volume import Grid, Volume

__all__ = [
    "checked_placement",
    "choose_series",
    "damaged_beside",
    "facts",
    "find_series",
    "load_series",
    "read_dicom",
]

SHOWN = 12  # series listed in a message
NOT_VOLUMES = {
    "localizer": "a localizer: an overview for planning, not a volume",
    "capture": "a capture of a screen or a document, not an image of the patient",
    "mosaic": "a mosaic: many slices in one picture, whose places no standard attribute states; export it as slices",
}


def read_dicom(path: Path, *, series: str | None = None, allow_irregular: bool = False) -> Volume:
    """Read one series of a folder, or the image in a file.

    Parameters
    ----------
    series : str, optional
        Series Instance UID, followed by ``/part`` where the series holds several volumes.
    allow_irregular : bool
        Resample slices that are missing or at unequal distances, instead of refusing them.

    Raises
    ------
    ImageError
        When there is no image, several and no `series`, or pixels that cannot be decoded.
    GeometryError
        When slices are missing, doubled, irregular or of several orientations.
    """
    return load_series(find_series(path, series), path, allow_irregular=allow_irregular)


def find_series(path: Path, name: str | None) -> Series:
    """Find the series that is meant in a folder or file, by headers alone: see `read_dicom`.

    Raises
    ------
    ImageError
        When it is not clear which, or a damaged file may be one of its slices.
    """
    found = scan(path)
    chosen = choose_series(path, found, name)
    damaged = damaged_beside(chosen, found)
    if damaged:
        raise ImageError(
            f"{damaged[0].path}: {damaged[0].reason}; {len(damaged)} damaged file(s) may be slices of the series: "
            "copy it again"
        )
    return chosen


def choose_series(path: Path, found: Scan, name: str | None) -> Series:
    """The series of a tree that is meant.

    Raises
    ------
    ImageError
        When there is none, or it is not clear which.
    """
    candidates = series_of(found.images)
    if not candidates:
        damaged = [item for item in found.unreadable if item.is_dicom or path.is_file()]
        if damaged:
            raise ImageError(f"{path}: {damaged[0].reason}")
        kinds = sorted({item.kind for item in found.objects})
        raise ImageError(f"{path}: no DICOM image found" + (f", but {', '.join(kinds)}" if kinds else ""))
    uid, _, part = (name or "").partition("/")
    chosen = [item for item in candidates if not uid or (item.series_uid == uid and (not part or item.part == part))]
    images = [item for item in chosen if item.kind in ("volume", "projection")]
    chosen = images if len(images) == 1 and not part else chosen  # beside one volume, its localizer is no choice
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise ImageError(f"{path}: holds no series {name}; it holds {_listing(candidates)}")
    what = f"the series {uid} holds" if uid else "holds"
    raise ImageError(f"{path}: {what} {len(chosen)} images, choose one with --series: {_listing(chosen)}")


def _listing(candidates: Sequence[Series]) -> str:
    shown = [f"{item.name} ({item.first.modality}, {len(item.frames)} images)" for item in candidates[:SHOWN]]
    more = [f"and {len(candidates) - SHOWN} more"] if len(candidates) > SHOWN else []
    return ", ".join(shown + more)


def damaged_beside(series: Series, found: Scan) -> list[Unreadable]:
    """Damaged DICOM files in the folders of a series: each may be one of its slices."""
    folders = {image.path.parent for image in series.instances}
    return [item for item in found.unreadable if item.is_dicom and item.path.parent in folders]


def load_series(series: Series, path: Path, *, allow_irregular: bool = False) -> Volume:
    """Read the pixels of a series into a volume or a projection image.

    Raises
    ------
    ImageError
        When it is no image of a patient, or its pixels cannot be decoded.
    GeometryError
        Naming the problem, with positions and gaps.
    """
    if series.kind == "projection":
        from medseg.imaging.dicom.projection import load_projection

        return load_projection(series.first, series.frames[0])
    return _volume(series, checked_placement(series, path, allow_irregular=allow_irregular))


def checked_placement(series: Series, path: Path, *, allow_irregular: bool = False) -> Placement:
    """Where the slices of a volume lie.

    Raises
    ------
    ImageError, GeometryError
        As of `load_series`.
    """
    if series.kind in NOT_VOLUMES:
        raise ImageError(f"{path}: {NOT_VOLUMES[series.kind]}", code=series.kind)
    placement = series.placement
    problem = placement if isinstance(placement, Problem) else placement.problem  # type: ignore[union-attr]
    if problem is not None and not (problem.resampling and allow_irregular):
        hint = "; --allow-irregular resamples" if problem.resampling else ""
        raise GeometryError(f"{path}: {problem.message}{hint}", code=problem.code)
    assert isinstance(placement, Placement)
    return placement


def _volume(series: Series, placement: Placement) -> Volume:
    ordered = [series.frames[index] for index in placement.order]
    array, notes = read_slices(ordered, series.instances)
    grid = Grid(array.shape, placement.affine)  # type: ignore[arg-type]
    if placement.tilt_degrees or placement.problem is not None:
        straight = straighten(array, placement)
        array, grid, notes = straight.array, straight.grid, (*straight.notes, *notes)
    return Volume(array[None], grid, notes=(*placement.notes, *notes), **facts(series.first))


def facts(image: Instance) -> dict[str, Any]:
    """What a volume keeps of the header."""
    return {
        "modality": image.modality,
        "body_part": image.facts["BodyPartExamined"],
        "view": image.facts["ViewPosition"],
        "patient_age": image.facts["PatientAge"],
    }
