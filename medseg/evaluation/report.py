"""``evaluation.json``: every figure of an evaluation with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.case_level import case_level, case_operating_point
from medseg.evaluation.evidence import Evidence, case_labels, case_scores, failed_cases, localised_cases
from medseg.evaluation.froc import froc
from medseg.evaluation.lesion_level import froc_band, lesion_level, lesion_operating_point
from medseg.evaluation.lesionwise import LesionwiseF1
from medseg.evaluation.masks import MaskFigures
from medseg.evaluation.matching import check_rule, match_checked
from medseg.evaluation.pixel import PixelCounts
from medseg.evaluation.pixel_level import pixel_level
from medseg.evaluation.precision import precision_recall
from medseg.evaluation.roc import roc_curve
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.tables import Columns, Source, cases_table, lesions_table, marks_table, reference_digests
from medseg.evaluation.voxels import VoxelFigures

__all__ = ["PixelEvidence", "evaluate_evidence", "evaluate_tables", "evidence_of_tables"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class PixelEvidence:
    """What the pixel level rests on.

    Parameters
    ----------
    masks : mapping of str to (MaskFigures, LesionwiseF1)
        Figures of the predicted mask of each case that has a reference mask; empty where masks were not saved.
    pixels : mapping of str to PixelCounts
        Voxels of each case by probability, for the intervals.
    voxels : VoxelFigures, optional
        The exact figures over all voxels.
    """

    masks: Mapping[str, tuple[MaskFigures, LesionwiseF1]]
    pixels: Mapping[str, PixelCounts]
    voxels: VoxelFigures | None = None


def evidence_of_tables(
    cases: Source,
    marks: Source | None = None,
    lesions: Source | None = None,
    *,
    settings: EvaluationSettings,
    rule: str = "distance",
    pairs: Sequence[tuple[int, int]] | None = None,
    pixel: PixelEvidence | None = None,
) -> Evidence:
    """Check the tables and match the marks.

    Raises
    ------
    TableError
        When a table is wrong, naming the case.
    """
    check_rule(rule)
    if marks is not None and lesions is None:
        raise TableError("marks are given without lesions; a table of lesions may be empty but for its header")
    table = cases_table(cases)
    rated = None if marks is None else marks_table(marks, table["case_id"])
    if rated is not None:
        _check_one_reader(rated)
    matches = None
    if lesions is not None:
        known = lesions_table(lesions, table["case_id"])
        options: Any = {
            "rule": rule, "assignment": settings.assignment, "duplicates": settings.duplicates,
            "class_aware": settings.class_aware,
        }  # fmt: skip
        matches = match_checked(table, rated, known, pairs=pairs, **options)
        table["reference"] = reference_digests(known, len(table["case_id"]))
        table["localised"] = localised_cases(table, matches)
    label, score = case_labels(table, matches), case_scores(table, rated)
    evidence = Evidence(table, label, score, matches, pixel.masks if pixel else {}, pixel.pixels if pixel else {})
    return evidence.in_scope()


def _check_one_reader(marks: Columns) -> None:
    """Refuse marks of several readers, which would count as those of one."""
    for column in ("reader", "modality"):
        names = sorted(set(marks[column].tolist()))
        if len(names) > 1:
            raise TableError(
                f"marks: there are several values of {column} ({', '.join(names[:3])}): match them apart with "
                "match_readers, or compare them with mark_study"
            )


def evaluate_tables(
    cases: Source,
    marks: Source | None = None,
    lesions: Source | None = None,
    *,
    settings: EvaluationSettings | None = None,
    rule: str = "distance",
    pairs: Sequence[tuple[int, int]] | None = None,
    pixel: PixelEvidence | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """Compute all figures.

    Parameters
    ----------
    cases, marks, lesions : path or mapping of columns
        Labels that are missing are taken from the lesions. A case whose ``status`` is not ``ok`` keeps its
        lesions, has no marks and gets the lowest score.
    pairs : sequence of (int, int), optional
        Hits that are known already (row of the mark, row of the lesion), instead of `rule`.
    pixel : PixelEvidence, optional
    threshold : float, optional
        Operating point that was chosen on other cases; ``settings.threshold`` comes first.

    Returns
    -------
    dict
        The content of ``evaluation.json``.

    Raises
    ------
    TableError
        When a table is wrong, naming the case.
    """
    settings = settings or EvaluationSettings()
    evidence = evidence_of_tables(cases, marks, lesions, settings=settings, rule=rule, pairs=pairs, pixel=pixel)
    return evaluate_evidence(evidence, settings=settings, pixel=pixel, threshold=threshold)


def evaluate_evidence(
    evidence: Evidence,
    *,
    settings: EvaluationSettings,
    pixel: PixelEvidence | None = None,
    threshold: float | None = None,
) -> dict[str, Any]:
    """All figures of `evidence`: the content of ``evaluation.json``."""
    threshold = threshold if settings.threshold is None else settings.threshold
    voxels = pixel.voxels if pixel else None
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "intervals": {
            "method": "stated beside each figure as ci_method",
            "resampling_unit": "patient",
            "strata": "patients with and without a positive case (lesion level: lesion)",
            "n_replicates": settings.n_replicates,
            "seed": settings.seed,
            "confidence": settings.confidence,
        },
        "counts": _counts(evidence),
    }
    result |= _levels(evidence, settings, threshold, pixel is not None, voxels)
    result["curves"] = _curves(evidence, settings)
    for column in settings.group_by:
        parts = _parts(evidence.table, column, settings)
        if len(parts) > 1:
            name = "by_group" if column == "group" else f"by_{column}"
            result[name] = {
                value: _part(evidence.of_cases(keep), settings, threshold, pixel is not None)
                for value, keep in parts.items()
            }
    return result


def _levels(
    evidence: Evidence,
    settings: EvaluationSettings,
    threshold: float | None,
    with_pixels: bool,
    voxels: VoxelFigures | None,
) -> dict[str, Any]:
    content: dict[str, Any] = {"case_level": case_level(evidence, settings)}
    placed = evidence.placed
    if placed is not None:
        content["lesion_level"] = lesion_level(placed, settings)
    if with_pixels:
        content["pixel_level"] = pixel_level(evidence, settings, voxels)
    if threshold is not None and not (evidence.label > 1).any():
        at: dict[str, Any] = {"threshold": threshold, "case_level": case_operating_point(evidence, settings, threshold)}
        if placed is not None:
            at["lesion_level"] = lesion_operating_point(placed, settings, threshold)
        content["at_operating_point"] = at
    return content


def _part(evidence: Evidence, settings: EvaluationSettings, threshold: float | None, pixels: bool) -> dict[str, Any]:
    counts = {"n_cases": len(evidence.label), "n_positive": int((evidence.label == 1).sum())}
    return {"counts": counts, **_levels(evidence, settings, threshold, pixels, None)}


def _parts(table: Columns, column: str, settings: EvaluationSettings) -> dict[str, np.ndarray]:
    """Cases of each value of a column; ages between the edges given; unknown ones in no part."""
    if column == "group" and not any(table["group"]):
        return {}
    if column not in table or not any(table[column]):
        raise TableError(f"group_by: no case has a {column} (column {column} of the cases)")
    if column != "age":
        return {value: table[column] == value for value in sorted(set(table[column].tolist()) - {""})}
    ages = []
    for case_id, cell in zip(table["case_id"], table["age"]):
        try:
            ages.append(float(cell) if cell else np.nan)
        except ValueError:
            raise TableError(f"cases: age '{cell}' of case {case_id} is not a number") from None
    if np.nanmin(ages) < 0:
        raise TableError(
            f"cases: age {np.nanmin(ages):g} of case {table['case_id'][int(np.nanargmin(ages))]} is below 0"
        )
    bounds = [0.0, *settings.age_edges, np.inf]
    parts = {}
    for low, high in pairwise(bounds):
        keep = (np.array(ages) >= low) & (np.array(ages) < high)
        if keep.any():
            parts[f"from {low:g}" if np.isinf(high) else f"{low:g} to below {high:g}"] = keep
    return parts


def _counts(evidence: Evidence) -> dict[str, Any]:
    placed = evidence.placed
    counts: dict[str, Any] = {
        "n_cases": len(evidence.label),
        "n_patients": len(set(evidence.patient.tolist())),
        "n_positive": int((evidence.label > 0).sum()),
        "n_failed": int(failed_cases(evidence.table).sum()),
        "n_out_of_scope": evidence.n_out_of_scope,
    }
    if evidence.matches is not None:
        counts |= {
            "n_lesions": placed.n_lesions if placed else 0,
            "n_lesions_marked": int(np.isfinite(placed.lesion_score).sum()) if placed else 0,
            "n_false_marks": len(placed.false_score) if placed else 0,
            "n_marks_neither": placed.n_neither if placed else 0,
            "n_not_localised": int((~evidence.table["localised"]).sum()),
        }
    return counts


def _curves(evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    usable = ~np.isnan(evidence.score) & ~np.isnan(evidence.label)
    label, score = evidence.label[usable], evidence.score[usable]
    if len(label) and set(np.unique(label)) == {0, 1}:
        curve = roc_curve(label, score)
        curves["roc"] = {"fpr": curve.fpr, "tpr": curve.tpr}
    matches = evidence.placed
    if matches is not None and matches.n_lesions:
        points = froc(matches)
        curves["froc"] = {"fp_per_case": points.fp_per_case, "sensitivity": points.sensitivity}
        curves["froc_band"] = froc_band(matches, settings)
        precision, recall = precision_recall(matches)
        curves["precision_recall"] = {"precision": precision, "recall": recall}
    if evidence.masks:
        volumes = [figures for figures, _ in evidence.masks.values()]
        curves["volumes"] = {
            "predicted": [figures.predicted_volume for figures in volumes],
            "reference": [figures.reference_volume for figures in volumes],
            "unit": volumes[0].unit,
        }
    return curves
