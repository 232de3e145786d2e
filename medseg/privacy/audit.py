"""Search of a folder of outputs for identifiers of patients."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medseg.errors import OutputError
from medseg.privacy.excepted import TABLES_OF_PATHS, exception_of, without_paths_of_sources
from medseg.privacy.identifiers import Identifier, masked
from medseg.privacy.matcher import Matcher
from medseg.privacy.path_names import search_path
from medseg.privacy.place import Place
from medseg.privacy.places import places_in
from medseg.privacy.search import search_place
from medseg.progress import Progress

__all__ = ["AuditResult", "Leak", "audit"]

SCHEMA_VERSION = 1
MEBIBYTE = 1 << 20
Found = tuple[str, int]  # kind of place, number of the identifier


@dataclass(frozen=True, slots=True)
class Leak:
    """An identifier in an output.

    Parameters
    ----------
    file : str
        Path below the folder, with identifiers in it masked.
    place : str
        Where in it: ``content``, ``file name``, ``PNG tEXt chunk`` ...
    kind : str
        What identifies the patient: ``patient_name``, ``birth_date`` ...
    identifier : str
        The identifier, masked.
    count : int
        How often it stands there.
    """

    file: str
    place: str
    kind: str
    identifier: str
    count: int


@dataclass(slots=True)
class AuditResult:
    """What was searched and found; `excepted` and `not_searched` map a file to the reason."""

    n_files: int = 0
    n_bytes: int = 0
    leaks: list[Leak] = field(default_factory=list)
    excepted: dict[str, str] = field(default_factory=dict)
    not_searched: dict[str, str] = field(default_factory=dict)
    too_short: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Content of the file that ``--json`` writes."""
        return {
            "schema_version": SCHEMA_VERSION, "n_files": self.n_files, "n_bytes": self.n_bytes,
            "leaks": [asdict(leak) for leak in self.leaks],
            "excepted": [{"file": file, "reason": reason} for file, reason in self.excepted.items()],
            "not_searched": [{"file": file, "reason": reason} for file, reason in self.not_searched.items()],
            "too_short": self.too_short,
        }  # fmt: skip


def audit(
    folder: str | Path,
    identifiers: Iterable[Identifier],
    *,
    names: str = "family",
    dicom_results: bool = False,
    source_paths: bool = False,
) -> AuditResult:
    """Search every file below a folder, hidden ones too, for identifiers in all their forms.

    Parameters
    ----------
    names : {"full", "family", "all"}
        What counts as a name: the whole name, the family name alone too, each part alone.
    dicom_results : bool
        Search DICOM results as well, which name their patient by design.
    source_paths : bool
        Search the file of the pseudonyms and the paths in the manifest of a data set as well.

    Returns
    -------
    AuditResult
        Free of the identifiers themselves.

    Raises
    ------
    MedsegError
        When the folder does not exist, or `names` is none of these.
    """
    folder = Path(folder)
    if not folder.exists():
        raise OutputError(f"{folder}: no such file or folder")
    matcher = Matcher(identifiers, names=names)
    search = _Search(folder, matcher, dicom_results=dicom_results, source_paths=source_paths)
    entries = list(_entries(folder, search.cannot_search))
    total = sum(_size(path) for path in entries)
    with Progress("searching", max(1, total // MEBIBYTE)) as progress:
        for path in entries:
            search.add(path)
            progress.update(search.result.n_bytes // MEBIBYTE, note=f"{len(search.result.leaks)} leaks")
    return search.result


def _entries(folder: Path, failed: Callable[[OSError], None]) -> Iterator[Path]:
    """Every file and folder below, through links to folders, each place once."""
    if not folder.is_dir():
        yield folder
        return
    seen: set[Path] = set()
    for where, folders, files in os.walk(folder, onerror=failed, followlinks=True):
        place = Path(where).resolve()
        if place in seen:
            folders.clear()
            continue
        seen.add(place)
        folders.sort()
        yield from (Path(where, name) for name in sorted([*folders, *files]))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


class _Search:
    """The search of one folder: its result grows entry by entry."""

    def __init__(self, folder: Path, matcher: Matcher, *, dicom_results: bool, source_paths: bool) -> None:
        self.result = AuditResult(too_short=[str(identifier) for identifier in matcher.too_short])
        self._folder, self._matcher = folder, matcher
        self._dicom_results, self._source_paths = dicom_results, source_paths

    def add(self, path: Path) -> None:
        """Search name and content of a file, a folder or a link."""
        in_name, shown = self._name(path)
        found = {("file name" if path.is_file() else "folder name", n): count for n, count in in_name.items()}
        places = Counter(found)
        if path.is_symlink():
            places += self._in_place(Place("target of the link", os.fsencode(os.readlink(path)), field=True))
        if path.is_file():
            places += self._content(path, shown)
            self.result.n_files += 1
            self.result.n_bytes += _size(path)
        elif not path.is_dir():
            self.result.not_searched[shown] = "neither file nor folder, or a link that leads nowhere"
        for (place, number), count in places.items():
            one = self._matcher.identifiers[number]
            self.result.leaks.append(Leak(shown, place, one.kind, masked(one.value), count))

    def cannot_search(self, error: OSError) -> None:
        """Note a folder that cannot be listed."""
        _, shown = self._name(Path(error.filename))
        self.result.not_searched[shown] = error.strerror or type(error).__name__

    def _name(self, path: Path) -> tuple[Counter[int], str]:
        return search_path(path.name if path == self._folder else str(path.relative_to(self._folder)), self._matcher)

    def _in_place(self, place: Place) -> Counter[Found]:
        return Counter({(place.kind, number): n for number, n in search_place(place, self._matcher).items()})

    def _content(self, path: Path, shown: str) -> Counter[Found]:
        reason = exception_of(path, dicom_results=self._dicom_results, source_paths=self._source_paths)
        if reason:
            self.result.excepted[shown] = reason
            rest = without_paths_of_sources(path) if path.name in TABLES_OF_PATHS else b""
            return self._in_place(Place("content", rest))
        found: Counter[Found] = Counter()
        try:
            with path.open("rb") as stream:
                for place in places_in(stream):
                    if place.problem:
                        self.result.not_searched[shown] = f"{place.kind}: {place.problem}"
                    found += self._in_place(place)
        except OSError as error:
            self.result.not_searched[shown] = error.strerror or type(error).__name__
        return found
