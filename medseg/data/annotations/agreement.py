"""What several readers agree on, of boxes and points: one lesion where they marked the same."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from math import dist

import numpy as np

from medseg.data.annotations.places import box_lesion
from medseg.lesion import Lesion
from medseg.volume import Grid

__all__ = ["agreed_lesions"]


def agreed_lesions(lesions: Sequence[Lesion], grid: Grid, *, n_readers: int) -> list[Lesion]:
    """Join the marks of several readers on one lesion, and ignore what fewer than half of them marked.

    Marks of two readers are of one lesion where the centre of one lies inside the other, the nearest first; a reader
    marks a lesion once. Position, box and diameter are the means of its marks, the class is that of most.

    Parameters
    ----------
    lesions : sequence of Lesion
        Of all readers of a case.
    n_readers : int
        How many readers looked at the case, also those who marked nothing. Of one, all lesions stay as they are.
    """
    if n_readers < 2:
        return list(lesions)
    return [_joined([lesions[i] for i in members], grid, n_readers) for members in _groups(lesions)]


def _groups(lesions: Sequence[Lesion]) -> list[list[int]]:
    """Places of the marks of each lesion; no reader twice."""
    pairs = [(_distance(lesions[i], lesions[j]), i, j) for i, j in combinations(range(len(lesions)), 2)]
    group_of = [[i] for i in range(len(lesions))]
    for _, i, j in sorted(pair for pair in pairs if np.isfinite(pair[0])):
        a, b = group_of[i], group_of[j]
        if not {lesions[k].reader for k in a} & {lesions[k].reader for k in b}:
            a += b
            for k in b:
                group_of[k] = a
    return [group for i, group in enumerate(group_of) if group[0] == i]


def _distance(a: Lesion, b: Lesion) -> float:
    """Distance between centres; infinite where neither lies inside the other."""
    near = _holds(a, b) or _holds(b, a)
    return dist((a.x, a.y, a.z), (b.x, b.y, b.z)) if near else float("inf")


def _holds(a: Lesion, b: Lesion) -> bool:
    if a.box is not None and b.box is not None:
        centre = [(low + high) / 2 for low, high in zip(b.box[:3], b.box[3:])]
        return all(low <= c < high for low, c, high in zip(a.box[:3], centre, a.box[3:]))
    return dist((a.x, a.y, a.z), (b.x, b.y, b.z)) < a.diameter / 2


def _joined(marks: list[Lesion], grid: Grid, n_readers: int) -> Lesion:
    names = Counter(mark.name for mark in marks)
    facts = {
        "name": min(names, key=lambda name: (-names[name], name)),
        "reader": ";".join(sorted({mark.reader for mark in marks})),
        "ignore": sum(not mark.ignore for mark in marks) * 2 < n_readers,
    }
    boxes = [mark.box for mark in marks if mark.box is not None]
    if boxes:
        corners = np.mean(boxes, axis=0)
        return box_lesion(corners[:3], corners[3:], grid, **facts)
    x, y, z = np.mean([(mark.x, mark.y, mark.z) for mark in marks], axis=0).tolist()
    diameters = [mark.diameter for mark in marks if mark.diameter > 0]
    return replace(marks[0], x=x, y=y, z=z, diameter=float(np.mean(diameters)) if diameters else 0.0, **facts)  # type: ignore[arg-type]
