"""How well the calibrated probabilities of a prediction folder hold on the cases that are evaluated."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medseg.evaluation.evidence import Evidence, failed_cases
from medseg.evaluation.hits import hits_of
from medseg.evaluation.probability_level import probability_level
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.tables import lesions_table, marks_table

__all__ = ["calibration_of", "case_calibration", "mark_calibration", "marks_on_lesions"]

Table = dict[str, list[Any]]


def calibration_of(
    evidence: Evidence,
    cases: Sequence[Mapping[str, Any]],
    settings: EvaluationSettings,
    marks: Sequence[Mapping[str, Any]] = (),
    on_lesions: np.ndarray | None = None,
) -> dict[str, Any]:
    """``calibration`` of ``evaluation.json``; empty for predictions without probabilities, as older ones are.

    Parameters
    ----------
    cases, marks : sequence of mapping
        With ``case_id`` and ``probability``.
    on_lesions : ndarray, shape (n_marks,)
        Of `marks_on_lesions`.
    """
    cell_of = {row["case_id"]: row.get("probability", "") for row in cases}
    found = {
        "case": case_calibration(evidence, [cell_of[name] for name in evidence.table["case_id"].tolist()], settings)
    }
    if on_lesions is not None:
        names, cells = ([row.get(key, "") for row in marks] for key in ("case_id", "probability"))
        found["candidate"] = mark_calibration(evidence, on_lesions, names, cells, settings)
    known = {name: content for name, content in found.items() if content is not None}
    return {"calibration": known} if known else {}


def case_calibration(evidence: Evidence, cells: Sequence[Any], settings: EvaluationSettings) -> dict[str, Any] | None:
    """Calibration of the probability that a case has a lesion; None where no case has one, as in older folders.

    Parameters
    ----------
    cells : sequence
        Probability of each case of `evidence`, empty where there is none.
    """
    probability = _numbers(cells)
    keep = np.isfinite(probability) & np.isin(evidence.label, (0, 1)) & ~failed_cases(evidence.table)
    if not keep.any():
        return None
    case = np.flatnonzero(keep)
    return probability_level(evidence.label[keep] == 1, probability[keep], case, evidence.patient, settings)


def marks_on_lesions(
    evidence: Evidence, marks: Table, lesions: Table, rule: str, pairs: Sequence[tuple[int, int]] | None
) -> np.ndarray:
    """1 where a mark lies on a lesion that counts, NaN where it lies on ignored ones only, else 0, shape (n_marks,).

    Further marks on a lesion lie on it too. The class of marks and lesions does not matter.
    """
    names = evidence.table["case_id"]
    rated, known = marks_table(marks, names), lesions_table(lesions, names)
    if pairs is None:
        mark, lesion, _ = hits_of(evidence.table, rated, known, rule, class_aware=False)
    else:
        mark, lesion = np.array(pairs, int).reshape(-1, 2).T
    truth = np.zeros(len(rated["case"]))
    truth[mark[known["ignore"][lesion]]] = np.nan
    truth[mark[~known["ignore"][lesion]]] = 1
    return truth


def mark_calibration(
    evidence: Evidence, truth: np.ndarray, names: Sequence[str], cells: Sequence[Any], settings: EvaluationSettings
) -> dict[str, Any] | None:
    """Calibration of the probability that a candidate is a lesion; None where no candidate has one.

    Parameters
    ----------
    truth : ndarray, shape (n_marks,)
        Of `marks_on_lesions`.
    names, cells : sequence
        Case and probability of each candidate.
    """
    place = {name: number for number, name in enumerate(evidence.table["case_id"].tolist())}
    case = np.array([place[name] for name in names], int)
    probability = _numbers(cells)
    counts = evidence.table["localised"] & ~failed_cases(evidence.table)
    keep = np.isfinite(probability) & np.isfinite(truth) & counts[case]
    if not keep.any():
        return None
    return probability_level(truth[keep] == 1, probability[keep], case[keep], evidence.patient, settings)


def _numbers(cells: Sequence[Any]) -> np.ndarray:
    return np.array([np.nan if cell in ("", None) else float(cell) for cell in cells])
