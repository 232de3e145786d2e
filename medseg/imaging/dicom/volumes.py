"""Regular DICOM series and single DICOM images. What is irregular is refused, with the reason."""

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.files import files_below
from medseg.imaging.dicom.pixels import pixels
from medseg.imaging.read import format_of
from medseg.volume import Grid, Note, Volume

__all__ = ["group_series", "read_dicom", "read_headers", "refuse_damaged"]

PROJECTIONS = {"CR", "DX", "MG", "RG", "PX", "IO", "XA", "RF"}
GAP_TOLERANCE = 0.02  # relative difference of distances between slices
THREADS = 4
DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR holds no image
NOT_DICOM = "not a DICOM file"


def read_headers(path: Path, *, exclude: Path | None = None) -> tuple[list[tuple[Path, Any]], list[tuple[Path, str]]]:
    """Read the headers of the DICOM files at or below `path`; also list the files that could not be read, with why."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    files = files_below(path, exclude=exclude)

    def header(file: Path) -> tuple[Any, str]:
        try:
            data = pydicom.dcmread(file, stop_before_pixels=True)
            damage = _damage(data)
            return (None, damage) if damage else (data, "")
        except InvalidDicomError:
            return None, NOT_DICOM
        except Exception as error:  # damaged headers raise many types; each means the same here
            return None, f"damaged DICOM header ({type(error).__name__})"

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(header, files))
    headers = [(file, data) for file, (data, _) in zip(files, results) if data is not None]
    unreadable = [(file, reason) for file, (data, reason) in zip(files, results) if data is None]
    return headers, unreadable


def _damage(header: Any) -> str:
    """What is wrong with a header that pydicom could parse: a file that was cut off gives no error there."""
    kind = header.file_meta.get("MediaStorageSOPClassUID", "") or header.get("SOPClassUID", "")
    if str(kind) == DIRECTORY:
        return ""
    if "SOPClassUID" not in header or "SeriesInstanceUID" not in header:
        return "damaged DICOM file: its header is cut off"
    if "Image Storage" in getattr(kind, "name", "") and "Rows" not in header:
        return "damaged DICOM file: an image without its matrix size, as a file that was cut off has"
    return ""


def refuse_damaged(files: list[tuple[Path, Any]], unreadable: list[tuple[Path, str]]) -> None:
    """Refuse a series in whose folder a damaged DICOM file lies: it may be one of its slices.

    Raises
    ------
    ImageError
        Naming the first such file.
    """
    folders = {file.parent for file, _ in files}
    damaged = [
        (file, reason)
        for file, reason in unreadable
        if file.parent in folders and (reason != NOT_DICOM or format_of(file) == "dicom")
    ]
    if damaged:
        file, reason = damaged[0]
        raise ImageError(f"{file}: {reason}; {len(damaged)} damaged file(s) may be slices of the series: copy it again")


def group_series(headers: list[tuple[Path, Any]]) -> dict[str, list[tuple[Path, Any]]]:
    """Group images by Series Instance UID; objects without pixels are left out."""
    groups: dict[str, list[tuple[Path, Any]]] = defaultdict(list)
    for file, header in headers:
        if "Rows" in header and "SeriesInstanceUID" in header:
            groups[str(header.SeriesInstanceUID)].append((file, header))
    return dict(groups)


def read_dicom(path: Path, *, series_uid: str | None = None) -> Volume:
    """Read one series of a folder, or the image in a file.

    Slices are sorted by their position along the normal, never by number or name.

    Raises
    ------
    ImageError
        When there is no image, several series and no `series_uid`, or pixels that cannot be decoded.
    GeometryError
        When slices are missing, doubled, irregular, tilted or of several orientations.
    """
    headers, unreadable = read_headers(path)
    groups = group_series(headers)
    if not groups:
        raise ImageError(f"{path}: {unreadable[0][1] if path.is_file() and unreadable else 'no DICOM image found'}")
    if series_uid is None and len(groups) > 1:
        listing = ", ".join(f"{uid} ({len(files)} files)" for uid, files in groups.items())
        raise ImageError(f"{path}: holds {len(groups)} series, choose one with its UID: {listing}")
    uid = series_uid or next(iter(groups))
    if uid not in groups:
        raise ImageError(f"{path}: holds no series {uid}")
    refuse_damaged(groups[uid], unreadable)
    return assemble(groups[uid], path)


def assemble(files: list[tuple[Path, Any]], path: Path) -> Volume:
    """Assemble the images of one series into a volume or a projection image."""
    first = files[0][1]
    modality = str(first.get("Modality", ""))
    frames = int(first.get("NumberOfFrames", 1) or 1)
    if frames > 1 or "PerFrameFunctionalGroupsSequence" in first:
        raise ImageError(f"{path}: multi-frame DICOM ({frames} frames) is not read yet; convert it to NIfTI first")
    if modality in PROJECTIONS:
        if len(files) > 1:
            raise ImageError(f"{path}: {len(files)} {modality} images in one series; read them one file at a time")
        return _projection(*files[0])
    if "ImagePositionPatient" not in first or "ImageOrientationPatient" not in first:
        raise GeometryError(f"{path}: its images do not say where they lie in the patient")
    order, affine = _geometry([header for _, header in files], path)
    with ThreadPoolExecutor(THREADS) as pool:
        slices = list(pool.map(pixels, [files[index][0] for index in order]))
    array = np.stack(slices)[None]
    body = str(first.get("BodyPartExamined", ""))
    return Volume(array, Grid(array.shape[1:], affine, "mm"), modality=modality, body_part=body)


def _geometry(headers: list[Any], path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Order of the slices and the affine (x, y, z, 1) -> LPS mm (PS3.3 C.7.6.2.1.1)."""
    sizes = {(int(h.Rows), int(h.Columns)) for h in headers}
    if len(sizes) > 1:
        raise GeometryError(f"{path}: slices of {len(sizes)} matrix sizes {sorted(sizes)} in one series")
    orientations = np.array([[float(v) for v in h.ImageOrientationPatient] for h in headers])
    if np.abs(orientations - orientations[0]).max() > 1e-3:
        raise GeometryError(f"{path}: slices of several orientations in one series (a localizer?)")
    spacings = np.array([[float(v) for v in h.PixelSpacing] for h in headers])
    if np.abs(spacings - spacings[0]).max() > 1e-3 or (spacings[0] <= 0).any():
        raise GeometryError(f"{path}: pixel spacing differs between slices or is not above 0 mm")
    row, column = orientations[0][:3], orientations[0][3:]
    if abs(np.dot(row, column)) > 1e-3 or abs(np.linalg.norm(row) - 1) > 1e-2 or abs(np.linalg.norm(column) - 1) > 1e-2:
        raise GeometryError(f"{path}: ImageOrientationPatient {orientations[0].tolist()} is not two unit vectors at 90")
    normal = np.cross(row, column)
    positions = np.array([[float(v) for v in h.ImagePositionPatient] for h in headers])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    step = _step(positions[order], along[order], normal, headers, path)
    affine = np.eye(4)
    affine[:3, 0] = row * spacings[0][1]  # PixelSpacing is (between rows, between columns)
    affine[:3, 1] = column * spacings[0][0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[order[0]]
    return order, affine


def _step(positions: np.ndarray, along: np.ndarray, normal: np.ndarray, headers: list[Any], path: Path) -> np.ndarray:
    """Vector from one slice to the next."""
    if len(along) == 1:
        thickness = float(headers[0].get("SpacingBetweenSlices", 0) or headers[0].get("SliceThickness", 0) or 0)
        if thickness <= 0:
            raise GeometryError(f"{path}: one slice without a thickness: its extent is unknown")
        return normal * thickness
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    if (gaps < 1e-3).any():
        where = along[:-1][gaps < 1e-3]
        raise GeometryError(f"{path}: {len(where)} doubled slice position(s), the first at {where[0]:.2f} mm")
    odd = np.abs(gaps - usual) > max(GAP_TOLERANCE * usual, 0.01)
    if odd.any():
        at = int(np.flatnonzero(odd)[0])
        raise GeometryError(
            f"{path}: slices are missing or irregular: {int(odd.sum())} gap(s), the first of {gaps[at]:.2f} mm after "
            f"position {along[at]:.2f} mm, {usual:.2f} mm was expected; export the series again"
        )
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    tilt = np.degrees(np.arccos(min(1.0, float(step @ normal) / float(np.linalg.norm(step)))))
    if tilt > 0.5:
        raise GeometryError(
            f"{path}: the gantry is tilted by {tilt:.1f} degrees; resample the series to a straight one"
        )
    return step


def _projection(file: Path, header: Any) -> Volume:
    image = pixels(file)
    notes: tuple[Note, ...] = ()
    if str(header.get("PhotometricInterpretation", "")) == "MONOCHROME1":
        image = image.max() + image.min() - image
        notes = (Note("monochrome1", "MONOCHROME1 inverted"),)
    spacing, spacing_at = _projection_spacing(header)
    return Volume(
        image[None, None], Grid.projection(image.shape), spacing, spacing_at,  # type: ignore[arg-type]
        modality=str(header.get("Modality", "")), body_part=str(header.get("BodyPartExamined", "")),
        view=str(header.get("ViewPosition", "")), notes=notes,
    )  # fmt: skip


def _projection_spacing(header: Any) -> tuple[tuple[float, float] | None, str]:
    """Pixel spacing (y, x) in mm, and whether it is at the detector or corrected (PS3.3 10.7.1.1)."""
    imager, pixel = header.get("ImagerPixelSpacing"), header.get("PixelSpacing")
    calibrated = pixel is not None and (imager is None or list(map(float, pixel)) != list(map(float, imager)))
    chosen = pixel if calibrated else (imager or pixel)
    if chosen is None or min(map(float, chosen)) <= 0:
        return None, ""
    at = "patient" if calibrated and imager is not None else "detector"
    return (float(chosen[0]), float(chosen[1])), at
