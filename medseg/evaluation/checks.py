"""Arrays given to the evaluation, checked once and for all."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import TableError

__all__ = ["checked_confidence", "checked_labels", "checked_range", "checked_ratings", "checked_scores", "numbered"]


def checked_scores(scores: ArrayLike, *, name: str = "score") -> np.ndarray:
    """A list of finite numbers as float64, shape (n,).

    Raises
    ------
    TableError
        Naming the first case (counted from 0) whose score is missing or infinite.
    """
    if np.ma.is_masked(scores):
        raise TableError(f"the {name}s are masked: leave out the cases without one")
    try:
        array = np.asarray(scores)
        if array.dtype.kind in "cmM":
            raise TypeError
        array = array.astype(np.float64)
    except (TypeError, ValueError):
        raise TableError(f"the {name}s must be numbers") from None
    if array.ndim != 1:
        raise TableError(f"the {name}s must be one list, found an array of shape {array.shape}")
    odd = np.flatnonzero(~np.isfinite(array))
    if len(odd):
        what = "not a number" if np.isnan(array[odd[0]]) else "infinite"
        raise TableError(f"the {name} of case number {odd[0]} is {what}")
    return array


def checked_labels(y_true: ArrayLike) -> np.ndarray:
    """Labels 0 and 1 (or False and True) as bool, shape (n,).

    Raises
    ------
    TableError
        For any other value.
    """
    truth = np.asarray(y_true)
    if truth.ndim != 1:
        raise TableError(f"the labels must be one list, found an array of shape {truth.shape}")
    odd = np.flatnonzero(~np.isin(truth, (0, 1)))
    if len(odd):
        raise TableError(f"labels must be 0 or 1, found {truth[odd[0]]!s} for case number {odd[0]}")
    return truth.astype(bool)


def checked_ratings(y_true: ArrayLike, y_score: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Labels as bool and finite scores as float64, with at least one case of either kind.

    Raises
    ------
    TableError
        As `checked_labels` and `checked_scores`, for lists that differ in length, and for one kind of case only.
    """
    truth, score = checked_labels(y_true), checked_scores(y_score)
    if truth.shape != score.shape:
        raise TableError(f"labels and scores must be two lists of one length, found {len(truth)} and {len(score)}")
    if truth.all() or not truth.any():
        raise TableError("ROC analysis needs cases with and without disease, found one kind only")
    return truth, score


def checked_range(given: tuple[float, float], name: str = "range") -> tuple[float, float]:
    """A range that rises within 0 to 1.

    Raises
    ------
    TableError
        When it does not.
    """
    try:
        low, high = (float(end) for end in given)
    except (TypeError, ValueError):
        raise TableError(f"a {name} of the ROC curve is two numbers, found {given!r}") from None
    if not 0 <= low < high <= 1:
        raise TableError(f"a {name} of the ROC curve rises within 0 to 1, found {given}")
    return low, high


def checked_confidence(confidence: float) -> float:
    """A confidence strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise TableError(f"the confidence lies between 0 and 1, found {confidence}")
    return float(confidence)


def numbered(unit: Any, n: int) -> np.ndarray:
    """Number of each case's unit (patient) from 0, shape (n,); None: each case is one.

    Raises
    ------
    TableError
        When there is not one unit for each case.
    """
    if unit is None:
        return np.arange(n)
    names = np.asarray(unit)
    if names.shape != (n,):
        raise TableError(f"one unit (patient) is needed for each of the {n} cases, found {names.shape}")
    missing = [number for number, name in enumerate(names.tolist()) if str(name) in ("", "None", "nan", "<NA>", "NaT")]
    if missing:
        raise TableError(f"case number {missing[0]} has no unit (patient)")
    try:
        return np.unique(names, return_inverse=True)[1].reshape(-1)
    except TypeError:  # numbers and texts have no common order
        return np.unique([f"{type(name).__name__} {name}" for name in names], return_inverse=True)[1].reshape(-1)
