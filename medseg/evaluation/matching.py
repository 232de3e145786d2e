"""Which mark counts for which lesion, apart from what is computed from it."""

import operator
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from medseg.errors import TableError
from medseg.evaluation.hits import LUNA16_MARKS, Pairs, best_marks, check_rule, hits_of
from medseg.evaluation.matches import Matches
from medseg.evaluation.tables import Columns, Source, cases_table, lesions_table, marks_table

__all__ = ["Assignment", "Duplicates", "check_rule", "match_checked", "match_marks", "match_pairs"]

Assignment = Literal["best", "one_to_one"]
Duplicates = Literal["neither", "false"]
KnownPairs = Sequence[tuple[int, int] | tuple[int, int, float]]


def match_marks(
    cases: Source,
    marks: Source | None,
    lesions: Source | None,
    *,
    rule: str = "distance",
    assignment: Assignment = "best",
    duplicates: Duplicates = "neither",
    class_aware: bool = False,
) -> Matches:
    """Match marks with lesions.

    A mark on an ignored lesion counts as neither hit nor false positive, but lesions that count match first. Marks of
    cases whose ``status`` is not ``ok`` are left out; their lesions stay.

    Parameters
    ----------
    cases, marks, lesions : path or mapping of columns
        The tables of the evaluation. No marks and no lesions are allowed.
    rule : str
        ``distance``: nearer to the centre than half the diameter; ``luna16``: the same to the challenge's letter (100
        best marks a scan, unknown diameters of excluded findings are 10 mm); ``inside``: inside the lesion's half-open
        box; ``iou:T``: intersection over union of the boxes of T or more (as COCO and Pascal VOC; any overlap for
        T = 0); ``ior:T``: the same of the intersection over the reference. For ignored regions both overlaps are the
        share of the mark that lies in the region.
    assignment : str
        ``best``: the best-scored mark on a lesion counts for it, and one mark may count for several lesions that it
        hits. ``one_to_one``: a mark counts for one lesion at most; of all such assignments that with the greatest sum
        of agreement (overlap, or 1 - distance / radius), whatever the scores.
    duplicates : str
        Further marks on a lesion are ``neither``, or ``false`` positives.
    class_aware : bool
        Marks hit lesions of their own class only (column ``class`` of both tables).

    Raises
    ------
    TableError
        For an unknown rule or columns that a rule needs.

    Examples
    --------
    >>> lesions = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "diameter_mm": [10]}
    >>> marks = {"case_id": ["a", "a", "b"], "x": [1, 5, 0], "y": [0] * 3, "z": [0] * 3, "score": [0.9, 0.8, 0.7]}
    >>> matches = match_marks({"case_id": ["a", "b"]}, marks, lesions)
    >>> matches.lesion_score.tolist(), matches.false_score.tolist()  # a distance of 5 is not below 10 / 2
    ([0.9], [0.8, 0.7])
    """
    return match_checked(
        *_tables(cases, marks, lesions),
        rule=rule,
        assignment=assignment,
        duplicates=duplicates,
        class_aware=class_aware,
    )


def match_checked(
    cases: Columns,
    marks: Columns | None,
    lesions: Columns,
    *,
    rule: str,
    pairs: KnownPairs | None = None,
    assignment: Assignment = "best",
    duplicates: Duplicates = "neither",
    class_aware: bool = False,
) -> Matches:
    """`match_marks`, or with `pairs` `match_pairs`, of tables that are checked already."""
    rated = marks_table(None, cases["case_id"]) if marks is None else marks
    _check_dimensions(rated, lesions)
    if pairs is not None:
        found = _known_pairs(rated, lesions, pairs, class_aware=class_aware)
    else:
        check_rule(rule)
        if rule == "luna16":
            keep = best_marks(rated, LUNA16_MARKS)
            rated = {name: values[keep] for name, values in rated.items()}
        if class_aware:
            _refuse_foreign_classes(rated, lesions)
        found = hits_of(cases, rated, lesions, rule, class_aware=class_aware)
    described = _described(rule, assignment, duplicates, class_aware)
    return _resolve(cases, rated, lesions, found, described, assignment, duplicates)


def match_pairs(
    cases: Source,
    marks: Source | None,
    lesions: Source | None,
    pairs: KnownPairs,
    *,
    rule: str = "inside",
    assignment: Assignment = "best",
    duplicates: Duplicates = "neither",
    class_aware: bool = False,
) -> Matches:
    """Match with hits that are known already, as (row of the mark, row of the lesion[, agreement from 0 to 1]).

    Raises
    ------
    TableError
        For a row that there is not, or a pair of two cases.
    """
    return match_checked(
        *_tables(cases, marks, lesions), rule=rule, pairs=pairs, assignment=assignment, duplicates=duplicates,
        class_aware=class_aware,
    )  # fmt: skip


def _known_pairs(marks: Columns, lesions: Columns, pairs: KnownPairs, *, class_aware: bool) -> Pairs:
    """Pairs given as rows, checked."""
    try:
        mark = np.array([operator.index(pair[0]) for pair in pairs], dtype=np.int64)
        lesion = np.array([operator.index(pair[1]) for pair in pairs], dtype=np.int64)
        quality = np.array([pair[2] if len(pair) > 2 else 1.0 for pair in pairs], dtype=np.float64)
    except (TypeError, ValueError, IndexError):
        raise TableError("pairs: (row of the mark, row of the lesion[, agreement]) were expected") from None
    if not np.isfinite(quality).all():
        raise TableError("pairs: an agreement is no finite number")
    for name, rows, table in (("mark", mark, marks), ("lesion", lesion, lesions)):
        if len(rows) and not (rows.min() >= 0 and rows.max() < len(table["case"])):
            raise TableError(f"pairs: there is no {name} in row {rows.max() if rows.min() >= 0 else rows.min()}")
    if (marks["case"][mark] != lesions["case"][lesion]).any():
        raise TableError("pairs: a mark and a lesion of two cases cannot be a hit")
    if class_aware:
        same = marks["class"][mark] == lesions["class"][lesion]
        mark, lesion, quality = mark[same], lesion[same], quality[same]
    return mark, lesion, quality


def _tables(cases: Source, marks: Source | None, lesions: Source | None) -> tuple[Columns, Columns, Columns]:
    table = cases_table(cases)
    return table, marks_table(marks, table["case_id"]), lesions_table(lesions, table["case_id"])


def _check_dimensions(marks: Columns, lesions: Columns) -> None:
    """Refuse boxes without z beside others in three dimensions: none would meet."""
    if not len(marks["case"]) or not len(lesions["case"]) or "z_min" not in marks or "z_min" not in lesions:
        return
    flat = [bool(((table["z_min"] == 0) & (table["z_max"] == 1)).all()) for table in (marks, lesions)]
    deep = [
        bool((table["z_max"] - table["z_min"] > 1).any() or (table["z_min"] > 0).any()) for table in (marks, lesions)
    ]
    if (flat[0] and deep[1]) or (flat[1] and deep[0]):
        raise TableError("the boxes of marks and lesions must both have z_min and z_max, or neither")


def _described(rule: str, assignment: str, duplicates: str, class_aware: bool) -> str:
    parts = [rule]
    parts += ["one to one"] if assignment == "one_to_one" else []
    parts += ["duplicates false"] if duplicates == "false" else []
    parts += ["by class"] if class_aware else []
    return ", ".join(parts)


def _refuse_foreign_classes(marks: Columns, lesions: Columns) -> None:
    """Refuse marks none of which has the class of any lesion: another vocabulary."""
    if len(marks["class"]) and len(lesions["class"]) and not set(marks["class"]) & set(lesions["class"]):
        own, theirs = sorted(set(marks["class"]))[0], sorted(set(lesions["class"]))[0]
        raise TableError(f"no mark has the class of any lesion (marks: '{own}' …, lesions: '{theirs}' …)")


def _resolve(
    cases: Columns,
    marks: Columns,
    lesions: Columns,
    pairs: Pairs,
    rule: str,
    assignment: Assignment,
    duplicates: Duplicates,
) -> Matches:
    if assignment not in ("best", "one_to_one") or duplicates not in ("neither", "false"):
        raise TableError("assignment is best or one_to_one, duplicates are neither or false")
    works = np.isin(cases["status"], ("", "ok"))[marks["case"]]
    mark, lesion, quality = (part[works[pairs[0]]] for part in pairs)
    counted = ~lesions["ignore"]
    real = counted[lesion]
    chosen = _assign(marks["score"], lesions["case"], mark[real], lesion[real], quality[real], assignment)
    score = np.full(len(counted), -np.inf)
    score[chosen >= 0] = marks["score"][chosen[chosen >= 0]]
    hit, on_real, on_any = (np.zeros(len(works), dtype=bool) for _ in range(3))
    hit[chosen[chosen >= 0]] = True
    on_real[mark[real]] = True
    on_any[mark] = True
    on_ignored = np.zeros(len(works), dtype=bool)
    on_ignored[mark[~real]] = True
    spare = on_any & ~hit
    if duplicates == "false":
        spare &= ~on_real | on_ignored
    false = works & ~hit & ~spare
    return Matches(
        case_id=cases["case_id"], patient_id=cases["patient_id"],
        lesion_case=lesions["case"][counted], lesion_score=score[counted],
        lesion_weight=_weights(lesions["case"][counted], lesions["weight"][counted]),
        lesion_diameter=lesions["diameter"][counted], lesion_class=lesions["class"][counted],
        false_case=marks["case"][false], false_score=marks["score"][false], false_class=marks["class"][false],
        neither_case=marks["case"][spare], neither_score=marks["score"][spare], neither_class=marks["class"][spare],
        rule=rule, positive=_positive(len(cases["case_id"]), lesions["case"][counted]),
    )  # fmt: skip


def _positive(n_cases: int, lesion_case: np.ndarray) -> np.ndarray:
    flags = np.zeros(n_cases, dtype=bool)
    flags[lesion_case] = True
    return flags


def _assign(
    score: np.ndarray, case: np.ndarray, mark: np.ndarray, lesion: np.ndarray, quality: np.ndarray, assignment: str
) -> np.ndarray:
    """Mark that counts for each lesion, -1 for none."""
    chosen = np.full(len(case), -1)
    if assignment == "best":
        order = np.lexsort((-mark, score[mark]))  # ascending, so that the best (of equals the first) is written last
        chosen[lesion[order]] = mark[order]
        return chosen
    for number in np.unique(case[lesion]):
        own = case[lesion] == number
        rows, row = np.unique(lesion[own], return_inverse=True)
        columns, column = np.unique(mark[own], return_inverse=True)
        agreement = np.zeros((len(rows), len(columns)))
        agreement[row, column] = np.maximum(quality[own], 1e-9)
        for i, j in zip(*linear_sum_assignment(agreement, maximize=True)):
            if agreement[i, j] > 0:
                chosen[rows[i]] = columns[j]
    return chosen


def _weights(case: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Weights that sum to 1 in each case: those given, or 1/L."""
    raw: Any = np.where(np.isnan(given), 1.0, given)
    if len(case) == 0:
        return raw
    some = np.bincount(case, weights=np.isnan(given)) % np.maximum(np.bincount(case), 1) != 0
    total = np.bincount(case, weights=raw)
    if some.any() or (raw < 0).any() or (total[case] <= 0).any() or not np.isfinite(total).all():
        raise TableError("lesions: the weights of a case must be given for all of its lesions and sum to more than 0")
    return raw / total[case]
