"""Which mark hits which lesion, apart from what is computed from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.tables import Columns, Source, cases_table, lesions_table, marks_table

__all__ = ["Matches", "check_rule", "match_marks", "match_pairs"]

LUNA16_MARKS = 100  # best marks of a scan that the challenge looks at
LUNA16_UNKNOWN_DIAMETER = 10.0  # mm, for excluded findings whose diameter is below 0


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Result of matching; every lesion-level figure is a function of it.

    Parameters
    ----------
    n_cases : int
        All cases, also those without marks and lesions.
    patient : ndarray of int, shape (n_cases,)
        Number of each case's patient.
    lesion_case : ndarray of int, shape (n_lesions,)
        Case of each lesion that counts (ignored lesions are left out).
    lesion_score : ndarray of float, shape (n_lesions,)
        Score of its best mark, minus infinity where it is unmarked.
    lesion_weight : ndarray of float, shape (n_lesions,)
        Weights within a case, summing to 1.
    false_case, false_score : ndarray, shape (n_false,)
        Marks that are false positives.
    n_neither : int
        Marks that count as neither: further hits of a lesion, hits of ignored lesions.
    """

    n_cases: int
    patient: np.ndarray
    lesion_case: np.ndarray
    lesion_score: np.ndarray
    lesion_weight: np.ndarray
    false_case: np.ndarray
    false_score: np.ndarray
    n_neither: int
    rule: str

    @property
    def n_lesions(self) -> int:
        """Lesions that count."""
        return len(self.lesion_case)

    @property
    def positive(self) -> np.ndarray:
        """Whether each case has a lesion that counts, shape (n_cases,)."""
        flags = np.zeros(self.n_cases, dtype=bool)
        flags[self.lesion_case] = True
        return flags


def match_marks(cases: Source, marks: Source | None, lesions: Source | None, *, rule: str = "distance") -> Matches:
    """Match marks with lesions.

    A lesion's best mark counts; further marks on it are neither hit nor false positive. A mark on an ignored
    lesion counts as neither, but lesions that count match first. One mark may hit two lesions.

    Marks of cases whose ``status`` is not ``ok`` are left out; their lesions stay.

    Parameters
    ----------
    cases, marks, lesions : path or mapping of columns
        The tables of the evaluation. No marks and no lesions are allowed.
    rule : str
        ``distance``: nearer to the centre than half the diameter; ``luna16``: the same to the challenge's
        letter (100 best marks a scan, unknown diameters of excluded findings are 10 mm); ``inside``: inside
        the lesion's half-open box; ``iou:T``: overlap of boxes above T.

    Raises
    ------
    TableError
        For an unknown rule or columns that a rule needs.
    """
    check_rule(rule)
    case_table = cases_table(cases)
    mark_table = marks_table(marks, case_table["case_id"])
    lesion_table = lesions_table(lesions, case_table["case_id"])
    if rule in ("distance", "luna16"):
        _check_diameters(case_table, lesion_table)
    if rule == "luna16":
        mark_table = _best(mark_table, LUNA16_MARKS)
        unknown = lesion_table["ignore"] & (lesion_table["diameter"] < 0)
        lesion_table["diameter"] = np.where(unknown, LUNA16_UNKNOWN_DIAMETER, lesion_table["diameter"])
    pairs = [
        (int(mark), int(lesion))
        for lesion in range(len(lesion_table["x"]))
        for mark in _hits(mark_table, lesion_table, lesion, rule)
    ]
    return _resolve(case_table, mark_table, lesion_table, pairs, rule)


def match_pairs(
    cases: Source, marks: Source | None, lesions: Source | None, pairs: list[tuple[int, int]], *, rule: str = "inside"
) -> Matches:
    """Match with hits that are known already, as (row of the mark, row of the lesion)."""
    case_table = cases_table(cases)
    mark_table = marks_table(marks, case_table["case_id"])
    lesion_table = lesions_table(lesions, case_table["case_id"])
    return _resolve(case_table, mark_table, lesion_table, pairs, rule)


def _best(marks: Columns, limit: int) -> Columns:
    """Of a scan with more than `limit` marks, those above the score of the next one: the challenge's program."""
    keep = np.ones(len(marks["case"]), dtype=bool)
    for case in np.unique(marks["case"]):
        where = np.flatnonzero(marks["case"] == case)
        if len(where) > limit:
            scores = marks["score"][where]
            keep[where] = scores > np.sort(scores)[::-1][limit]
    return {name: values[keep] for name, values in marks.items()}


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises
    ------
    TableError
        Saying what is allowed.
    """
    if rule.startswith("iou:"):
        _threshold(rule)
    elif rule not in ("distance", "luna16", "inside"):
        raise TableError(f"rule '{rule}': allowed are distance, luna16, inside and iou:T (for example iou:0.2)")


def _check_diameters(cases: Columns, lesions: Columns) -> None:
    failed = ~np.isin(cases["status"], ("", "ok"))[lesions["case"]]
    none = (lesions["diameter"] <= 0) & ~lesions["ignore"] & ~failed
    if none.any():
        case_id = cases["case_id"][lesions["case"][int(np.flatnonzero(none)[0])]]
        raise TableError(f"lesions: a lesion of case {case_id} has no diameter above 0, so no mark can be near enough")


def _hits(marks: Columns, lesions: Columns, lesion: int, rule: str) -> np.ndarray:
    same = np.flatnonzero(marks["case"] == lesions["case"][lesion])
    if rule in ("distance", "luna16"):
        squared = sum((marks[axis][same] - lesions[axis][lesion]) ** 2 for axis in "xyz")
        return same[squared < (lesions["diameter"][lesion] / 2) ** 2]
    if rule == "inside":
        inside = np.ones(len(same), dtype=bool)
        for axis in "xyz":
            low, high = _edges(lesions, axis, "lesions", rule)
            inside &= (marks[axis][same] >= low[lesion]) & (marks[axis][same] < high[lesion])
        return same[inside]
    return same[_overlap(marks, lesions, same, lesion, rule) > _threshold(rule)]


def _threshold(rule: str) -> float:
    try:
        value = float(rule.removeprefix("iou:"))
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise TableError(f"rule '{rule}': the overlap is a number from 0 to below 1, for example iou:0.2")
    return value


def _edges(table: Columns, axis: str, name: str, rule: str) -> tuple[np.ndarray, np.ndarray]:
    if f"{axis}_min" not in table or f"{axis}_max" not in table:
        raise TableError(f"{name}: rule '{rule}' needs the columns {axis}_min and {axis}_max")
    return table[f"{axis}_min"], table[f"{axis}_max"]


def _overlap(marks: Columns, lesions: Columns, same: np.ndarray, lesion: int, rule: str) -> np.ndarray:
    shared = first = second = np.ones(len(same))
    for axis in "xyz":
        a, b = _edges(marks, axis, "marks", rule)
        low, high = _edges(lesions, axis, "lesions", rule)
        shared = shared * np.clip(np.minimum(b[same], high[lesion]) - np.maximum(a[same], low[lesion]), 0, None)
        first = first * (b[same] - a[same])
        second = second * (high[lesion] - low[lesion])
    return shared / (first + second - shared)


def _resolve(cases: Columns, marks: Columns, lesions: Columns, pairs: list[tuple[int, int]], rule: str) -> Matches:
    n_marks, n_lesions = len(marks["score"]), len(lesions["x"])
    best = np.full(n_lesions, -np.inf)
    best_mark = np.full(n_lesions, -1)
    on_counted = np.zeros(n_marks, dtype=bool)
    on_any = np.zeros(n_marks, dtype=bool)
    failed = ~np.isin(cases["status"], ("", "ok"))[marks["case"]]
    for mark, lesion in pairs:
        if failed[mark]:
            continue
        on_any[mark] = True
        if not lesions["ignore"][lesion]:
            on_counted[mark] = True
            if marks["score"][mark] > best[lesion]:
                best[lesion], best_mark[lesion] = marks["score"][mark], mark
    counted = ~lesions["ignore"]
    false = ~on_any & ~failed
    n_hits = len(set(best_mark[counted & (best_mark >= 0)].tolist()))
    _, patient = np.unique(cases["patient_id"], return_inverse=True)
    return Matches(
        n_cases=len(cases["case_id"]),
        patient=patient,
        lesion_case=lesions["case"][counted],
        lesion_score=best[counted],
        lesion_weight=_weights(lesions["case"][counted], lesions["weight"][counted]),
        false_case=marks["case"][false],
        false_score=marks["score"][false],
        n_neither=int(on_any.sum()) - n_hits,
        rule=rule,
    )


def _weights(case: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 in each case: those given, or 1/L."""
    raw: Any = np.where(np.isnan(given), 1.0, given)
    if len(case) == 0:
        return raw
    some = np.bincount(case, weights=np.isnan(given)) % np.maximum(np.bincount(case), 1) != 0
    total = np.bincount(case, weights=raw)
    if some.any() or (raw < 0).any() or (total[case] <= 0).any():
        raise TableError("lesions: the weights of a case must be given for all of its lesions and sum to more than 0")
    return raw / total[case]
