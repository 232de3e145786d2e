"""An evaluation folder: written whole, and read again for a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from medseg.drawing.evaluation_plots import write_plots
from medseg.errors import OutputError
from medseg.evaluation.evidence import Evidence, case_labels, case_scores, failed_cases
from medseg.evaluation.lesionwise import LesionwiseF1
from medseg.evaluation.masks import MaskFigures
from medseg.evaluation.matches import read_matches
from medseg.evaluation.tables import DESCRIPTIONS, cases_table
from medseg.experiment.summary import figure_rows
from medseg.experiment.table_files import write_table
from medseg.files import output_errors, read_csv, read_json, write_csv, write_json

__all__ = ["read_evaluation", "start_folder", "table_title", "write_evaluation"]

FILES = (
    "evaluation.json", "cases.csv", "marks.csv", "lesions.csv", "matches.csv", "masks.csv", "figures.csv",
    "figures.tex",
)  # fmt: skip

F1_NAMES = {"n_predicted": "n_components"}  # both count something predicted: voxels and components


def start_folder(folder: Path, *, inputs: Sequence[str | Path | None] = ()) -> None:
    """Make the folder of an evaluation, and remove what an earlier one left there.

    ``evaluation.json`` goes first: a folder without it is not an evaluation.

    Raises
    ------
    OutputError
        When the folder cannot be written, or would replace one of the tables that are evaluated.
    """
    own = {(folder / name).resolve() for name in FILES}
    for source in inputs:
        if source is not None and Path(source).resolve() in own:
            name = Path(source).name
            raise OutputError(f"{folder}: would replace {name} there, which is evaluated: give another folder")
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        for path in (*(folder / "plots").glob("*.*"), *(folder / "matches").glob("*.csv")):
            if path.suffix in (".svg", ".png", ".csv"):
                path.unlink()


def write_evaluation(
    folder: Path,
    evidence: Evidence,
    result: dict[str, Any],
    *,
    inputs: Sequence[str | Path | None] = (),
    tables: Mapping[str, tuple[Sequence[str], Sequence[Mapping[str, Any]]]] | None = None,
) -> None:
    """Write ``evaluation.json``, the cases, matches and masks behind it, tables of the figures and plots.

    Parameters
    ----------
    inputs : sequence of path
        Tables that were read, which are not replaced.
    tables : mapping of str to (columns, rows), optional
        Further tables to write, by file name.
    """
    start_folder(folder, inputs=inputs)
    for name, (columns, rows) in (tables or {}).items():
        write_csv(folder / name, columns, rows)
    write_csv(folder / "cases.csv", *_case_rows(evidence))
    if evidence.matches is not None:
        evidence.matches.write(folder / "matches.csv")
    if evidence.masks:
        write_csv(folder / "masks.csv", _mask_columns(), _mask_rows(evidence))
    columns = ("level", "part", "figure", "value", "ci_low", "ci_high", "method")
    write_table(folder / "figures", columns, list(figure_rows(result)), title=table_title(result))
    write_plots(folder / "plots", result)
    write_json(folder / "evaluation.json", result)


def table_title(result: dict[str, Any]) -> str:
    """Caption of the table of figures: what it rests on."""
    counts, confidence = result["counts"], result["settings"]["confidence"]
    return (
        f"Figures of the evaluation: {counts['n_cases']} cases of {counts['n_patients']} patients, "
        f"{counts['n_positive']} positive; {100 * confidence:g} % intervals by patient"
    )


def _case_rows(evidence: Evidence) -> tuple[list[str], list[dict[str, Any]]]:
    table = evidence.table
    columns = ["case_id", "patient_id", "group", *(name for name in DESCRIPTIONS if name in table), "status"]
    failed = failed_cases(table)
    rows = []
    for number in range(len(evidence.label)):
        row: dict[str, Any] = {name: table[name][number] for name in columns}
        row["label"] = None if np.isnan(evidence.label[number]) else int(evidence.label[number])
        row["score"] = None if failed[number] else evidence.score[number]
        row["predicted_label"] = table["predicted_label"][number]
        row["localised"] = int(table["localised"][number])
        row["reference"] = table["reference"][number]
        rows.append(row)
    return [*columns, "label", "score", "predicted_label", "localised", "reference"], rows


def _mask_columns() -> list[str]:
    f1 = [F1_NAMES.get(field.name, field.name) for field in fields(LesionwiseF1)]
    return ["case_id", *(field.name for field in fields(MaskFigures)), *f1, "lesionwise_f1"]


def _mask_rows(evidence: Evidence) -> list[dict[str, Any]]:
    rows = []
    for case_id, (figures, lesionwise) in evidence.masks.items():
        row: dict[str, Any] = {"case_id": case_id, "lesionwise_f1": lesionwise.f1}
        row |= {field.name: getattr(figures, field.name) for field in fields(MaskFigures)}
        row |= {F1_NAMES.get(field.name, field.name): getattr(lesionwise, field.name) for field in fields(LesionwiseF1)}
        rows.append(row)
    return rows


def read_evaluation(folder: str | Path) -> tuple[dict[str, Any], Evidence]:
    """Read the result of an evaluation and the evidence behind it (without voxels).

    Raises
    ------
    OutputError
        When the folder holds no complete evaluation.
    TableError
        When a table in it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; evaluations are made by `medseg evaluate`")
    if not (folder / "evaluation.json").is_file():
        raise OutputError(f"{folder}: no evaluation.json there; make an evaluation with `medseg evaluate`")
    if "readers" in read_json(folder / "evaluation.json"):
        raise OutputError(f"{folder}: an evaluation of several readers; its reader_study compares them already")
    if not (folder / "cases.csv").is_file():
        raise OutputError(f"{folder}: the cases of the evaluation are missing (cases.csv); evaluate again")
    result = read_json(folder / "evaluation.json", needs=("counts", "case_level", "settings"))
    if not isinstance(result["settings"], dict):
        raise OutputError(f"{folder / 'evaluation.json'}: damaged, its settings are no object")
    table = cases_table(folder / "cases.csv")
    matches = read_matches(folder / "matches.csv") if (folder / "matches.csv").is_file() else None
    if matches is not None and not np.array_equal(matches.case_id, table["case_id"]):
        raise OutputError(f"{folder}: cases.csv and matches.csv are of different cases; evaluate again")
    masks = _read_masks(folder / "masks.csv") if (folder / "masks.csv").is_file() else {}
    return result, Evidence(table, case_labels(table, matches), case_scores(table, None), matches, masks)


def _read_masks(path: Path) -> dict[str, tuple[MaskFigures, LesionwiseF1]]:
    masks = {}
    for row in read_csv(path, needs=_mask_columns())[1]:
        try:
            values = {
                field.name: row[field.name] if field.name == "unit" else float(row[field.name] or "nan")
                for field in fields(MaskFigures)
            }
            counts = {field.name: int(row[F1_NAMES.get(field.name, field.name)]) for field in fields(LesionwiseF1)}
        except ValueError as error:
            raise OutputError(f"{path}: case {row['case_id']}: {error}") from error
        values |= {name: int(row[name]) for name in ("n_predicted", "n_reference")}
        masks[row["case_id"]] = MaskFigures(**values), LesionwiseF1(**counts)  # type: ignore[arg-type]
    return masks
