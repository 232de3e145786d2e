"""Pseudonyms: a keyed hash, its key and the source paths in one named file."""

import hashlib
import hmac
import json
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from medseg.errors import ManifestError
from medseg.files import write_json

__all__ = ["FILE", "Pseudonyms", "without_paths"]

FILE = "pseudonyms.json"
DIGITS = 12


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
            try:
                self.key = json.loads(self.path.read_text())["key"]
            except (ValueError, KeyError) as error:
                raise ManifestError(f"{self.path}: holds no key of pseudonyms; restore it or delete it") from error

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


def without_paths(text: str, paths: Iterable[str | Path]) -> str:
    """Take source paths, which often hold names, out of a message: what is at or below one becomes ``image``.

    Examples
    --------
    >>> without_paths("/in/SMITH^JOHN/CT 1/i.dcm: damaged", ["/in/SMITH^JOHN"])
    'image: damaged'
    """
    for path in sorted(map(str, paths), key=len, reverse=True):
        text = re.sub(re.escape(path.partition("#")[0]) + r"[^:]*", "image", text)
    return text
