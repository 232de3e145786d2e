"""Evaluate a prediction folder against the manifest's reference, or tables given as files."""

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from medseg.data.annotations import read_lesions, read_mask
from medseg.data.manifest import Case, load_manifest
from medseg.errors import AnnotationError, ManifestError, MedsegError, OutputError
from medseg.evaluation import PixelCounts, dice_score, evaluate_tables
from medseg.evaluation.report import EMPTY_REFERENCE
from medseg.evaluation.settings import EvaluationSettings
from medseg.files import read_csv, write_csv, write_json
from medseg.imaging import read
from medseg.lesion import Lesion
from medseg.progress import track
from medseg.volume import Grid

__all__ = ["evaluate_predictions", "evaluate_table_files"]

logger = logging.getLogger(__name__)
CASE_COLUMNS = ("case_id", "patient_id", "group", "status", "label", "score", "predicted_label", "localised")
MARK_COLUMNS = ("case_id", "x", "y", "z", "score", "class", "hit", "x_min", "y_min", "z_min", "x_max", "y_max", "z_max")
LESION_COLUMNS = (
    "case_id", "lesion_id", "x", "y", "z", "unit", "diameter_mm", "diameter_px", "class", "ignore", "best_score",
    "x_min", "y_min", "z_min", "x_max", "y_max", "z_max",
)  # fmt: skip


@dataclass(slots=True)
class _Tables:
    """Tables of the evaluation while they grow."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    dice: dict[str, float] = field(default_factory=dict)
    pixels: dict[str, PixelCounts] = field(default_factory=dict)
    all_from_masks: bool = True
    masks_saved: bool = False


def evaluate_table_files(
    cases: Path, marks: Path | None, lesions: Path | None, output: Path, *, rule: str | None
) -> dict[str, Any]:
    """Evaluate tables given as CSV files and write ``evaluation.json``."""
    result = evaluate_tables(cases, marks, lesions, rule=rule or "distance")
    write_json(Path(output) / "evaluation.json", result)
    return result


def evaluate_predictions(
    predictions: str | Path, data: str | Path, output: str | Path, *, rule: str | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Evaluate a prediction folder.

    Parameters
    ----------
    predictions : path
        Made by `medseg predict`.
    data : path
        The manifest with the reference.
    output : path
        Folder for ``evaluation.json`` and the tables it was computed from.

    Returns
    -------
    result : dict
        The content of ``evaluation.json``.
    failures : dict of str to str
        Cases whose reference could not be read, which are left out.

    Raises
    ------
    MedsegError
        When there is nothing to evaluate.
    """
    folder, output = Path(predictions), Path(output)
    about, rows, findings = _read_predictions(folder)
    settings = EvaluationSettings.model_validate(about["evaluation"])
    manifest = load_manifest(data)
    by_name = {case.case_id: case for case in manifest.cases}
    tables = _Tables(masks_saved=any(folder.glob("cases/*/mask.nii.gz")))
    failures: dict[str, str] = {}
    unlabelled = 0
    for row in track(rows, "evaluating", len(rows)):
        case = by_name.get(row["case_id"])
        if case is None:
            raise ManifestError(f"{manifest.path}: predicted case {row['case_id']} is not in the manifest")
        if not case.is_labelled or case.ignore:
            unlabelled += 1
            continue
        try:
            _add_case(tables, case, row, findings.get(case.case_id, []), folder, about, settings)
        except MedsegError as error:
            failures[case.case_id] = str(error)
    if not tables.cases:
        reason = next(iter(failures.values()), "every predicted case is unlabelled")
        raise ManifestError(f"{folder}: no case can be evaluated: {reason}")
    result = _evaluate(tables, about, settings, rule)
    training = sum(row.get("training_case") == "1" for row in rows)
    result["counts"] |= {"n_unlabelled": unlabelled, "n_unreadable_reference": len(failures), "n_training": training}
    if training:
        result["warning"] = f"{training} case(s) were in the training part: these figures do not estimate performance"
    result["pipeline"], result["operating_point"] = about["pipeline"], about["operating_point"]
    _write(tables, result, output)
    return result, failures


def _read_predictions(
    folder: Path,
) -> tuple[dict[str, Any], list[dict[str, str]], dict[str, list[dict[str, str]]]]:
    stamp = folder / "predictions.json"
    if not stamp.is_file() or not (folder / "cases.csv").is_file():
        raise OutputError(f"{folder}: not a complete prediction folder; finish it with `medseg predict --resume`")
    about = json.loads(stamp.read_text())
    _, rows = read_csv(folder / "cases.csv")
    findings: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(folder / "findings.csv")[1]:
        findings.setdefault(row["case_id"], []).append(row)
    return about, rows, findings


def _add_case(
    tables: _Tables,
    case: Case,
    row: dict[str, str],
    findings: list[dict[str, str]],
    folder: Path,
    about: dict[str, Any],
    settings: EvaluationSettings,
) -> None:
    """Add one case to the tables; nothing is added when its reference cannot be read."""
    localises = about["detector"] != "classification"
    lesions: list[Lesion] | None = None
    reference: np.ndarray | None = None
    grid: Grid | None = None
    image: np.ndarray | None = None
    placed = localises and (case.annotation != "label" or case.label == 0)  # label 0: read, no lesion
    if placed:
        volume = read(case.images[0])
        grid, image = volume.grid, volume.array[0]
        nothing = np.zeros(grid.shape, np.uint8) if case.annotation == "label" else None
        reference = read_mask(case, grid) if nothing is None else nothing
        lesions = read_lesions(case, grid, volume.pixel_spacing_mm) if nothing is None else []
    failed = row["status"] != "ok"
    tables.cases.append(
        {
            "case_id": case.case_id, "patient_id": case.patient_id, "group": case.group or case.view,
            "status": row["status"], "label": case.label, "score": None if failed else row["score"],
            "predicted_label": row.get("predicted_label", ""), "localised": int(placed or not localises),
        }
    )  # fmt: skip
    if lesions is None or grid is None or image is None:
        return
    if reference is None:
        tables.all_from_masks = False
    labels = None if reference is None else cc3d.connected_components(reference > 0, connectivity=26)
    first_lesion = len(tables.lesions)
    tables.lesions += [_lesion_row(case.case_id, number, lesion) for number, lesion in enumerate(lesions, start=1)]
    for finding in findings if not failed else []:
        index = grid.to_index(np.array([[float(finding[axis]) for axis in "xyz"]]))[0]
        voxel = dict(zip(("voxel_x", "voxel_y", "voxel_z"), (index + 0.5).tolist()))  # voxel n covers n to n + 1
        tables.marks.append({name: finding.get(name, "") for name in MARK_COLUMNS} | voxel)
        if labels is not None:
            number = _label_at(labels, grid, finding)
            if number:
                tables.pairs.append((len(tables.marks) - 1, first_lesion + number - 1))
    if reference is not None and about["detector"] == "segmentation":
        _add_pixels(tables, case.case_id, reference, image, folder, failed, settings)


def _label_at(labels: np.ndarray, grid: Grid, finding: dict[str, str]) -> int:
    """Number of the lesion at a mark, the nearest voxel deciding; 0 for none."""
    x, y, z = np.rint(grid.to_index(np.array([[float(finding[axis]) for axis in "xyz"]]))[0]).astype(int)
    if not all(0 <= i < n for i, n in zip((z, y, x), labels.shape)):
        return 0
    return int(labels[z, y, x])


def _lesion_row(case_id: str, number: int, lesion: Lesion) -> dict[str, Any]:
    row: dict[str, Any] = {"case_id": case_id, "lesion_id": number, "class": lesion.name, "unit": lesion.unit}
    row |= {axis: getattr(lesion, axis) for axis in "xyz"}
    row["diameter_mm" if lesion.unit == "mm" else "diameter_px"] = lesion.diameter
    row["ignore"] = int(lesion.ignore)
    if lesion.box is not None:
        row |= dict(zip(LESION_COLUMNS[-6:], lesion.box))
    return row


def _add_pixels(
    tables: _Tables,
    case_id: str,
    reference: np.ndarray,
    image: np.ndarray,
    folder: Path,
    failed: bool,
    settings: EvaluationSettings,
) -> None:
    empty = not reference.any()
    files = folder / "cases" / case_id
    if empty or (failed and tables.masks_saved):
        tables.dice[case_id] = EMPTY_REFERENCE if empty else 0.0
    elif not failed and (files / "mask.nii.gz").is_file():
        tables.dice[case_id] = dice_score(_map(files / "mask.nii.gz", reference.shape) > 0, reference)
    if (files / "probability.nii.gz").is_file() or failed:
        probability = np.zeros(reference.shape) if failed else _map(files / "probability.nii.gz", reference.shape)
        if settings.pixel_region == "above_zero":
            inside = (image > 0) | (reference > 0)
            # a lesion voxel where the image is 0 cannot be seen: it counts as missed
            probability = np.where(image > 0, probability, 0)[inside]
            reference = reference[inside]
        tables.pixels[case_id] = PixelCounts.of(probability, reference)


def _map(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    values = read(path).array[0]
    if values.shape != shape:
        raise AnnotationError(f"{path}: has the shape {values.shape}, the reference {shape}; predict again")
    if not np.isfinite(values).all():
        raise AnnotationError(f"{path}: holds values that are not finite; predict again")
    return values


def _evaluate(tables: _Tables, about: dict[str, Any], settings: EvaluationSettings, rule: str | None) -> dict[str, Any]:
    cases = _columns(tables.cases, CASE_COLUMNS)
    if about["detector"] == "classification":
        return evaluate_tables(cases, settings=settings)
    marks = _columns(tables.marks, ("case_id", "x", "y", "z", "score", *MARK_COLUMNS[-6:]))
    lesions = _columns(tables.lesions, ("case_id", "x", "y", "z", "ignore", *LESION_COLUMNS[-6:]))
    in_pixels = any(row["unit"] == "px" for row in tables.lesions)
    column = "diameter_px" if in_pixels else "diameter_mm"
    lesions[column] = [row.get(column, 0.0) for row in tables.lesions]
    chosen = rule or settings.rule
    segments = about["detector"] == "segmentation"
    dice = (tables.dice if tables.masks_saved else {}) if segments else None
    pixels = tables.pixels if segments else None
    if tables.all_from_masks and chosen in (None, "inside"):
        # hits were looked up in the masks themselves
        return evaluate_tables(
            cases, marks, lesions, settings=settings, rule="inside", pairs=tables.pairs, dice=dice, pixels=pixels
        )
    if chosen is None:
        boxed = bool(tables.lesions) and all("x_min" in row for row in tables.lesions)
        chosen = "inside" if boxed else "distance"
    if chosen == "inside":
        for axis in "xyz":  # boxes are half-open ranges of voxels
            marks[axis] = [row[f"voxel_{axis}"] for row in tables.marks]
    return evaluate_tables(cases, marks, lesions, settings=settings, rule=chosen, dice=dice, pixels=pixels)


def _columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: [row.get(name, "") for row in rows] for name in names}


def _write(tables: _Tables, result: dict[str, Any], output: Path) -> None:
    write_csv(output / "cases.csv", CASE_COLUMNS, tables.cases)
    write_csv(output / "marks.csv", MARK_COLUMNS[:6], tables.marks)
    write_csv(output / "lesions.csv", LESION_COLUMNS, tables.lesions)
    write_json(output / "evaluation.json", result)
