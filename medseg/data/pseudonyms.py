"""Pseudonyms: a keyed hash, its key and the source paths in one named file."""

import hashlib
import hmac
import os
import re
import secrets
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from pathlib import Path

from medseg.errors import ManifestError
from medseg.files import files_below, read_json, safe_name, write_json
from medseg.privacy.excepted import PSEUDONYMS

__all__ = ["FILE", "Pseudonyms", "without_paths"]

FILE = PSEUDONYMS
DIGITS = 12
UP = re.compile(r"/(?!\.\./)[^/\n]+/\.\.(?=/)")
MOST_BESIDE = 10_000
ROOTS = 2  # parts of a path such as /home that say nothing of a patient, and that other paths begin with too
# names alone are taken out of a message where they are no plain word, of which it may be made itself
TELLING = re.compile(r"^(?=.{4})(?:.*[^a-z_-])")
KEY = re.compile(r"^[0-9a-f]{64}$")


class Pseudonyms:
    """Turn names into pseudonyms by HMAC-SHA256 under the key of a data set or of a prediction folder.

    Parameters
    ----------
    folder : Path
        `FILE` in it holds the key and the source paths, and is for its owner alone (mode 0600).
    hides_names : bool
        Whether cases of plain files get pseudonyms too, not the stems of their files.
    """

    def __init__(self, folder: Path, *, hides_names: bool = False) -> None:
        self.path = folder / FILE
        self.hides_names = hides_names
        self.key = secrets.token_hex(32)
        if self.path.is_file():
            self.key = str(read_json(self.path, needs=("key",), error=ManifestError)["key"])
            if not KEY.match(self.key):
                raise ManifestError(f"{self.path}: holds no key of pseudonyms; restore it or delete it")

    def of(self, name: str, prefix: str = "p") -> str:
        """Pseudonym of a name; the same name gives the same one."""
        digest = hmac.new(bytes.fromhex(self.key), name.encode(), hashlib.sha256).hexdigest()
        return f"{prefix}{digest[:DIGITS]}"

    def of_series(self, series_uid: str) -> str:
        """Pseudonym of a Series Instance UID: the name of a case from bare DICOM."""
        return self.of(series_uid, "s")

    def of_file(self, stem: str) -> str:
        """Name of a case from the stem of its file: as it is, or a pseudonym where names may tell who it is."""
        return self.of_case(stem) if self.hides_names else safe_name(stem)

    def of_case(self, stem: str, *, holds: Callable[[str], bool] | None = None) -> str:
        """Name of a case for the stem of its file, which may be named after the patient.

        Parameters
        ----------
        holds : callable, optional
            Whether a text holds an identifier (`medseg.privacy.Matcher.holds`): other stems stay as they are.
            Without it every stem gets a pseudonym.
        """
        return stem if holds is not None and not holds(stem) else self.of(stem, "c")

    def save(self, sources: Mapping[str, str]) -> None:
        """Write the key and where each case came from."""
        write_json(self.path, {"schema_version": 1, "key": self.key, "sources": dict(sources)})
        os.chmod(self.path, 0o600)


def without_paths(text: str, sources: Iterable[str | Path]) -> str:
    """Take source paths, which often hold names, out of a message: each becomes ``image``.

    Known are the sources, what lies below and beside them, their folders, where links lead, and the names of files
    and folders alone; as they are, percent-encoded and with escapes.

    Parameters
    ----------
    sources : iterable of path
        Absolute files or folders; ``folder#SERIES_UID`` is known too.

    Examples
    --------
    >>> without_paths("/in/SMITH^JOHN.png: damaged", ["/in/SMITH^JOHN.png"])
    'image: damaged'
    """
    paths: set[str] = set()
    names: set[str] = set()
    for source in map(str, sources):
        folder, _, member = source.rpartition("#")
        path = Path(folder if member and not os.path.exists(source) else source)
        below = files_below(path) if path.is_dir() else []
        own = {path, *below, *(file.parent for file in below)}
        own |= {Path(os.path.realpath(one)) for one in own}
        paths |= {source, *map(str, own), *map(str, _around(path)), *map(str, _around(path.resolve()))}
        names |= {one.name for one in own if TELLING.search(one.name)}
    while (shorter := UP.sub("", text)) != text:
        text = shorter
    text = _replaced(text, paths, before=r"(?<![\w/])(?:file://)?", after=r"(?:/[^\s'\"`,;:()\[\]]+)*")
    return _replaced(text, names, before=r"(?<![\w/])", after=r"(?!\w)")


def _around(path: Path) -> set[Path]:
    """The folders of a path, and what lies beside it and beside its folder: other patients, as often as not."""
    folders = [folder for folder in (path.parent, path.parent.parent) if len(folder.parts) >= ROOTS]
    beside = {one for folder in folders if folder.is_dir() for one in islice(folder.iterdir(), MOST_BESIDE)}
    return beside | {folder for folder in folders if len(folder.parts) > ROOTS}


def _replaced(text: str, names: Iterable[str], *, before: str, after: str) -> str:
    spelled = {
        shape for name in names
        for shape in (name, urllib.parse.quote(name), name.encode("unicode_escape").decode("ascii"))
    }  # fmt: skip
    if not spelled:
        return text
    longest_first = sorted(map(re.escape, spelled), key=len, reverse=True)
    return re.sub(f"{before}(?:{'|'.join(longest_first)}){after}", "image", text)
