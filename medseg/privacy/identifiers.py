"""Identifiers of patients, and the lists in CSV, JSON or text that name them."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medseg.errors import TableError
from medseg.files import read_csv
from medseg.privacy.dates import parse_date

__all__ = ["KINDS", "Identifier", "masked", "read_identifiers"]

KINDS = (
    "patient_name", "patient_id", "birth_date", "address", "telephone", "accession_number", "admission_id",
    "person_name", "institution", "study_id", "study_date", "uid",
)  # fmt: skip
COLUMNS = {"name": "patient_name", "id": "patient_id", "person": "person_name"} | {kind: kind for kind in KINDS}
DATES = ("birth_date", "study_date")
SHOWN_FROM = 4  # characters that a text must have for its first to be shown


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """Something that says who a patient is.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    value : str
        As it stands in the source; a name as in DICOM, ``FAMILY^GIVEN`` in up to three groups.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        return f"{self.kind} {masked(self.value)}"


def masked(text: str) -> str:
    """Text of which the first character alone is shown, so that a report of leaks is none itself.

    Examples
    --------
    >>> masked("Yamada^Tarou"), masked("Li")
    ('Y*****^*****', '**')
    """
    hidden = re.sub(r"[^\W_]", "*", text)
    return text[0] + hidden[1:] if len(text) >= SHOWN_FROM else hidden


def read_identifiers(path: str | Path, *, uids: bool = True, study_dates: bool = False) -> list[Identifier]:
    """Read the identifiers of the patients whose outputs are searched.

    Parameters
    ----------
    path : str or Path
        A DICOM file or a folder of such; a CSV table or JSON with the columns (keys) `name`, `id` and those of
        `KINDS`, where what follows an underscore may tell columns apart (`name_kanji`); or a text with one
        identifier a line.
    uids, study_dates : bool
        Whether UIDs and dates of the study count, as the basic profile of PS3.15 has it.

    Raises
    ------
    TableError
        When the file is missing, holds no identifier, or a column of another name.
    """
    path = Path(path)
    if not path.exists():
        raise TableError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        _, rows = read_csv(path)
        found = _of_rows(path, rows)
    elif suffix == ".json":
        found = _of_rows(path, _json_rows(path))
    elif path.is_dir() or _is_dicom(path):
        from medseg.privacy.dicom_identifiers import of_dicom

        found = of_dicom(path)
    else:
        found = [_guessed(line) for line in _lines(path)]
    left_out = ({"uid"} if not uids else set()) | ({"study_date"} if not study_dates else set())
    kept = [one for one in dict.fromkeys(found) if one.kind not in left_out]
    if not kept:
        raise TableError(f"{path}: holds no identifier of a patient; expected a name, an ID or a birth date")
    return kept


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima")


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise TableError(f"{path}: not UTF-8 text; expected DICOM, CSV, JSON or one identifier a line") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _json_rows(path: Path) -> list[Mapping[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TableError(f"{path}: damaged, not readable as JSON ({error})") from error
    rows = content if isinstance(content, list) else [content]
    if not all(isinstance(row, dict) for row in rows):
        raise TableError(f"{path}: expected one object a patient, with keys such as name, id, birth_date")
    return rows


def _of_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[Identifier]:
    found = []
    for number, row in enumerate(rows, start=1):
        for column, cell in row.items():
            if column == "schema_version":
                continue
            kind = next((COLUMNS[name] for name in _names(column) if name in COLUMNS), None)
            if kind is None:
                known = ", ".join(COLUMNS)
                raise TableError(f"{path}: unknown column {column}; expected {known}; rename it, or take it out")
            for value in cell if isinstance(cell, list) else [cell]:
                text = str(value or "").strip()
                if kind in DATES and text and parse_date(text) is None:
                    raise TableError(f"{path}, patient {number}: the {kind} is no date such as 1970-01-31")
                if text:
                    found.append(Identifier(kind, text))
    return found


def _names(column: str) -> list[str]:
    """A column's name, and what of it stands before each underscore, the longest first."""
    words = column.strip().lower().split("_")
    return ["_".join(words[:size]) for size in range(len(words), 0, -1)]


def _guessed(line: str) -> Identifier:
    if parse_date(line) is not None:
        return Identifier("birth_date", line)
    if re.fullmatch(r"[0-2](\.\d+){4,}", line):
        return Identifier("uid", line)
    return Identifier("patient_id" if re.search(r"\d", line) else "patient_name", line)
