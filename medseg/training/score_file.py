"""What the scores of a model mean, from its validation part: the content of ``calibration.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medseg.detectors.settings import ClassificationSettings
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.report import evidence_of_tables
from medseg.inference.model import Model
from medseg.inference.score_calibration import CLOSEST, SCHEMA_VERSION
from medseg.training.operating_points import case_points, lesion_points
from medseg.training.score_calibration import fit_probability
from medseg.training.validation import ValidatedCase, Validation

__all__ = ["score_file"]

REPLICATES = 1000  # of the intervals, at most
NO_CANDIDATES = {"method": None, "reason": "the model makes no map, so it has no candidates"}
NO_LESION_SCORE = {"method": None, "reason": "the score of a case is the confidence in a class, not in a lesion"}


def score_file(model: Model, validation: Validation, patient_of: Mapping[str, str]) -> dict[str, Any]:
    """Probabilities and operating points from the validation part alone.

    Parameters
    ----------
    patient_of : mapping of str to str
        Patient of each case.
    """
    rows = validation.rows
    classifies = isinstance(model.pipeline.detector, ClassificationSettings)
    floor = max(model.pipeline.inference.min_score, CLOSEST)
    settings = model.pipeline.evaluation
    settings = settings.model_copy(update={"n_replicates": min(settings.n_replicates, REPLICATES)})
    points: list[dict[str, Any]] = []
    if model.makes_map:
        points += lesion_points(_evidence(rows, patient_of, settings), settings, floor=floor)
    scores_lesions = _scores_lesions(model)
    if scores_lesions and not (classifies and model.makes_map):  # there the scores of findings are of another scale
        cases = _cases([row for row in rows if _is_known(row)], patient_of)
        if cases["case_id"]:
            points += case_points(
                evidence_of_tables(cases, settings=settings), settings, floor=0.0 if classifies else floor
            )
    return {
        "schema_version": SCHEMA_VERSION,
        "source": "the validation part, on which the checkpoint was chosen too: figures of operating points are "
        "those of the cases that chose them, and too good",
        "n_cases": len(rows),
        "candidate": _of_candidates(rows, floor) if model.makes_map else NO_CANDIDATES,
        "case": _of_cases(rows, CLOSEST if classifies else floor) if scores_lesions else NO_LESION_SCORE,
        "operating_points": points,
    }


def _scores_lesions(model: Model) -> bool:
    """Whether the score of a case says that it has a lesion, and not how sure the model is of one of many classes."""
    detector = model.pipeline.detector
    if not isinstance(detector, ClassificationSettings) or detector.multi_label:
        return True
    return model.makes_map or len(model.pipeline.classes) == 2


def _is_known(row: ValidatedCase) -> bool:
    """Whether it is known if the case shows anything: not where what is read is absent, and the rest not read."""
    return row.positive or row.labels is None or bool((row.labels >= 0).all())


def _of_candidates(rows: list[ValidatedCase], floor: float) -> dict[str, Any]:
    truth, score = [], []
    for row in rows:
        if not row.placed:
            continue
        on_lesion = {mark for mark, _ in row.hits}
        for number, finding in enumerate(row.findings):
            if number not in row.neither:
                truth.append(number in on_lesion)
                score.append(finding.score)
    return fit_probability(np.array(truth, bool), np.array(score), lowest=floor)


def _of_cases(rows: list[ValidatedCase], floor: float) -> dict[str, Any]:
    known = [row for row in rows if _is_known(row)]
    return fit_probability(
        np.array([row.positive for row in known], bool), np.array([row.score for row in known]), lowest=floor
    )


def _cases(rows: list[ValidatedCase], patient_of: Mapping[str, str]) -> dict[str, list[Any]]:
    return {
        "case_id": [row.name for row in rows],
        "patient_id": [patient_of.get(row.name, row.name) for row in rows],
        "label": [int(row.positive) for row in rows],
        "score": [row.score for row in rows],
    }


def _evidence(rows: list[ValidatedCase], patient_of: Mapping[str, str], settings: Any) -> Evidence:
    """Candidates and lesions as tables, with the hits that are known."""
    cases = _cases(rows, patient_of)
    cases["label"] = [1 if row.n_lesions else 0 for row in rows]
    marks: dict[str, list[Any]] = {name: [] for name in ("case_id", "x", "y", "z", "score")}
    lesions: dict[str, list[Any]] = {name: [] for name in ("case_id", "x", "y", "z", "diameter_mm")}
    pairs = []
    for row in rows:
        first_lesion, mark_of = len(lesions["x"]), {}
        for number, finding in enumerate(row.findings):
            if number in row.neither:
                continue
            mark_of[number] = len(marks["x"])
            for name, value in zip(marks, (row.name, finding.x, finding.y, finding.z, finding.score)):
                marks[name].append(value)
        for _ in range(row.n_lesions):
            for name in lesions:
                lesions[name].append(row.name if name == "case_id" else 0.0)
        pairs += [(mark_of[mark], first_lesion + lesion) for mark, lesion in row.hits if mark in mark_of]
    return evidence_of_tables(cases, marks, lesions, settings=settings, rule="inside", pairs=pairs)
