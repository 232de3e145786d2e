"""Pseudonyms, given once when a data set is made: a keyed hash, its key in one named file."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from medseg.errors import ManifestError
from medseg.files import write_json

__all__ = ["FILE", "Pseudonyms"]

FILE = "pseudonyms.json"
DIGITS = 12


class Pseudonyms:
    """Turn names into pseudonyms by HMAC-SHA256 under the key of a data set.

    Parameters
    ----------
    folder : Path
        The data set; `FILE` in it holds the key and the source paths, and is for its owner alone (mode 0600).
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

    def save(self, sources: Mapping[str, str]) -> None:
        """Write the key and where each case came from."""
        write_json(self.path, {"schema_version": 1, "key": self.key, "sources": dict(sources)})
        os.chmod(self.path, 0o600)
