"""Evaluate a prediction folder against the manifest's reference, or tables given as files."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cc3d
import numpy as np

from medseg.data.annotations import lesions_of_mask, read_lesions, read_mask, unplaced_lesions
from medseg.data.manifest import Case, load_manifest
from medseg.errors import AnnotationError, ImageError, ManifestError, MedsegError, OutputError, TableError, naming_case
from medseg.evaluation import PixelCounts, dice_score, evaluate_tables
from medseg.evaluation.report import EMPTY_REFERENCE
from medseg.evaluation.settings import EvaluationSettings
from medseg.files import read_csv, read_json, write_csv, write_json
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
    any_mask: bool = False  # in the reference


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
            failures[case.case_id] = naming_case(str(error), case.case_id)
    if not tables.cases:
        reason = next(iter(failures.values()), "every predicted case is unlabelled")
        raise ManifestError(f"{folder}: no case can be evaluated: {reason}")
    result = _evaluate(tables, about, settings, rule)
    training = sum(row.get("training_case") == "1" for row in rows)
    unknown = sum(row.get("training_case", "") == "" for row in rows)
    result["counts"]["n_training_unknown"] = unknown
    if unknown:
        logger.warning("%d of %d case(s): it is not known whether the model was trained on them", unknown, len(rows))
    result["counts"] |= {"n_unlabelled": unlabelled, "n_unreadable_reference": len(failures), "n_training": training}
    if training:
        result["warning"] = f"{training} case(s) were in the training part: these figures do not estimate performance"
    notice = manifest.path.parent / "about.json"  # simulated data says here what it is
    if notice.is_file():
        result["notice"] = read_json(notice, needs=("notice",))["notice"]
    result["pipeline"], result["operating_point"] = about["pipeline"], about["operating_point"]
    _write(tables, result, output)
    return result, failures


def _read_predictions(
    folder: Path,
) -> tuple[dict[str, Any], list[dict[str, str]], dict[str, list[dict[str, str]]]]:
    stamp = folder / "predictions.json"
    about = read_json(stamp, needs=("evaluation", "detector", "pipeline")) if stamp.is_file() else {}
    if not about.get("complete") or not (folder / "cases.csv").is_file():
        raise OutputError(f"{folder}: not a complete prediction folder; finish it with `medseg predict --resume`")
    _, rows = read_csv(folder / "cases.csv", needs=("case_id", "status", "score"))
    findings: dict[str, list[dict[str, str]]] = {}
    for row in read_csv(folder / "findings.csv", needs=("case_id", "x", "y", "z", "score"))[1]:
        try:
            [float(row[axis]) for axis in "xyz"]
        except ValueError:
            raise TableError(f"{folder / 'findings.csv'}: a position of case {row['case_id']} is no number") from None
        findings.setdefault(row["case_id"], []).append(row)
    return about, rows, findings


@dataclass(frozen=True, slots=True, eq=False)
class _Reference:
    """What is known of a case: its lesions, and where there is one the mask, both shapes (z, y, x)."""

    lesions: list[Lesion]
    mask: np.ndarray | None
    image: np.ndarray | None
    grid: Grid | None


def _reference(case: Case, *, failed: bool) -> _Reference:
    try:
        volume = read(case.images[0])
    except ImageError:
        if not failed:
            raise
        # the case failed because of its image: its lesions stay, as missed
        if case.mask is None:
            return _Reference(unplaced_lesions(case), None, None, None)
        volume = read(case.mask)
        mask = volume.array[0] > 0
        lesions = lesions_of_mask(mask, volume.grid, name=case.name, reader=case.reader)
        return _Reference(lesions, mask, np.ones(mask.shape), None)
    grid, image = volume.grid, volume.array[0]
    if case.annotation == "label":  # label 0: read, no lesion
        return _Reference([], np.zeros(grid.shape, np.uint8), image, grid)
    lesions = read_lesions(case, grid, volume.pixel_spacing_mm) or []
    return _Reference(lesions, read_mask(case, grid), image, grid)


def _add_case(
    tables: _Tables,
    case: Case,
    row: dict[str, str],
    findings: list[dict[str, str]],
    folder: Path,
    about: dict[str, Any],
    settings: EvaluationSettings,
) -> None:
    """Add one case to the tables; nothing is added when its reference or its saved maps cannot be read."""
    localises = about["detector"] != "classification"
    failed = row["status"] != "ok"
    placed = localises and (case.annotation != "label" or case.label == 0)
    known = _reference(case, failed=failed) if placed else None
    if known is not None and known.mask is not None and about["detector"] == "segmentation":
        _add_pixels(tables, case.case_id, known, folder, failed, settings)
    tables.cases.append(
        {
            "case_id": case.case_id, "patient_id": case.patient_id, "group": case.group or case.view,
            "status": row["status"], "label": case.label, "score": None if failed else row["score"],
            "predicted_label": row.get("predicted_label", ""), "localised": int(placed or not localises),
        }
    )  # fmt: skip
    if known is None:
        return
    tables.any_mask |= known.mask is not None
    tables.all_from_masks &= known.mask is not None
    first_lesion = len(tables.lesions)
    rows = [_lesion_row(case.case_id, number, lesion) for number, lesion in enumerate(known.lesions, start=1)]
    tables.lesions += rows
    if not failed and known.grid is not None:
        _add_marks(tables, findings, known.grid, known.mask, first_lesion)


def _add_marks(
    tables: _Tables, findings: list[dict[str, str]], grid: Grid, mask: np.ndarray | None, first_lesion: int
) -> None:
    labels = None if mask is None else cc3d.connected_components(mask > 0, connectivity=26)
    for finding in findings:
        index = grid.to_index(np.array([[float(finding[axis]) for axis in "xyz"]]))[0]
        voxel = dict(zip(("voxel_x", "voxel_y", "voxel_z"), (index + 0.5).tolist()))  # voxel n covers n to n + 1
        tables.marks.append({name: finding.get(name, "") for name in MARK_COLUMNS} | voxel)
        number = 0 if labels is None else _label_at(labels, grid, finding)
        if number:
            tables.pairs.append((len(tables.marks) - 1, first_lesion + number - 1))


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
    tables: _Tables, case_id: str, known: _Reference, folder: Path, failed: bool, settings: EvaluationSettings
) -> None:
    reference, image = known.mask, known.image
    assert reference is not None
    assert image is not None
    files = folder / "cases" / case_id
    dice = None
    if not reference.any():
        dice = EMPTY_REFERENCE
    elif failed and tables.masks_saved:
        dice = 0.0
    elif not failed and (files / "mask.nii.gz").is_file():
        dice = dice_score(_map(files / "mask.nii.gz", reference.shape) > 0, reference)
    if (files / "probability.nii.gz").is_file() or failed:
        probability = np.zeros(reference.shape) if failed else _map(files / "probability.nii.gz", reference.shape)
        if settings.pixel_region == "above_zero":
            inside = (image > 0) | (reference > 0)
            # a lesion voxel where the image is 0 cannot be seen: it counts as missed
            probability = np.where(image > 0, probability, 0)[inside]
            reference = reference[inside]
        tables.pixels[case_id] = PixelCounts.of(probability, reference)
    if dice is not None:
        tables.dice[case_id] = dice


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
    segments = about["detector"] == "segmentation" and tables.any_mask
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
