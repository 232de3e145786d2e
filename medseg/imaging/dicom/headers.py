"""The headers of all DICOM files of a tree, read once, in parallel."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, BinaryIO

from medseg.errors import ImageError
from medseg.files import files_below
from medseg.imaging.dicom.header import Header
from medseg.imaging.dicom.instance import HEADER_KEYWORDS, PRIVATE_B_VALUES, Instance, instance_of
from medseg.imaging.formats import NOT_DICOM_SUFFIXES, format_of
from medseg.processes import worker_pool
from medseg.progress import track

__all__ = ["NOT_DICOM", "DicomObject", "Scan", "Unreadable", "read_header", "scan"]

NOT_DICOM = "not a DICOM file"
MANY_FILES = 2000  # from here on worker processes pay, which take a second to start
WORKERS = 2
DIRECTORY = "1.2.840.10008.1.3.10"  # a DICOMDIR holds no image
PREAMBLE = 128
FIRST_GROUPS = (b"\x02\x00", b"\x08\x00", b"\x00\x08")  # a data set without preamble starts with one of these groups


@dataclass(frozen=True, slots=True)
class DicomObject:
    """A DICOM object that is no image: a segmentation, a report, a structure set ...

    Parameters
    ----------
    kind : str
        Name of its SOP class.
    referenced_series : tuple of str
        Series Instance UIDs that it names.
    """

    path: Path
    sop_class: str
    kind: str
    series_uid: str
    study_uid: str
    modality: str
    referenced_series: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be read, and why; `is_dicom` says whether it should have been a DICOM file."""

    path: Path
    reason: str
    is_dicom: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """What a tree of files holds of DICOM.

    Parameters
    ----------
    images : list of Instance
        Each SOP instance once.
    objects : list of DicomObject
        Objects that are no images.
    unreadable : list of Unreadable
        Files that are damaged or not DICOM.
    copies : list of (Path, Path)
        A further file of an instance, and the file that was taken.
    """

    images: list[Instance] = field(default_factory=list)
    objects: list[DicomObject] = field(default_factory=list)
    unreadable: list[Unreadable] = field(default_factory=list)
    copies: list[tuple[Path, Path]] = field(default_factory=list)


Result = Instance | DicomObject | Unreadable | None


def scan(path: str | Path, *, exclude: Path | Collection[Path] | None = None) -> Scan:
    """Read the headers of the DICOM files at or below `path`; a DICOMDIR stands for the files that it names.

    Parameters
    ----------
    exclude : Path or collection of Path, optional
        Folders and files that are left out.
    """
    path = Path(path)
    files = directory_files(path) if path.name.upper() == "DICOMDIR" and path.is_file() else None
    if files is None:
        files = files_below(path, exclude=exclude)
    files = [file for file in files if not file.name.lower().endswith(NOT_DICOM_SUFFIXES)]
    state = tuple((str(file), *_state(file)) for file in files)
    return _scan(state)


def _state(file: Path) -> tuple[int, int]:
    try:
        about = file.stat()
    except OSError:
        return -1, -1
    return about.st_size, about.st_mtime_ns


@lru_cache(maxsize=4)  # a tree of many series is asked for once a series
def _scan(state: tuple[tuple[str, int, int], ...]) -> Scan:
    files = [Path(name) for name, _, _ in state]
    result = Scan()
    taken: dict[str, Instance] = {}
    for found in _read_all(files):
        if isinstance(found, Unreadable):
            result.unreadable.append(found)
        elif isinstance(found, DicomObject):
            result.objects.append(found)
        elif found is not None:
            first = taken.setdefault(found.sop_uid or str(found.path), found)
            if first is found:
                result.images.append(found)
            elif _is_copy(first, found):
                result.copies.append((found.path, first.path))
            else:  # a UID that was given twice: kept, so that nothing is lost
                result.images.append(found)
    return result


def _is_copy(a: Instance, b: Instance) -> bool:
    """Whether two files of one SOP instance are the same image; slices may be stored in other transfer syntaxes."""
    about = [(image.patient_id, image.study_uid, image.series_uid, image.format.rows) for image in (a, b)]
    places = [[(frame.position, frame.orientation) for frame in image.frames] for image in (a, b)]
    if about[0] != about[1] or places[0] != places[1]:
        return False
    return a.frames[0].position is not None or a.path.read_bytes() == b.path.read_bytes()


def _read_all(files: Sequence[Path]) -> Iterator[Result]:
    if len(files) < MANY_FILES or parent_process() is not None:
        yield from map(read_header, files)
    else:
        with worker_pool(WORKERS) as pool:
            yield from track(pool.map(read_header, files, chunksize=64), "reading headers", len(files))


def read_header(file: Path) -> Result:
    """Read the header of one file; None for a DICOMDIR, which holds nothing itself."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with file.open("rb") as stream:
            start = _start(stream)
            if not start:
                return Unreadable(file, NOT_DICOM, format_of(file) == "dicom")
            header = pydicom.dcmread(stream, stop_before_pixels=True, force=True, specific_tags=_tags())
            if start == "data set" and "SOPClassUID" not in header:
                return Unreadable(file, NOT_DICOM, format_of(file) == "dicom")
            return _sorted_out(file, Header(header), stream.tell())
    except ImageError as error:
        return Unreadable(file, str(error).removeprefix(f"{file}: "), True)
    except InvalidDicomError:
        return Unreadable(file, NOT_DICOM, format_of(file) == "dicom")
    except OSError as error:
        return Unreadable(file, f"cannot be opened ({error.strerror or error})", True)
    except Exception as error:  # damaged headers raise many types; each means the same here
        return Unreadable(file, f"damaged DICOM header ({type(error).__name__})", True)


@lru_cache(maxsize=1)
def _tags() -> list[Any]:
    from pydicom.tag import Tag

    keywords = [Tag(keyword) for keyword in HEADER_KEYWORDS]
    return keywords + [
        Tag(group, element) for group, _, offset in PRIVATE_B_VALUES for element in (0x10, 0x1000 + offset)
    ]


def _start(stream: BinaryIO) -> str:
    """How a file starts: with the preamble of PS3.10, like a data set that was stored without one, or otherwise."""
    head = stream.read(PREAMBLE + 4)
    stream.seek(0)
    if head[PREAMBLE:] == b"DICM":
        return "preamble"
    return "data set" if head[:2] in FIRST_GROUPS else ""


def _sorted_out(file: Path, header: Any, offset: int) -> Result:
    """An image, another object, or what is wrong: a file that was cut off gives no error in pydicom."""
    from pydicom.uid import UID

    kind = header.get("SOPClassUID") or header.file_meta.get("MediaStorageSOPClassUID", "")
    if str(kind) == DIRECTORY:
        return None
    if "SOPClassUID" not in header or "SeriesInstanceUID" not in header or not UID(str(kind)).is_valid:
        return Unreadable(file, "damaged DICOM file: its header is cut off, or does not say what it is", True)
    name = str(getattr(kind, "name", kind))
    is_image = "Rows" in header and not _holds_results(name)
    if not is_image:
        if "Image Storage" in name:
            return Unreadable(
                file, "damaged DICOM file: an image without its matrix size, as one that was cut off", True
            )
        return DicomObject(
            file, str(kind), name.removesuffix(" Storage"), str(header.SeriesInstanceUID),
            str(header.get("StudyInstanceUID", "")), str(header.get("Modality", "")), _references(header),
        )  # fmt: skip
    return instance_of(file, header, offset)


def _holds_results(name: str) -> bool:
    """Whether objects of a class have pixels, yet are no images of a patient."""
    return any(word in name for word in ("Segmentation", "Parametric Map", "RT Dose", "Presentation State"))


def _references(header: Any) -> tuple[str, ...]:
    return tuple(str(item.get("SeriesInstanceUID", "")) for item in header.get("ReferencedSeriesSequence") or [])


def directory_files(path: Path) -> list[Path]:
    """Files that a DICOMDIR names.

    Raises
    ------
    ImageError
        When it cannot be read, names nothing, or names a file that is not there.
    """
    import pydicom

    try:
        records = pydicom.dcmread(path).get("DirectoryRecordSequence") or []
        names = [record.get("ReferencedFileID") for record in records]
    except Exception as error:  # a damaged directory raises many types; each means the same here
        raise ImageError(f"{path}: damaged DICOMDIR ({type(error).__name__})") from error
    parts = [[name] if isinstance(name, str) else list(name) for name in names if name]
    if any(part in ("..", "") or "/" in part for name in parts for part in name):
        raise ImageError(f"{path}: the DICOMDIR names files outside its folder")
    files = [_present(path.parent, name) for name in parts]
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        what = f"names {len(missing)} file(s) that are not here, the first {missing[0].name}" if missing else "is empty"
        raise ImageError(
            f"{path}: the DICOMDIR {what}; copy the whole medium, or name its folder to read what is there"
        )
    return files


def _present(folder: Path, names: Sequence[str]) -> Path:
    """A file of a medium, whose names systems often store in small letters."""
    place = folder
    for name in names:
        small = place / name.lower()
        place = small if not (place / name).exists() and small.exists() else place / name
    return place
