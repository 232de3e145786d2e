"""Which mark lies on which lesion, by each of the rules."""

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.tables import Columns

__all__ = ["LUNA16_MARKS", "Pairs", "best_marks", "check_rule", "hits_of"]

LUNA16_MARKS = 100  # best marks of a scan that the challenge looks at
LUNA16_UNKNOWN_DIAMETER = 10.0  # mm, for excluded findings whose diameter is below 0
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]  # mark, lesion, how well they agree (0 to 1)


def check_rule(rule: str) -> None:
    """Refuse a rule that there is not.

    Raises
    ------
    TableError
        Saying what is allowed.
    """
    if isinstance(rule, str) and rule.startswith(("iou:", "ior:")):
        _threshold(rule)
    elif rule not in ("distance", "luna16", "inside"):
        raise TableError(f"rule '{rule}': allowed are distance, luna16, inside, iou:T and ior:T (for example iou:0.2)")


def _threshold(rule: str) -> float:
    try:
        value = float(rule[4:])
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise TableError(f"rule '{rule}': the overlap is a number from 0 to below 1, for example iou:0.2")
    return value


def best_marks(marks: Columns, limit: int) -> np.ndarray:
    """Of a scan with more than `limit` marks, those above the score of the next one: the challenge's program.

    Returns
    -------
    ndarray of bool, shape (n_marks,)
    """
    keep = np.ones(len(marks["case"]), dtype=bool)
    for where in _by_case(marks["case"]).values():
        if len(where) > limit:
            scores = marks["score"][where]
            keep[where] = scores > np.sort(scores)[::-1][limit]
    return keep


def _by_case(case: np.ndarray) -> dict[int, np.ndarray]:
    """Rows of each case that has any."""
    order = np.argsort(case, kind="stable")
    starts = np.flatnonzero(np.diff(case[order])) + 1
    return {int(case[rows[0]]): rows for rows in np.split(order, starts) if len(rows)}


def hits_of(cases: Columns, marks: Columns, lesions: Columns, rule: str, *, class_aware: bool) -> Pairs:
    """All pairs of a mark and a lesion on which it lies.

    Returns
    -------
    mark, lesion : ndarray of int, shape (n_pairs,)
    quality : ndarray of float, shape (n_pairs,)
        1 - distance / radius, or the overlap; 1 for ``inside``.

    Raises
    ------
    TableError
        For columns that the rule needs, and lesions that nothing can hit.
    """
    diameter = lesions["diameter"]
    if rule in ("distance", "luna16"):
        if rule == "luna16":
            diameter = np.where(lesions["ignore"] & (diameter < 0), LUNA16_UNKNOWN_DIAMETER, diameter)
        _check_diameters(cases, lesions)
    if rule not in ("distance", "luna16"):
        works = np.isin(cases["status"], ("", "ok"))
        _check_boxes(cases, lesions, "lesion", ~lesions["ignore"] & works[lesions["case"]])
        if rule != "inside":
            _check_boxes(cases, marks, "mark", works[marks["case"]])
    found: list[Pairs] = []
    rows_of = _by_case(marks["case"])
    for case, own in _by_case(lesions["case"]).items():
        rows = rows_of.get(case)
        if rows is None:
            continue
        if rule in ("distance", "luna16"):
            hit, quality = _near(marks, lesions, diameter, rows, own)
        elif rule == "inside":
            hit, quality = _inside(marks, lesions, rows, own)
        else:
            hit, quality = _overlapping(marks, lesions, rows, own, rule)
        if class_aware:
            hit &= marks["class"][rows][:, None] == lesions["class"][own][None]
        mark, lesion = np.nonzero(hit)
        found.append((rows[mark], own[lesion], quality[mark, lesion]))
    if not found:
        return np.empty(0, int), np.empty(0, int), np.empty(0)
    mark, lesion, quality = (np.concatenate(part) for part in zip(*found))
    return mark, lesion, quality


def _check_diameters(cases: Columns, lesions: Columns) -> None:
    failed = ~np.isin(cases["status"], ("", "ok"))[lesions["case"]]
    none = ~(lesions["diameter"] > 0) & ~lesions["ignore"] & ~failed
    if none.any():
        case_id = cases["case_id"][lesions["case"][int(np.flatnonzero(none)[0])]]
        raise TableError(f"lesions: a lesion of case {case_id} has no diameter above 0, so no mark can be near enough")


def _check_boxes(cases: Columns, table: Columns, kind: str, needed: np.ndarray) -> None:
    """Refuse boxes that are missing, flat or turned: nothing could hit them."""
    for axis in "xyz":
        low, high = _edges(table, axis, f"{kind}s")
        wrong = needed & ~(high > low)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            case_id = cases["case_id"][table["case"][row]]
            raise TableError(
                f"{kind}s: a {kind} of case {case_id} has no box along {axis}: {axis}_min {low[row]:g} is not below "
                f"{axis}_max {high[row]:g} (half-open: one slice is z_min 0, z_max 1)"
            )


def _near(
    marks: Columns, lesions: Columns, diameter: np.ndarray, rows: np.ndarray, own: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    squared = np.zeros((len(rows), len(own)))
    for axis in "xyz":
        squared += (marks[axis][rows][:, None] - lesions[axis][own][None]) ** 2
    radius = np.maximum(diameter[own][None] / 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return squared < radius**2, 1 - np.sqrt(squared) / radius


def _inside(marks: Columns, lesions: Columns, rows: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hit = np.ones((len(rows), len(own)), dtype=bool)
    for axis in "xyz":
        low, high = _edges(lesions, axis, "lesions")
        at = marks[axis][rows][:, None]
        hit &= (at >= low[own][None]) & (at < high[own][None])
    return hit, np.ones(hit.shape)


def _edges(table: Columns, axis: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    if f"{axis}_min" not in table or f"{axis}_max" not in table:
        raise TableError(f"{name}: the rule needs the columns {axis}_min and {axis}_max")
    return table[f"{axis}_min"], table[f"{axis}_max"]


def _overlapping(
    marks: Columns, lesions: Columns, rows: np.ndarray, own: np.ndarray, rule: str
) -> tuple[np.ndarray, np.ndarray]:
    """Intersection over union, or over the reference (``ior``); over the mark for ignored regions."""
    shared, first, second = np.ones((len(rows), len(own))), np.ones((len(rows), 1)), np.ones((1, len(own)))
    for axis in "xyz":
        low_a, high_a = (edge[rows][:, None] for edge in _edges(marks, axis, "marks"))
        low_b, high_b = (edge[own][None] for edge in _edges(lesions, axis, "lesions"))
        shared *= np.clip(np.minimum(high_a, high_b) - np.maximum(low_a, low_b), 0, None)
        first, second = first * (high_a - low_a), second * (high_b - low_b)
    whole = np.broadcast_to(second, shared.shape) if rule.startswith("ior") else first + second - shared
    whole = np.where(lesions["ignore"][own][None], first, whole)
    with np.errstate(invalid="ignore", divide="ignore"):
        overlap = np.where(whole > 0, shared / whole, 0.0)
    return (overlap >= _threshold(rule)) & (overlap > 0), overlap
