"""The tables that the evaluation takes: from files or mappings, checked."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.files import read_csv

__all__ = ["Columns", "cases_table", "lesions_table", "marks_table", "reference_digests", "table_columns"]

Columns = dict[str, np.ndarray]
DESCRIPTIONS = ("view", "scanner", "sex", "age")  # by which figures can be given, beside the group
STATUS = ("", "ok", "failed", "out_of_scope")
TRUE, FALSE = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no")
Source = str | Path | Mapping[str, Sequence[Any]]


def table_columns(source: Source, name: str, needed: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a table as they are given, those `needed` being there.

    Raises
    ------
    TableError
        When it is no table, a column is missing, or columns differ in length.
    """
    if isinstance(source, str | Path):
        names, rows = read_csv(source, needs=needed[:1])
        table: dict[str, list[Any]] = {column: [row[column] for row in rows] for column in names}
        name = str(source)
    else:
        try:
            table = {str(column): list(values) for column, values in source.items()}
        except (AttributeError, TypeError):
            raise TableError(
                f"{name}: a path or a mapping of columns was expected, found {type(source).__name__}"
            ) from None
        if len({len(values) for values in table.values()}) > 1:
            raise TableError(f"{name}: the columns differ in length")
    for column in needed:
        if column not in table:
            raise TableError(f"{name}: the column {column} is missing; found {', '.join(table) or 'none'}")
    return table


def _numbers(table: dict[str, list[Any]], column: str, name: str, *, empty: float | None = None) -> np.ndarray:
    values = []
    for case_id, cell in zip(table["case_id"], table[column]):
        if (isinstance(cell, str) and cell == "") or (_is_missing(cell) and (empty is not None or cell is None)):
            if empty is None:
                raise TableError(f"{name}: case {case_id} has no {column}")
            values.append(empty)
            continue
        try:
            values.append(float(cell))
        except (TypeError, ValueError):
            raise TableError(f"{name}: {column} '{cell}' of case {case_id} is not a number") from None
        if np.isnan(values[-1]):  # written out; a missing value is an empty cell
            raise TableError(f"{name}: {column} of case {case_id} is not a number")
    array = np.array(values, dtype=np.float64)
    odd = ~np.isfinite(array) if empty is None or np.isfinite(empty) else np.isinf(array)
    if odd.any():
        case_id = table["case_id"][int(np.flatnonzero(odd)[0])]
        raise TableError(f"{name}: {column} of case {case_id} is not finite")
    return array


def cases_table(source: Source) -> Columns:
    """Check a table of cases: ``case_id[, label][, score][, patient_id][, group][, status][, predicted_label]``.

    Missing labels and scores become NaN, missing patients the case itself. ``localised`` is 0 for a case that is known
    to have lesions, but not where: it counts for the case level only.

    Raises
    ------
    TableError
        For a missing column, a doubled case, or a number that is none.
    """
    table = table_columns(source, "cases", ["case_id"])
    names = [str(value) for value in table["case_id"]]
    if not names:
        raise TableError("cases: the table lists no case")
    if "" in names:
        raise TableError(f"cases: row {names.index('') + 1} has no case_id")
    if len(set(names)) < len(names):
        raise TableError(f"cases: case {Counter(names).most_common(1)[0][0]} is listed twice")
    columns: Columns = {"case_id": np.array(names)}
    for column in ("label", "score", "predicted_label"):
        given = table.get(column)
        columns[column] = (
            _numbers(table, column, "cases", empty=np.nan) if given is not None else np.full(len(names), np.nan)
        )
    columns["patient_id"] = _patients(table, names)
    for column in ("group", "status", "reference", *(name for name in DESCRIPTIONS if name in table)):
        columns[column] = _texts(table, column, len(names))
    columns["status"] = np.char.lower(columns["status"])
    odd = ~np.isin(columns["status"], STATUS)
    if odd.any():
        where = int(np.flatnonzero(odd)[0])
        allowed = ", ".join(STATUS[1:])
        raise TableError(f"cases: status '{columns['status'][where]}' of case {names[where]}: allowed are {allowed}")
    given = table.get("localised", [True] * len(names))
    columns["localised"] = _flags([True if _is_missing(v) or v == "" else v for v in given], names, "cases: localised")
    return columns


def _patients(table: dict[str, list[Any]], names: list[str]) -> np.ndarray:
    """Patient of each case; the case itself where none is given."""
    patients = ["" if _is_missing(value) else str(value) for value in table.get("patient_id", [""] * len(names))]
    known = set(patients)
    for patient, name in zip(patients, names):
        if not patient and name in known:
            raise TableError(
                f"cases: case {name} has no patient_id, and a patient is called {name} too: name its patient"
            )
    return np.array([patient or name for patient, name in zip(patients, names)])


def _flags(values: Sequence[Any], names: Sequence[Any], what: str) -> np.ndarray:
    """Cells that are true or false: 1 or 0, true or false, yes or no; empty is false."""
    flags = []
    for value, name in zip(values, names):
        text = "" if _is_missing(value) else str(value).strip().lower()
        if text not in TRUE and text not in FALSE:
            raise TableError(f"{what} '{value}' of case {name}: allowed are 1 and 0, true and false, yes and no")
        flags.append(text in TRUE)
    return np.array(flags, dtype=bool)


def _is_missing(value: Any) -> bool:
    """None, not a number of any width, and pandas' NA and NaT."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def reference_digests(lesions: Columns, n_cases: int) -> np.ndarray:
    """A short digest of the lesions of each case, shape (n_cases,): equal where the references are."""
    columns = [name for name in sorted(lesions) if name != "case"]
    digests = []
    for case in range(n_cases):
        rows = np.flatnonzero(lesions["case"] == case)
        texts = sorted("|".join(f"{name}={_rounded(lesions[name][row])}" for name in columns) for row in rows)
        digests.append(hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12])
    return np.array(digests)


def _rounded(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float | np.floating) else str(value)


def _with_centres(table: dict[str, list[Any]], name: str) -> dict[str, list[Any]]:
    """Positions from boxes where only those are given; a box without z is one of a projection, at z = 0."""
    n = len(table["case_id"])
    if "z" not in table and "z_min" not in table and "z_max" not in table:  # two dimensions
        table = table | {"z": [0] * n}
    if "x_min" in table and "z_min" not in table and "z_max" not in table:
        table = table | {"z_min": [0] * n, "z_max": [1] * n, "z": table.get("z", [0] * n)}
    for axis in "xyz":
        low, high = f"{axis}_min", f"{axis}_max"
        if axis not in table and low in table and high in table:
            ends = (_numbers(table, low, name), _numbers(table, high, name))
            table = table | {axis: ((ends[0] + ends[1]) / 2).tolist()}
        elif axis not in table:
            raise TableError(f"{name}: the column {axis} is missing; found {', '.join(table)}")
    return table


def _with_positions(source: Source, name: str, known: np.ndarray, extra: Sequence[str]) -> tuple[Columns, dict]:
    table = _with_centres(table_columns(source, name, ["case_id", *extra]), name)
    place = {case_id: index for index, case_id in enumerate(known)}
    columns: Columns = {column: _numbers(table, column, name) for column in ("x", "y", "z")}
    try:
        columns["case"] = np.array([place[str(value)] for value in table["case_id"]], dtype=np.int64)
    except KeyError as error:
        raise TableError(f"{name}: case {error.args[0]} is not in the table of cases") from None
    for column in ("x_min", "y_min", "z_min", "x_max", "y_max", "z_max"):
        if column in table:
            columns[column] = _numbers(table, column, name, empty=np.nan)
    columns["class"] = _texts(table, "class", len(columns["x"]))
    return columns, table


def _texts(table: dict[str, list[Any]], column: str, n: int) -> np.ndarray:
    given = table.get(column, [""] * n)
    return np.array(["" if _is_missing(value) else str(value) for value in given], dtype=np.str_)


def marks_table(source: Source | None, known: np.ndarray) -> Columns:
    """Check a table of marks: ``case_id, x, y, z, score[, class][, reader][, modality]``.

    Column ``case`` is the place in `known`.
    """
    if source is None:
        source = {"case_id": [], "x": [], "y": [], "z": [], "score": []}
    columns, table = _with_positions(source, "marks", known, ["score"])
    columns["score"] = _numbers(table, "score", "marks")
    for column in ("reader", "modality"):
        columns[column] = _texts(table, column, len(columns["x"]))
    return columns


def lesions_table(source: Source | None, known: np.ndarray) -> Columns:
    """Check a table of lesions: ``case_id, x, y, z, diameter_mm[, class][, weight][, ignore]``.

    In pixels where the column is ``diameter_px`` instead. Boxes (``x_min, x_max, y_min, y_max[, z_min, z_max]``) alone
    will do for the rules that need no diameter. Weights, and diameters of boxes, are NaN where not given.
    """
    if source is None:
        source = {"case_id": [], "x": [], "y": [], "z": [], "diameter_mm": []}
    columns, table = _with_positions(source, "lesions", known, [])
    in_pixels = "diameter_px" in table and not any(not _is_missing(v) and v != "" for v in table.get("diameter_mm", []))
    diameter = "diameter_px" if in_pixels else "diameter_mm"
    if diameter in table:
        boxed = "x_min" in table
        columns["diameter"] = _numbers(table, diameter, "lesions", empty=np.nan if boxed else None)
    elif "x_min" in table:  # boxes alone: no rule by diameter
        columns["diameter"] = np.full(len(columns["x"]), np.nan)
    else:
        raise TableError("lesions: the column diameter_mm is missing")
    given = table.get("ignore", [""] * len(columns["x"]))
    columns["ignore"] = _flags(given, table["case_id"], "lesions: ignore")
    negative = (columns["diameter"] < 0) & ~columns["ignore"]
    if negative.any():
        case_id = table["case_id"][int(np.flatnonzero(negative)[0])]
        raise TableError(f"lesions: {diameter} of case {case_id} is below 0")
    columns["weight"] = (
        _numbers(table, "weight", "lesions", empty=np.nan) if "weight" in table else np.full(len(columns["x"]), np.nan)
    )
    return columns
