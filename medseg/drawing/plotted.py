"""What is drawn, checked: arrays of one length, fractions, curves that rise."""

from collections.abc import Collection, Mapping
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import OutputError

__all__ = [
    "ROUNDING",
    "Curve",
    "arrays",
    "check_names",
    "defined",
    "fractions",
    "recall_curve",
    "rising",
    "rising_grid",
    "say",
]

ROUNDING = 1e-9  # of fractions and limits that were computed

Curve = tuple[ArrayLike, ArrayLike]
Points = tuple[np.ndarray, np.ndarray]


def say(axes: Any, reason: str) -> None:
    """Write into an axis why it is empty."""
    box = {"facecolor": "white", "edgecolor": "none"}
    axes.text(0.5, 0.5, fill(reason, 36), transform=axes.transAxes, ha="center", va="center", color="0.35", bbox=box)


def defined(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether a curve has points, all of them numbers."""
    return len(x) > 0 and bool(np.isfinite(x).all() and np.isfinite(y).all())


def arrays(what: str, *values: ArrayLike) -> list[np.ndarray]:
    """Lists as arrays of float64 and of one length."""
    found = [np.asarray(value, dtype=np.float64) for value in values]
    if any(array.ndim != 1 or array.shape != found[0].shape for array in found):
        raise OutputError(f"{what}: lists of one length were expected, found {[array.shape for array in found]}")
    return found


def fractions(what: str, *values: np.ndarray) -> None:
    """Refuse values outside 0 to 1; NaN is neither."""
    for array in values:
        wrong = array[(array < -ROUNDING) | (array > 1 + ROUNDING)]
        if len(wrong):
            raise OutputError(f"{what}: values within 0 to 1 were expected, found {wrong[0]:g}")


def rising(name: str, curve: Curve) -> Points:
    """A curve from 0 or above that never falls, its y within 0 to 1."""
    x, y = arrays(f"the curve {name}", *curve)
    if (np.diff(x) < 0).any() or (np.diff(y) < 0).any() or (x < 0).any():
        raise OutputError(f"the curve {name} must start at 0 or above and never fall")
    fractions(f"the curve {name}", y)
    return x, y


def recall_curve(name: str, curve: Curve) -> Points:
    """Recall that rises, with its precision."""
    recall, precision = arrays(f"the curve {name}", *curve)
    fractions(f"the curve {name}", recall, precision)
    if len(recall) and recall[0] > recall[-1]:
        recall, precision = recall[::-1], precision[::-1]
    if (np.diff(recall) < 0).any():
        raise OutputError(f"the recall of the curve {name} must rise or fall from end to end")
    return recall, precision


def rising_grid(what: str, values: ArrayLike) -> np.ndarray:
    """Numbers above 0 that rise."""
    (grid,) = arrays(what, values)
    if not len(grid) or not np.isfinite(grid).all() or grid[0] <= 0 or (np.diff(grid) <= 0).any():
        raise OutputError(f"{what} must be numbers above 0 that rise, found {grid.tolist()}")
    return grid


def check_names(names: Collection[str] | None, curves: Mapping[str, Any]) -> None:
    """Refuse a name that no curve has."""
    for name in names or ():
        if name not in curves:
            raise OutputError(f"there is no curve {name!r}; the curves are {', '.join(curves) or 'none'}")
