"""The tables that the evaluation takes: from files or mappings, checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.files import read_csv

__all__ = ["Columns", "cases_table", "lesions_table", "marks_table"]

Columns = dict[str, np.ndarray]
DESCRIPTIONS = ("view", "scanner", "sex", "age")  # by which figures can be given, beside the group
Source = str | Path | Mapping[str, Sequence[Any]]


def _columns(source: Source, name: str, needed: Sequence[str]) -> dict[str, list[Any]]:
    if isinstance(source, str | Path):
        names, rows = read_csv(source)
        table: dict[str, list[Any]] = {column: [row[column] for row in rows] for column in names}
        name = str(source)
    else:
        table = {str(column): list(values) for column, values in source.items()}
        if len({len(values) for values in table.values()}) > 1:
            raise TableError(f"{name}: the columns differ in length")
    for column in needed:
        if column not in table:
            raise TableError(f"{name}: the column {column} is missing; found {', '.join(table) or 'none'}")
    return table


def _numbers(table: dict[str, list[Any]], column: str, name: str, *, empty: float | None = None) -> np.ndarray:
    values = []
    for case_id, cell in zip(table["case_id"], table[column]):
        if cell is None or cell == "" or (empty is not None and isinstance(cell, float) and np.isnan(cell)):
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
    table = _columns(source, "cases", ["case_id"])
    names = [str(value) for value in table["case_id"]]
    if not names:
        raise TableError("cases: the table lists no case")
    if "" in names:
        raise TableError(f"cases: row {names.index('') + 1} has no case_id")
    if len(set(names)) < len(names):
        doubled = next(name for name in names if names.count(name) > 1)
        raise TableError(f"cases: case {doubled} is listed twice")
    columns: Columns = {"case_id": np.array(names)}
    for column in ("label", "score", "predicted_label"):
        given = table.get(column)
        columns[column] = (
            _numbers(table, column, "cases", empty=np.nan) if given is not None else np.full(len(names), np.nan)
        )
    patients = ["" if _is_missing(value) else str(value) for value in table.get("patient_id", names)]
    columns["patient_id"] = np.array([patient or name for patient, name in zip(patients, names)])
    for column in ("group", "status", *(name for name in DESCRIPTIONS if name in table)):
        columns[column] = _texts(table, column, len(names))
    columns["status"] = np.char.lower(columns["status"])
    if "localised" in table:
        columns["localised"] = np.array([str(value) not in ("0", "0.0", "False") for value in table["localised"]])
    else:
        columns["localised"] = np.ones(len(names), dtype=bool)
    return columns


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value))


def _with_positions(source: Source, name: str, known: np.ndarray, extra: Sequence[str]) -> tuple[Columns, dict]:
    table = _columns(source, name, ["case_id", "x", "y", "z", *extra])
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

    In pixels where the column is ``diameter_px`` instead. Weights are NaN where not given.
    """
    if source is None:
        source = {"case_id": [], "x": [], "y": [], "z": [], "diameter_mm": []}
    columns, table = _with_positions(source, "lesions", known, [])
    diameter = "diameter_px" if "diameter_mm" not in table else "diameter_mm"
    if diameter not in table:
        raise TableError("lesions: the column diameter_mm is missing")
    columns["diameter"] = _numbers(table, diameter, "lesions")
    ignored = [str(v).lower() in ("1", "1.0", "true", "yes") for v in table.get("ignore", [""] * len(columns["x"]))]
    negative = (columns["diameter"] < 0) & ~np.array(ignored, dtype=bool)
    if negative.any():
        case_id = table["case_id"][int(np.flatnonzero(negative)[0])]
        raise TableError(f"lesions: {diameter} of case {case_id} is below 0")
    columns["weight"] = (
        _numbers(table, "weight", "lesions", empty=np.nan) if "weight" in table else np.full(len(columns["x"]), np.nan)
    )
    columns["ignore"] = np.array(ignored, dtype=bool)
    return columns
