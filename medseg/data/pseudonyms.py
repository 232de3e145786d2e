"""Pseudonyms: a keyed hash, its key and the source paths in one named file."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from medseg.errors import ManifestError
from medseg.files import files_below, read_json, write_json

__all__ = ["FILE", "Pseudonyms", "without_paths"]

FILE = "pseudonyms.json"
DIGITS = 12
KEY = re.compile(r"^[0-9a-f]{64}$")


class Pseudonyms:
    """Turn names into pseudonyms by HMAC-SHA256 under the key of a data set or of a prediction folder.

    Parameters
    ----------
    folder : Path
        `FILE` in it holds the key and the source paths, and is for its owner alone (mode 0600).
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
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

    def save(self, sources: Mapping[str, str]) -> None:
        """Write the key and where each case came from."""
        write_json(self.path, {"schema_version": 1, "key": self.key, "sources": dict(sources)})
        os.chmod(self.path, 0o600)


def without_paths(text: str, sources: Iterable[str | Path]) -> str:
    """Take source paths, which often hold names, out of a message: each source and file below it becomes ``image``.

    Parameters
    ----------
    sources : iterable of path
        Absolute files or folders; ``folder#SERIES_UID`` is known too.

    Examples
    --------
    >>> without_paths("/in/SMITH^JOHN.png: damaged", ["/in/SMITH^JOHN.png"])
    'image: damaged'
    """
    for source in map(str, sources):
        folder, _, member = source.rpartition("#")
        path = Path(folder if member and not os.path.exists(source) else source)
        below = files_below(path) if path.is_dir() else []
        names = {source, str(path), *map(str, below), *(str(file.parent) for file in below)}
        for name in sorted(names, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/]){re.escape(name)}", "image", text)
    return text
