"""Rectangles on the slices of a volume, joined into boxes of lesions."""

from collections.abc import Iterable
from typing import Any

__all__ = ["join_slices"]


def join_slices(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join boxes of single slices into one box a lesion.

    A box continues that of the slice before where they overlap and agree in class, reader and ignore, the largest
    overlap first; the lesion's box holds them all. A slice without a box ends a lesion.

    Parameters
    ----------
    rows : iterable of dict
        In the columns of ``boxes.csv``, with ``z_min`` and ``z_max`` = ``z_min`` + 1.

    Examples
    --------
    >>> slices = [{"x_min": 0, "y_min": 0, "x_max": 4, "y_max": 4 + z, "z_min": z, "z_max": z + 1} for z in (3, 4)]
    >>> join_slices(slices)
    [{'x_min': 0, 'y_min': 0, 'x_max': 4, 'y_max': 8, 'z_min': 3, 'z_max': 5}]
    """
    lesions: list[dict[str, Any]] = []
    last: dict[int, dict[str, Any]] = {}  # place in `lesions` -> its box on the last slice
    by_slice: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        by_slice.setdefault(row["z_min"], []).append(row)
    for z in sorted(by_slice):
        boxes = by_slice[z]
        open_ones = {place: box for place, box in last.items() if box["z_max"] == z}
        pairs = [
            (_overlap(before, box), place, number)
            for place, before in open_ones.items()
            for number, box in enumerate(boxes)
            if all(before.get(key) == box.get(key) for key in ("class", "reader", "ignore"))
        ]
        joined: dict[int, int] = {}  # number of the box -> place of its lesion
        for area, place, number in sorted(pairs, key=lambda pair: -pair[0]):
            if area > 0 and number not in joined and place not in joined.values():
                joined[number] = place
        for number, box in enumerate(boxes):
            if number in joined:
                lesions[joined[number]] = _envelope(lesions[joined[number]], box)
            else:
                lesions.append(dict(box))
            last[joined.get(number, len(lesions) - 1)] = box
    return lesions


def _overlap(a: dict[str, Any], b: dict[str, Any]) -> float:
    sides = [min(a[f"{axis}_max"], b[f"{axis}_max"]) - max(a[f"{axis}_min"], b[f"{axis}_min"]) for axis in "xy"]
    return float(max(sides[0], 0) * max(sides[1], 0))


def _envelope(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    low = {f"{axis}_min": min(a[f"{axis}_min"], b[f"{axis}_min"]) for axis in "xyz"}
    high = {f"{axis}_max": max(a[f"{axis}_max"], b[f"{axis}_max"]) for axis in "xyz"}
    return {**a, **low, **high}
