"""Evaluate a prediction folder against the manifest's reference, or tables given as files."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medseg.config.load import evaluation_settings
from medseg.data.manifest import load_manifest
from medseg.evaluation import voxel_figures
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.reader_marks import marks_of_readers
from medseg.evaluation.report import PixelEvidence, evaluate_evidence, evidence_of_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.class_evaluation import class_figures
from medseg.experiment.evaluation_folder import write_evaluation
from medseg.experiment.fold_figures import fold_figures
from medseg.experiment.out_of_scope import count_out_of_scope
from medseg.experiment.prediction_tables import (
    CASE_COLUMNS,
    LESION_COLUMNS,
    MARK_COLUMNS,
    Tables,
    collect,
    columns,
    localises,
    matching_tables,
    read_predictions,
)
from medseg.experiment.probabilities import calibration_of, marks_on_lesions
from medseg.experiment.reader_evaluation import evaluate_readers
from medseg.experiment.reference import VoxelCases
from medseg.files import read_csv, read_json

__all__ = ["evaluate_predictions", "evaluate_table_files"]

logger = logging.getLogger(__name__)


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


def _say_training(result: dict[str, Any], rows: list[dict[str, str]]) -> None:
    """Say which cases the model was trained on, and of which that is not known."""
    training = sum(row.get("training_case") == "1" for row in rows)
    unknown = sum(row.get("training_case", "") == "" for row in rows)
    result["counts"] |= {"n_training": training, "n_training_unknown": unknown}
    if unknown:
        logger.warning("%d of %d case(s): it is not known whether the model was trained on them", unknown, len(rows))
    if training:
        result["warning"] = f"{training} case(s) were in the training part: these figures do not estimate performance"


def _evaluate(
    tables: Tables, about: dict[str, Any], settings: EvaluationSettings, rule: str | None
) -> tuple[Evidence, dict[str, Any]]:
    cases = columns(tables.cases, CASE_COLUMNS)
    threshold = about.get("operating_point")
    labels_only = about["detector"] == "classification" and not tables.lesions  # nobody marked where
    if labels_only or not localises(about):
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
