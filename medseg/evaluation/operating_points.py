"""What a threshold means: sensitivity, specificity, likelihood ratios, predictive values."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medseg.errors import TableError
from medseg.evaluation.areas import weighted_roc
from medseg.evaluation.checks import checked_confidence, checked_ratings
from medseg.evaluation.distributions import two_sided_quantile
from medseg.evaluation.proportions import wilson

__all__ = [
    "OperatingPoint",
    "choose_threshold",
    "operating_point",
    "predictive_values",
    "sensitivity_at_specificity",
    "sensitivity_at_specificity_weighted",
    "specificity_at_sensitivity",
    "specificity_at_sensitivity_weighted",
]

Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Cases called positive at a threshold.

    Parameters
    ----------
    threshold : float
        Scores at or above it are called positive.
    true_positive, false_positive, true_negative, false_negative : int
    sensitivity, specificity : float
    sensitivity_interval, specificity_interval : tuple of float
        Wilson's, over cases.
    positive_likelihood_ratio, negative_likelihood_ratio : float
        ``sensitivity / (1 - specificity)`` and ``(1 - sensitivity) / specificity``; infinite or NaN where a
        denominator is 0.
    positive_likelihood_ratio_interval, negative_likelihood_ratio_interval : tuple of float
        Log method (Simel 1991, doi:10.1016/0895-4356(91)90128-V); NaN where a count is 0.
    """

    threshold: float
    true_positive: int
    false_positive: int
    true_negative: int
    false_negative: int
    sensitivity: float
    specificity: float
    sensitivity_interval: Bounds
    specificity_interval: Bounds
    positive_likelihood_ratio: float
    negative_likelihood_ratio: float
    positive_likelihood_ratio_interval: Bounds
    negative_likelihood_ratio_interval: Bounds


def operating_point(
    y_true: ArrayLike, y_score: ArrayLike, threshold: float, *, confidence: float = 0.95
) -> OperatingPoint:
    """Sensitivity, specificity and likelihood ratios at a threshold that was chosen elsewhere.

    A threshold chosen on these very cases makes both figures too good: choose it on validation with
    `choose_threshold`.

    Raises
    ------
    TableError
        As `roc_curve`.

    Examples
    --------
    >>> point = operating_point([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], 0.5)
    >>> point.sensitivity, point.specificity, point.positive_likelihood_ratio
    (0.5, 0.5, 1.0)
    """
    truth, score = checked_ratings(y_true, y_score)
    if not isinstance(threshold, int | float | np.number) or math.isnan(threshold):
        raise TableError(f"the threshold must be a number, found {threshold!r}")
    called = score >= threshold
    tp, fp = int((called & truth).sum()), int((called & ~truth).sum())
    fn, tn = int((~called & truth).sum()), int((~called & ~truth).sum())
    sensitivity, specificity = tp / (tp + fn), tn / (tn + fp)
    return OperatingPoint(
        float(threshold), tp, fp, tn, fn, sensitivity, specificity,
        wilson(tp, tp + fn, confidence=confidence), wilson(tn, tn + fp, confidence=confidence),
        _ratio(sensitivity, 1 - specificity), _ratio(1 - sensitivity, specificity),
        _ratio_interval(tp, tp + fn, fp, fp + tn, confidence), _ratio_interval(fn, tp + fn, tn, fp + tn, confidence),
    )  # fmt: skip


def _ratio(a: float, b: float) -> float:
    if b == 0:
        return math.inf if a > 0 else math.nan
    return a / b


def _ratio_interval(a: int, n: int, b: int, m: int, confidence: float) -> Bounds:
    """Interval of (a / n) / (b / m)."""
    if a == 0 or b == 0:
        return math.nan, math.nan
    error = math.sqrt(1 / a - 1 / n + 1 / b - 1 / m)
    factor = math.exp(two_sided_quantile(checked_confidence(confidence)) * error)
    ratio = (a / n) / (b / m)
    return ratio / factor, ratio * factor


def predictive_values(sensitivity: float, specificity: float, *, prevalence: float) -> tuple[float, float]:
    """Positive and negative predictive value at a stated prevalence, by Bayes' theorem.

    The share of positive cases of a study is seldom the prevalence where a detector is used: state the latter.

    Returns
    -------
    positive, negative : float
        NaN where nothing is called so.

    Raises
    ------
    TableError
        For a prevalence outside 0 to 1.

    Examples
    --------
    >>> [round(value, 3) for value in predictive_values(0.9, 0.9, prevalence=0.01)]
    [0.083, 0.999]
    """
    for name, value in (("prevalence", prevalence), ("sensitivity", sensitivity), ("specificity", specificity)):
        if not 0 <= value <= 1:
            raise TableError(f"a {name} lies between 0 and 1, found {value}")
    true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
    missed, cleared = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
    return (
        true / (true + false) if true + false > 0 else math.nan,
        cleared / (cleared + missed) if cleared + missed > 0 else math.nan,
    )


def sensitivity_at_specificity(y_true: ArrayLike, y_score: ArrayLike, specificity: float) -> float:
    """Sensitivity at a specificity, on the curve interpolated linearly; at a vertical step its upper end.

    Examples
    --------
    >>> sensitivity_at_specificity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 0.5)
    1.0
    """
    truth, score = checked_ratings(y_true, y_score)
    return float(sensitivity_at_specificity_weighted(truth, score, np.ones((1, len(score))), specificity)[0])


def sensitivity_at_specificity_weighted(
    y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray, specificity: float
) -> np.ndarray:
    """The same under case weights of shape (replicate, case); shape (replicate,)."""
    if not 0 <= specificity <= 1:
        raise TableError(f"a specificity lies between 0 and 1, found {specificity}")
    fpr, tpr, _ = weighted_roc(np.asarray(y_true, bool), y_score, weights)
    rate = 1 - specificity
    fpr[np.abs(fpr - rate) < 1e-12] = rate  # 1 - 0.9 is 0.09999999999999998
    return np.array([np.interp(rate, x, y) for x, y in zip(fpr, tpr)])


def specificity_at_sensitivity(y_true: ArrayLike, y_score: ArrayLike, sensitivity: float) -> float:
    """Specificity at a sensitivity, on the curve interpolated linearly; at a horizontal step its better end.

    Examples
    --------
    >>> specificity_at_sensitivity([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], 1.0)
    0.5
    """
    truth, score = checked_ratings(y_true, y_score)
    return float(specificity_at_sensitivity_weighted(truth, score, np.ones((1, len(score))), sensitivity)[0])


def specificity_at_sensitivity_weighted(
    y_true: np.ndarray, y_score: np.ndarray, weights: np.ndarray, sensitivity: float
) -> np.ndarray:
    """The same under case weights of shape (replicate, case); shape (replicate,)."""
    if not 0 <= sensitivity <= 1:
        raise TableError(f"a sensitivity lies between 0 and 1, found {sensitivity}")
    # the curve of the other kind: scores turned, so that specificity stands on the y axis
    return sensitivity_at_specificity_weighted(
        ~np.asarray(y_true, bool), -np.asarray(y_score, float), weights, sensitivity
    )


def choose_threshold(
    y_true: ArrayLike,
    y_score: ArrayLike,
    *,
    criterion: Literal["youden", "specificity", "sensitivity"] = "youden",
    at_least: float = 0.9,
) -> float:
    """Choose a threshold on validation cases.

    Parameters
    ----------
    criterion : str
        ``youden``: the highest sensitivity + specificity; ``specificity``: the highest sensitivity with a specificity
        of `at_least`; ``sensitivity``: the highest specificity with a sensitivity of `at_least`.

    Returns
    -------
    float
        Among equals that with the higher specificity; infinity where only calling nothing positive does.

    Raises
    ------
    TableError
        As `roc_curve`.

    Examples
    --------
    >>> choose_threshold([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], criterion="sensitivity", at_least=1)
    0.35
    """
    truth, score = checked_ratings(y_true, y_score)
    fpr, tpr, threshold = weighted_roc(truth, score, np.ones((1, len(score))))
    sensitivity, specificity = tpr[0], 1 - fpr[0]
    if criterion == "youden":
        value = sensitivity + specificity
    elif criterion == "specificity":
        value = np.where(specificity >= at_least - 1e-12, sensitivity, -1)
    elif criterion == "sensitivity":
        value = np.where(sensitivity >= at_least - 1e-12, specificity, -1)
    else:
        raise TableError(f"criterion '{criterion}': allowed are youden, specificity and sensitivity")
    return float(threshold[int(np.argmax(value > value.max() - 1e-12))])
