"""ROC curve, its area and partial areas."""

from dataclasses import dataclass

import numpy as np

from medseg.errors import TableError

__all__ = ["PartialAuc", "RocCurve", "partial_auc", "roc_auc", "roc_curve", "weighted_roc"]


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Points of a ROC curve from (0, 0) to (1, 1).

    Parameters
    ----------
    fpr, tpr : ndarray, shape (n,)
        False- and true-positive fractions.
    threshold : ndarray, shape (n,)
        Scores at or above it are called positive; infinity at (0, 0).
    """

    fpr: np.ndarray
    tpr: np.ndarray
    threshold: np.ndarray


@dataclass(frozen=True, slots=True)
class PartialAuc:
    """Partial area under the ROC curve.

    Parameters
    ----------
    raw : float
        The area itself.
    mcclish : float
        ``(1 + (raw - chance) / (perfect - chance)) / 2`` (McClish 1989, doi:10.1177/0272989X8900900307).
    below_chance : bool
        Whether the area is smaller than that of chance; it is reported as it is, never turned.
    """

    raw: float
    mcclish: float
    below_chance: bool


def _checked(y_true: np.ndarray, y_score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    truth, score = np.asarray(y_true), np.asarray(y_score, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != score.shape:
        raise TableError(f"labels and scores must be two lists of one length, found {truth.shape} and {score.shape}")
    if not np.isin(truth, (0, 1)).all():
        raise TableError("labels must be 0 or 1")
    if np.isnan(score).any():
        raise TableError(f"the score of case number {int(np.flatnonzero(np.isnan(score))[0])} is not a number")
    truth = truth.astype(bool)
    if truth.all() or not truth.any():
        raise TableError("ROC analysis needs cases with and without disease, found one kind only")
    return truth, score


def weighted_roc(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ROC points under case weights.

    Parameters
    ----------
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    fpr, tpr : ndarray, shape (replicate, point)
        Starting at 0; NaN in replicates without one kind of case.
    threshold : ndarray, shape (point,)
    """
    order = np.argsort(-score, kind="stable")
    ranked, positive = score[order], truth[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    weights = weights[:, order]
    true = np.cumsum(np.where(positive, weights, 0), axis=1, dtype=np.float64)[:, ends]
    false = np.cumsum(np.where(positive, 0, weights), axis=1, dtype=np.float64)[:, ends]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[:, -1:], false / false[:, -1:]
    start = np.zeros((len(weights), 1))
    return np.hstack([start, fpr]), np.hstack([start, tpr]), np.append(np.inf, ranked[ends])


def area(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    """Trapezoidal area of curves of shape (replicate, point)."""
    return np.sum(np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1)


def partial_area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Area of piecewise linear curves, shape (replicate, point), over low <= x <= high, exact at both ends."""
    x0, x1, y0, y1 = x[:, :-1], x[:, 1:], y[:, :-1], y[:, 1:]
    left, right = np.clip(x0, low, high), np.clip(x1, low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(x1 > x0, (y1 - y0) / (x1 - x0), 0.0)
    middle = y0 + slope * ((left + right) / 2 - x0)
    return np.sum((right - left) * middle, axis=1)


def roc_curve(y_true: np.ndarray, y_score: np.ndarray) -> RocCurve:
    """ROC curve; tied scores make one point.

    Raises
    ------
    TableError
        For labels other than 0 and 1, scores that are not numbers, or one kind of case only.
    """
    truth, score = _checked(y_true, y_score)
    fpr, tpr, threshold = weighted_roc(truth, score, np.ones((1, len(score))))
    return RocCurve(fpr[0], tpr[0], threshold)


def roc_auc(y_true: np.ndarray, y_score: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a diseased case scores higher, ties counting half.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    y_score : array-like of float, shape (n,)

    Raises
    ------
    TableError
        As `roc_curve`.

    Examples
    --------
    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    curve = roc_curve(y_true, y_score)
    return float(area(curve.fpr[None], curve.tpr[None])[0])


def partial_auc(
    y_true: np.ndarray,
    y_score: np.ndarray,
    *,
    fpr_range: tuple[float, float] | None = (0, 0.1),
    tpr_range: tuple[float, float] | None = None,
) -> PartialAuc:
    """Partial area under the ROC curve over a range of false-positive fraction, or of sensitivity.

    Parameters
    ----------
    fpr_range : tuple of float
        The area below the curve over these false-positive fractions.
    tpr_range : tuple of float, optional
        Instead: the integral of specificity over these sensitivities.

    Returns
    -------
    PartialAuc

    Examples
    --------
    >>> partial_auc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4], fpr_range=(0, 0.1)).raw
    0.1
    """
    curve = roc_curve(y_true, y_score)
    return _partial(curve.fpr[None], curve.tpr[None], fpr_range, tpr_range)


def _partial(
    fpr: np.ndarray,
    tpr: np.ndarray,
    fpr_range: tuple[float, float] | None,
    tpr_range: tuple[float, float] | None,
) -> PartialAuc:
    if tpr_range is not None:
        low, high = _range(tpr_range)
        raw = float(partial_area(tpr, 1 - fpr, low, high)[0])
        chance = ((1 - low) ** 2 - (1 - high) ** 2) / 2
    else:
        low, high = _range(fpr_range or (0, 1))
        raw = float(partial_area(fpr, tpr, low, high)[0])
        chance = (high**2 - low**2) / 2
    return PartialAuc(raw, mcclish(raw, chance, high - low), raw < chance - 1e-15)


def mcclish(raw, chance: float, perfect: float):  # type: ignore[no-untyped-def]
    """Standardise a partial area: 0.5 is chance, 1 is perfect."""
    return (1 + (raw - chance) / (perfect - chance)) / 2


def _range(given: tuple[float, float]) -> tuple[float, float]:
    low, high = float(given[0]), float(given[1])
    if not 0 <= low < high <= 1:
        raise TableError(f"a range of the ROC curve rises within 0 to 1, found {given}")
    return low, high
