"""A prediction folder beside the manifest's reference, as tables that evaluation takes."""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medseg.data.class_labels import class_labels
from medseg.data.manifest import Case, Manifest
from medseg.errors import AnnotationError, ManifestError, MedsegError, OutputError, TableError, naming_case
from medseg.evaluation import LesionwiseF1, MaskFigures, PixelCounts, lesionwise_f1, mask_figures
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.out_of_scope import in_scope
from medseg.experiment.reference import Reference, counted_voxels, read_map, read_reference
from medseg.files import read_csv, read_json
from medseg.lesion import Lesion
from medseg.progress import track
from medseg.volume import Grid

__all__ = [
    "CASE_COLUMNS", "LESION_COLUMNS", "MARK_COLUMNS", "Tables", "collect", "columns", "localises", "matching_tables",
    "read_predictions",
]  # fmt: skip

logger = logging.getLogger(__name__)
CASE_COLUMNS = (
    "case_id", "patient_id", "group", "view", "sex", "age", "status", "label", "score", "predicted_label", "localised",
)  # fmt: skip
MARK_COLUMNS = (
    "case_id", "x", "y", "z", "score", "class", "hit", "probability", "x_min", "y_min", "z_min", "x_max", "y_max",
    "z_max",
)  # fmt: skip
LESION_COLUMNS = (
    "case_id", "lesion_id", "x", "y", "z", "unit", "diameter_mm", "diameter_px", "class", "ignore", "best_score",
    "x_min", "y_min", "z_min", "x_max", "y_max", "z_max",
)  # fmt: skip


@dataclass(slots=True)
class Tables:
    """Tables of the evaluation while they grow."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    marks: list[dict[str, Any]] = field(default_factory=list)
    lesions: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    masks: dict[str, tuple[MaskFigures, LesionwiseF1]] = field(default_factory=dict)
    pixels: dict[str, PixelCounts] = field(default_factory=dict)
    class_cases: list[dict[str, Any]] = field(default_factory=list)  # and what each is known to show
    class_labels: list[np.ndarray] = field(default_factory=list)
    maps: list[tuple[Case, Path | None]] = field(default_factory=list)  # the saved probabilities
    all_from_masks: bool = True
    masks_saved: bool = False
    probabilities_saved: bool = False
    any_mask: bool = False  # in the reference


def collect(
    folder: Path,
    manifest: Manifest,
    about: dict[str, Any],
    rows: list[dict[str, str]],
    findings: dict[str, list[dict[str, str]]],
    settings: EvaluationSettings,
    *,
    with_maps: bool = True,
) -> tuple[Tables, dict[str, str], int]:
    """Tables of all predicted cases, those whose reference cannot be read, and how many are unlabelled.

    Saved masks and probabilities are compared with the reference unless `with_maps` is false.
    """
    by_name = {case.case_id: case for case in manifest.cases}
    saved = {name: with_maps and any(folder.glob(f"cases/*/{name}.nii.gz")) for name in ("mask", "probability")}
    tables = Tables(masks_saved=saved["mask"], probabilities_saved=saved["probability"])
    failures: dict[str, str] = {}
    unlabelled = 0
    for row in track(in_scope(rows, folder), "evaluating", len(rows)):
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
    return tables, failures, unlabelled


def read_predictions(
    folder: Path,
) -> tuple[dict[str, Any], list[dict[str, str]], dict[str, list[dict[str, str]]]]:
    """Read ``predictions.json``, the rows of ``cases.csv``, and those of ``findings.csv`` by case.

    Raises
    ------
    OutputError, TableError
        When the folder holds no complete predictions, or a position is no number.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder; predictions are made by `medseg predict`")
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


def _add_case(
    tables: Tables,
    case: Case,
    row: dict[str, str],
    findings: list[dict[str, str]],
    folder: Path,
    about: dict[str, Any],
    settings: EvaluationSettings,
) -> None:
    """Add one case to the tables; nothing is added when its reference or its saved maps cannot be read."""
    has_places, several = localises(about), about.get("multi_label", False)
    failed = row["status"] != "ok"
    placed = has_places and (case.annotation != "label" or case.label == 0)
    drawn = case.annotation not in ("", "label")
    known = read_reference(case, failed=failed) if placed or (several and drawn) else None
    if known is not None and case.label == 0 and any(not lesion.ignore for lesion in known.lesions):
        raise AnnotationError(f"case {case.case_id} has the label 0 and a lesion")
    if known is not None and known.mask is not None and about["detector"] == "segmentation":
        _add_pixels(tables, case, known, folder, failed, settings)
    about_case = {
            "case_id": case.case_id, "patient_id": case.patient_id, "group": case.group or case.view,
            "view": case.view, "sex": case.sex, "age": case.age,
            "status": row["status"], "label": case.label, "score": None if failed else row["score"],
            "probability": row.get("probability", ""),
            "predicted_label": row.get("predicted_label", ""), "localised": int(placed or not has_places),
    }  # fmt: skip
    if several:
        tables.class_cases.append(about_case)
        lesions = known.lesions if known is not None and drawn else None
        tables.class_labels.append(class_labels(case, about["classes"], lesions))
    if case.annotation == "label" and case.label is None:  # some classes are read, none is there: not known
        return
    tables.cases.append(about_case)
    if known is None or not placed:
        return
    tables.any_mask |= known.mask is not None
    tables.all_from_masks &= known.mask is not None
    first_lesion = len(tables.lesions)
    rows = [_lesion_row(case.case_id, number, lesion) for number, lesion in enumerate(known.lesions, start=1)]
    tables.lesions += rows
    if not failed and known.grid is not None:
        _add_marks(tables, findings, known, first_lesion)


def _add_marks(tables: Tables, findings: list[dict[str, str]], known: Reference, first_lesion: int) -> None:
    grid, labels = known.grid, known.labels
    assert grid is not None
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
    tables: Tables, case: Case, known: Reference, folder: Path, failed: bool, settings: EvaluationSettings
) -> None:
    """Compare the saved mask and probability with the reference mask; those of a failed case are empty."""
    assert known.mask is not None
    files = folder / "cases" / case.case_id
    masks = None
    if tables.masks_saved and (failed or (files / "mask.nii.gz").is_file()):
        predicted = np.zeros_like(known.mask) if failed else read_map(files / "mask.nii.gz", known.mask.shape) > 0
        figures = mask_figures(
            predicted, known.mask, spacing_mm=known.spacing_mm, tolerance_mm=settings.surface_tolerance_mm
        )
        masks = figures, lesionwise_f1(predicted, known.mask)
    path = files / "probability.nii.gz"
    if tables.probabilities_saved and (failed or path.is_file()):
        probability = np.zeros(known.mask.shape, np.float32) if failed else read_map(path, known.mask.shape)
        tables.pixels[case.case_id] = PixelCounts.of(*counted_voxels(probability, known, settings.pixel_region))
        tables.maps.append((case, None if failed else path))
    if masks is not None:
        tables.masks[case.case_id] = masks


def matching_tables(tables: Tables, rule: str | None) -> dict[str, Any]:
    """Marks and lesions with the rule by which they are matched, as `evidence_of_tables` takes them.

    Unless a `rule` is given hits are looked up in the masks, where every reference is one (`pairs`); else they are
    marks inside the boxes, where every lesion has one; else marks nearer than half the diameter.
    """
    marks = columns(tables.marks, ("case_id", "x", "y", "z", "score", "class", *MARK_COLUMNS[-6:]))
    lesions = columns(tables.lesions, ("case_id", "x", "y", "z", "class", "ignore", *LESION_COLUMNS[-6:]))
    in_pixels = any(row["unit"] == "px" for row in tables.lesions)
    column = "diameter_px" if in_pixels else "diameter_mm"
    lesions[column] = [row.get(column, 0.0) for row in tables.lesions]
    pairs = None
    if tables.all_from_masks and rule in (None, "inside"):
        rule, pairs = "inside", tables.pairs  # hits were looked up in the masks themselves
    elif rule is None:
        boxed = bool(tables.lesions) and all("x_min" in row for row in tables.lesions)
        rule = "inside" if boxed else "distance"
    if rule == "inside" and pairs is None:
        for axis in "xyz":  # boxes are half-open ranges of voxels
            marks[axis] = [row[f"voxel_{axis}"] for row in tables.marks]
    return {"marks": marks, "lesions": lesions, "rule": rule, "pairs": pairs}


def columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    """Turn rows into columns, empty where a row lacks one."""
    return {name: [row.get(name, "") for row in rows] for name in names}


def localises(about: dict[str, Any]) -> bool:
    """Whether the model of a prediction folder says where."""
    return bool(about.get("localises", about["detector"] != "classification"))
