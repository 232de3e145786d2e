"""Partial areas under the ROC curve: over false-positive fractions, over sensitivities, or both."""

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation.areas import area_weighted, mcclish
from medseg.evaluation.checks import checked_range, checked_ratings

__all__ = [
    "FEW_CASES",
    "PartialAuc",
    "cases_in_range",
    "partial_auc",
    "partial_auc_weighted",
    "two_way_partial_auc",
]

DEFAULT_RANGE = (0.0, 0.1)
FEW_CASES = 10  # fewer cases than this in the range: the area rests on a handful of images


@dataclass(frozen=True, slots=True)
class PartialAuc:
    """Partial area under the ROC curve.

    Parameters
    ----------
    raw : float
        The area itself.
    mcclish : float
        ``(1 + (raw - chance) / (perfect - chance)) / 2``: 0.5 is chance, 1 perfect (McClish 1989,
        doi:10.1177/0272989X8900900307).
    below_chance : bool
        Whether the area is smaller than that of chance; it is reported as it is, never turned.
    index : float
        The area divided by the width of the range: mean sensitivity over a range of false-positive fraction, mean
        specificity over a range of sensitivity. Over sensitivities from s to 1 it is the partial area index of
        Jiang, Metz and Nishikawa (1996, doi:10.1148/radiology.201.3.8939225).
    n_in_range : int
        Cases without disease (over sensitivities: with disease) that lie in the range. With fewer than ten an
        `EvaluationWarning` is given.
    """

    raw: float
    mcclish: float
    below_chance: bool
    index: float = float("nan")
    n_in_range: int = 0


def partial_auc(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    fpr_range: tuple[float, float] | None = DEFAULT_RANGE,
    tpr_range: tuple[float, float] | None = None,
) -> PartialAuc:
    """Partial area under the ROC curve over a range of false-positive fraction, or of sensitivity.

    Parameters
    ----------
    y_true : array-like of {0, 1}, shape (n,)
    y_score : array-like of float, shape (n,)
    fpr_range : tuple of float
        The area below the curve over these false-positive fractions; None is the whole range.
    tpr_range : tuple of float, optional
        Instead: the integral of specificity over these sensitivities.

    Returns
    -------
    PartialAuc

    Raises
    ------
    TableError
        As `roc_curve`, and for a range that does not rise within 0 to 1.

    Warns
    -----
    EvaluationWarning
        When fewer than ten cases lie in the range.

    Notes
    -----
    The curve is linear between its points, and the ends of the range are interpolated exactly.

    See Also
    --------
    two_way_partial_auc : with both a highest false-positive fraction and a lowest sensitivity.

    Examples
    --------
    >>> y_true, y_score = [0] * 100 + [1] * 4, [*range(100), 50, 101, 102, 103]
    >>> partial_auc(y_true, y_score, fpr_range=(0, 0.1)).raw
    0.075
    """
    if tpr_range is not None and fpr_range is not None and fpr_range is not DEFAULT_RANGE:
        raise TableError("a partial area is over fpr_range or tpr_range; for both limits use two_way_partial_auc")
    truth, score = checked_ratings(y_true, y_score)
    low, high = checked_range(tpr_range or fpr_range or (0, 1), "range of sensitivity" if tpr_range else "range")
    weights = np.ones((1, len(score)))
    raw = float(_raw(truth, score, weights, low, high, over_sensitivity=tpr_range is not None)[0])
    chance = _chance(low, high, over_sensitivity=tpr_range is not None)
    inside = cases_in_range(int(truth.sum()) if tpr_range else int((~truth).sum()), low, high)
    if inside < FEW_CASES:
        kind = "with" if tpr_range else "without"
        warnings.warn(
            f"only {inside} case(s) {kind} disease lie in the range {low:g} to {high:g} of the partial area",
            EvaluationWarning,
            stacklevel=2,
        )
    return PartialAuc(raw, mcclish(raw, chance, high - low), raw < chance - 1e-12, raw / (high - low), inside)


def partial_auc_weighted(
    y_true: np.ndarray,
    y_score: np.ndarray,
    weights: np.ndarray,
    *,
    fpr_range: tuple[float, float] | None = (0, 0.1),
    tpr_range: tuple[float, float] | None = None,
    standard: Literal["raw", "mcclish", "index"] = "mcclish",
) -> np.ndarray:
    """The partial area under case weights: what `bootstrap` takes with ``vectorized=True``.

    Parameters
    ----------
    y_true : ndarray of bool, shape (case,)
    y_score : ndarray, shape (case,)
    weights : ndarray, shape (replicate, case)
    standard : str
        Which of the figures of `PartialAuc`.

    Returns
    -------
    ndarray, shape (replicate,)
        NaN in replicates without one kind of case.
    """
    low, high = checked_range(tpr_range or fpr_range or (0, 1))
    raw = _raw(y_true, y_score, weights, low, high, over_sensitivity=tpr_range is not None)
    if standard == "raw":
        return raw
    if standard == "index":
        return raw / (high - low)
    return mcclish(raw, _chance(low, high, over_sensitivity=tpr_range is not None), high - low)


def two_way_partial_auc(y_true: ArrayLike, y_score: ArrayLike, *, max_fpr: float, min_tpr: float) -> float:
    """Area below the curve within both limits, divided by the area of the region.

    The region has false-positive fractions up to `max_fpr` and sensitivities from `min_tpr` (Yang, Lu, Lyu and Hu
    2019, doi:10.1177/0962280217718866): 1 is perfect, 0 a curve that never reaches it.

    Raises
    ------
    TableError
        As `roc_curve`, and for limits outside 0 to 1.

    Examples
    --------
    >>> two_way_partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], max_fpr=0.5, min_tpr=0.25)
    0.3333333333333333
    """
    truth, score = checked_ratings(y_true, y_score)
    if not (0 < max_fpr <= 1 and 0 <= min_tpr < 1):
        raise TableError(f"max_fpr lies in (0, 1] and min_tpr in [0, 1), found {max_fpr} and {min_tpr}")
    raw = area_weighted(truth, score, np.ones((1, len(score))), 0.0, max_fpr, floor=min_tpr)
    return float(raw[0] / (max_fpr * (1 - min_tpr)))


def cases_in_range(n: int, low: float, high: float) -> int:
    """Cases of `n` that a range of their fraction holds."""
    return int(n * (high - low) + 1e-9)


def _chance(low: float, high: float, *, over_sensitivity: bool) -> float:
    return ((1 - low) ** 2 - (1 - high) ** 2) / 2 if over_sensitivity else (high**2 - low**2) / 2


def _raw(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray, low: float, high: float, *, over_sensitivity: bool
) -> np.ndarray:
    truth, score = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    if over_sensitivity:  # specificity over sensitivities is the curve of the other kind, with scores turned
        return area_weighted(~truth, -score, weights, 1 - high, 1 - low)
    return area_weighted(truth, score, weights, low, high)
