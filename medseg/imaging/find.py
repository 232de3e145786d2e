"""Which images a path holds, for prediction."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ImageError
from medseg.files import files_below, safe_name
from medseg.imaging.dicom import Series, homes_of, scan, series_of
from medseg.imaging.formats import format_of

__all__ = ["ImageSource", "earlier_results", "find_inputs", "stem_of"]

Exclude = Path | Collection[Path] | None


@dataclass(frozen=True, slots=True)
class ImageSource:
    """One image to predict.

    Parameters
    ----------
    case_id : str
        Stem of the file, or the pseudonym of the series UID of bare DICOM.
    path : Path
        File or folder.
    series : str
        Which volume of a folder: its Series Instance UID, with ``/part`` where the series holds several. Empty for
        other formats.
    patient_id, modality : str
        From the DICOM header, empty for other formats. The former must leave the program as a pseudonym only.
    description : Series
        The series itself, None for other formats.
    """

    case_id: str
    path: Path
    series: str = ""
    patient_id: str = ""
    modality: str = ""
    description: Series | None = None

    @property
    def name(self) -> str:
        """What `medseg.imaging.read` takes for this image: the path, with the series where there is one."""
        return f"{self.path}#{self.series}" if self.series else str(self.path)


def find_inputs(
    path: str | Path,
    *,
    name_series: Callable[[str], str],
    name_file: Callable[[str], str] = safe_name,
    exclude: Exclude = None,
) -> list[ImageSource]:
    """List the images at or below `path`: one case a file, one a DICOM series.

    Parameters
    ----------
    name_series : callable
        Gives the pseudonym of a Series Instance UID.
    name_file : callable
        Gives the name of a case from the stem of its file, for other formats.
    exclude : Path or collection of Path, optional
        Folders and files that are left out: the output, where it lies inside `path`.

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
    left_out = {*_as_set(exclude), *earlier_results(files)}
    files = [file for file in files if left_out.isdisjoint(file.parents)]
    plain = [file for file in files if format_of(file) in ("nifti", "itk", "picture")]
    sources = [ImageSource(name, file) for name, file in _named(plain, path, name_file)]
    if len(plain) < len(files):
        sources += _dicom_sources(path, name_series, left_out)
    seen: dict[str, Path] = {}
    for source in sources:
        if source.case_id in seen:
            raise ImageError(
                f"{source.path} and {seen[source.case_id]} would both be case {source.case_id}; rename one"
            )
        seen[source.case_id] = source.path
    return sources


def earlier_results(files: Iterable[Path]) -> set[Path]:
    """Folders among files that hold predictions: their overlays, masks and DICOM objects are no input."""
    return {file.parent for file in files if file.name == "predictions.json"}


def _as_set(exclude: Exclude) -> set[Path]:
    return {exclude} if isinstance(exclude, Path) else set(exclude or ())


def _named(files: list[Path], root: Path, name_file: Callable[[str], str]) -> Iterator[tuple[str, Path]]:
    """Name each file by its stem; files of one stem in several folders by their folders too."""
    counts = Counter(map(stem_of, files))
    for file in files:
        folders = file.relative_to(root).parent.parts if counts[stem_of(file)] > 1 and root.is_dir() else ()
        yield name_file("_".join((*folders, stem_of(file)))), file


def _dicom_sources(path: Path, name_series: Callable[[str], str], exclude: Exclude) -> list[ImageSource]:
    """One case a volume or projection; localizers and captures are no cases. A damaged file is a case that fails."""
    found = scan(path, exclude=exclude)
    sources = [ImageSource(name_series(str(item.path)), item.path) for item in found.unreadable if item.is_dicom]
    every = series_of(found.images)
    homes = homes_of(every)
    for series in every:
        if series.kind in ("localizer", "capture"):
            continue
        first = series.first
        home = homes[series.series_uid]
        sources.append(
            ImageSource(name_series(series.name), home, series.name, first.patient_id, first.modality, series)
        )
    return sources


def stem_of(file: Path) -> str:
    """Name of a file without its suffix, ``.nii.gz`` being one.

    Examples
    --------
    >>> stem_of(Path("brain.nii.gz"))
    'brain'
    """
    return file.name[: -len(".nii.gz")] if file.name.endswith(".nii.gz") else file.stem
