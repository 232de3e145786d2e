"""Evaluate a prediction folder against the manifest's reference, or tables given as files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medseg.config.load import evaluation_settings
from medseg.data.class_labels import class_labels
from medseg.data.manifest import Case, Manifest, load_manifest
from medseg.errors import AnnotationError, ManifestError, MedsegError, OutputError, TableError, naming_case
from medseg.evaluation import LesionwiseF1, MaskFigures, PixelCounts, lesionwise_f1, mask_figures, voxel_figures
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.reader_marks import marks_of_readers
from medseg.evaluation.report import PixelEvidence, evaluate_evidence, evidence_of_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.class_evaluation import class_figures
from medseg.experiment.evaluation_folder import write_evaluation
from medseg.experiment.fold_figures import fold_figures
from medseg.experiment.out_of_scope import count_out_of_scope, in_scope
from medseg.experiment.probabilities import calibration_of, marks_on_lesions
from medseg.experiment.reader_evaluation import evaluate_readers
from medseg.experiment.reference import Reference, VoxelCases, counted_voxels, read_map, read_reference
from medseg.files import read_csv, read_json
from medseg.lesion import Lesion
from medseg.progress import track
from medseg.volume import Grid

__all__ = [
    "Tables", "collect", "evaluate_predictions", "evaluate_table_files", "matching_tables", "read_predictions",
]  # fmt: skip

logger = logging.getLogger(__name__)
CASE_COLUMNS = (
    "case_id", "patient_id", "group", "view", "sex", "age", "status", "label", "score", "predicted_label", "localised",
)  # fmt: skip
MARK_COLUMNS = (
    "case_id",
    "x",
    "y",
    "z",
    "score",
    "class",
    "hit",
    "probability",
    "x_min",
    "y_min",
    "z_min",
    "x_max",
    "y_max",
    "z_max",
)
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


def evaluate_table_files(
    cases: Path,
    marks: Path | None,
    lesions: Path | None,
    output: Path,
    *,
    rule: str | None = None,
    settings: EvaluationSettings | None = None,
) -> dict[str, Any]:
    """Evaluate tables given as CSV files and write the evaluation folder.

    Marks of several readers or modalities make a reader study (`evaluate_readers`).

    Raises
    ------
    TableError
        When a table is wrong, naming the case.
    """
    settings = settings or EvaluationSettings()
    rule = rule or settings.rule or _default_rule(lesions)
    named = bool(settings.readers or settings.modalities)
    if marks is not None and lesions is not None and (named or len(marks_of_readers(marks)) > 1):
        return evaluate_readers(cases, marks, lesions, Path(output), rule=rule, settings=settings)
    evidence = evidence_of_tables(cases, marks, lesions, settings=settings, rule=rule)
    result = evaluate_evidence(evidence, settings=settings)
    result["settings"] = settings.model_dump(mode="json") | {"rule": rule}
    write_evaluation(Path(output), evidence, result, inputs=(cases, marks, lesions))
    return result


def _default_rule(lesions: Path | None) -> str:
    """By diameter where there are diameters, else inside the boxes."""
    if lesions is None:
        return "distance"
    columns, _ = read_csv(lesions, needs=("case_id",))
    return "inside" if "x_min" in columns and not {"diameter_mm", "diameter_px"} & set(columns) else "distance"


def evaluate_predictions(
    predictions: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    rule: str | None = None,
    overrides: Sequence[str] = (),
) -> tuple[dict[str, Any], dict[str, str]]:
    """Evaluate a prediction folder.

    Parameters
    ----------
    predictions : path
        Made by `medseg predict`.
    data : path
        The manifest with the reference.
    output : path
        Folder for ``evaluation.json``, plots, and the tables it was computed from.
    overrides : sequence of str
        ``key=value`` for fields of `EvaluationSettings`, on top of those of the model.

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
    about, rows, findings = read_predictions(folder)
    settings = evaluation_settings(overrides, about["evaluation"])
    manifest = load_manifest(data)
    tables, failures, unlabelled = collect(folder, manifest, about, rows, findings, settings)
    evidence, result = _evaluate(tables, about, settings, rule)
    if about.get("multi_label"):
        by_class = class_figures(folder, about["classes"], tables.class_cases, tables.class_labels, settings)
        result["case_level"]["by_class"] = by_class
    result["counts"] |= {"n_unlabelled": unlabelled, "n_unreadable_reference": len(failures)}
    result["counts"]["n_out_of_scope"] = count_out_of_scope(rows)
    _say_training(result, rows)
    if rows and "fold" in rows[0]:
        fold_of = {row["case_id"]: row["fold"] for row in rows}
        result["cross_validation"] = fold_figures(evidence, fold_of, settings)
    notice = manifest.path.parent / "about.json"  # simulated data says here what it is
    if notice.is_file():
        result["notice"] = read_json(notice, needs=("notice",))["notice"]
    used = result.get("lesion_level", {}).get("rule", "").split(",")[0] or None
    result["settings"] = settings.model_dump(mode="json") | {"rule": used}
    result["pipeline"], result["operating_point"] = about["pipeline"], about["operating_point"]
    further = {"marks.csv": (MARK_COLUMNS[:6], tables.marks), "lesions.csv": (LESION_COLUMNS, tables.lesions)}
    write_evaluation(output, evidence, result, tables=further)
    return result, failures


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


def _say_training(result: dict[str, Any], rows: list[dict[str, str]]) -> None:
    """Say which cases the model was trained on, and of which that is not known."""
    training = sum(row.get("training_case") == "1" for row in rows)
    unknown = sum(row.get("training_case", "") == "" for row in rows)
    result["counts"] |= {"n_training": training, "n_training_unknown": unknown}
    if unknown:
        logger.warning("%d of %d case(s): it is not known whether the model was trained on them", unknown, len(rows))
    if training:
        result["warning"] = f"{training} case(s) were in the training part: these figures do not estimate performance"


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
    localises, several = _localises(about), about.get("multi_label", False)
    failed = row["status"] != "ok"
    placed = localises and (case.annotation != "label" or case.label == 0)
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
            "predicted_label": row.get("predicted_label", ""), "localised": int(placed or not localises),
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


def _evaluate(
    tables: Tables, about: dict[str, Any], settings: EvaluationSettings, rule: str | None
) -> tuple[Evidence, dict[str, Any]]:
    cases = _columns(tables.cases, CASE_COLUMNS)
    threshold = about.get("operating_point")
    labels_only = about["detector"] == "classification" and not tables.lesions  # nobody marked where
    if labels_only or not _localises(about):
        evidence = evidence_of_tables(cases, settings=settings)
        result = evaluate_evidence(evidence, settings=settings, threshold=threshold)
        return evidence, result | calibration_of(evidence, tables.cases, settings)
    to_match = matching_tables(tables, rule or settings.rule)
    pixel = None
    if about["detector"] == "segmentation" and tables.any_mask:
        names = [case.case_id for case, _ in tables.maps]
        voxels = voxel_figures(VoxelCases(tables.maps, settings.pixel_region), names=names) if names else None
        pixel = PixelEvidence(tables.masks, tables.pixels, voxels)
    evidence = evidence_of_tables(cases, settings=settings, pixel=pixel, **to_match)
    result = evaluate_evidence(evidence, settings=settings, pixel=pixel, threshold=threshold)
    on_lesions = marks_on_lesions(evidence, *to_match.values())
    return evidence, result | calibration_of(evidence, tables.cases, settings, tables.marks, on_lesions)


def matching_tables(tables: Tables, rule: str | None) -> dict[str, Any]:
    """Marks and lesions with the rule by which they are matched, as `evidence_of_tables` takes them.

    Unless a `rule` is given hits are looked up in the masks, where every reference is one (`pairs`); else they are
    marks inside the boxes, where every lesion has one; else marks nearer than half the diameter.
    """
    marks = _columns(tables.marks, ("case_id", "x", "y", "z", "score", "class", *MARK_COLUMNS[-6:]))
    lesions = _columns(tables.lesions, ("case_id", "x", "y", "z", "class", "ignore", *LESION_COLUMNS[-6:]))
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


def _localises(about: dict[str, Any]) -> bool:
    return bool(about.get("localises", about["detector"] != "classification"))


def _columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: [row.get(name, "") for row in rows] for name in names}
