"""The case level of ``evaluation.json``: does the case have a lesion?"""

from typing import Any

import numpy as np

from medseg.evaluation.areas import area_weighted
from medseg.evaluation.calibration import brier_score, expected_calibration_error, reliability_curve
from medseg.evaluation.clustered import auc_interval
from medseg.evaluation.evidence import Evidence, failed_cases
from medseg.evaluation.figures import Figures, figure_of, undefined
from medseg.evaluation.operating_points import (
    operating_point,
    predictive_values,
    sensitivity_at_specificity_weighted,
    specificity_at_sensitivity_weighted,
)
from medseg.evaluation.partial import FEW_CASES, cases_in_range, mcclish, partial_auc_weighted
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["case_level", "case_operating_point"]

ONE_KIND = "needs cases with and without disease, all with a score"
CALIBRATION_BINS = 10


def case_level(evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    """Accuracy, AUC, partial AUC, fixed points of the curve and calibration."""
    content = _accuracy(evidence, settings)
    if content and (evidence.table["label"] > 1).any():
        return content | {"auc": undefined("the labels are more than two classes")}
    usable = ~np.isnan(evidence.score) & ~np.isnan(evidence.label)
    if not usable.all():
        content["n_cases_used"] = int(usable.sum())
        evidence = evidence.of_cases(usable)
    truth, score = evidence.label == 1, evidence.score
    low, high = settings.fpr_range
    if truth.all() or not truth.any():
        reason = ONE_KIND if len(truth) else "no case has a label and a score"
        nothing = undefined(reason)
        partial = {"fpr_range": [low, high], "raw": nothing, "mcclish": nothing, "below_chance": None}
        return content | {"auc": nothing, "partial_auc": partial}
    compute = Figures(evidence.patient, evidence.strata, settings)
    interval = auc_interval(truth, score, unit=evidence.patient, confidence=settings.confidence)
    content["auc"] = figure_of(interval, reason=ONE_KIND)
    content["partial_auc"] = _partial(compute, truth, score, settings)
    if settings.tpr_range is not None:
        content |= _over_sensitivity(compute, truth, score, settings)
    content |= _fixed_points(compute, evidence, settings)
    calibration = _calibration(evidence, settings)
    if calibration:
        content["calibration"] = calibration
    return content


def _accuracy(evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    predicted, label = evidence.table["predicted_label"], evidence.table["label"]
    if not np.isfinite(predicted).any():
        return {}
    known = (~np.isnan(label)).astype(np.float64)
    correct = (predicted == label) * known
    compute = Figures(evidence.patient, np.zeros(len(label), int), settings)
    reason = "no case has a label"
    return {"accuracy": compute.proportions(lambda w: ((w @ correct) / (w @ known))[:, None], known, reason)[0]}


def _partial(compute: Figures, truth: np.ndarray, score: np.ndarray, settings: EvaluationSettings) -> dict[str, Any]:
    low, high = settings.fpr_range
    chance, perfect = (high**2 - low**2) / 2, high - low

    def areas(weights: np.ndarray) -> np.ndarray:
        raw = area_weighted(truth, score, weights, low, high)
        return np.stack([raw, mcclish(raw, chance, perfect), raw / perfect], axis=1)

    raw, standard, index = compute.many(areas, ONE_KIND)
    n_in_range = cases_in_range(int((~truth).sum()), low, high)
    content = {
        "fpr_range": [low, high],
        "raw": raw,
        "mcclish": standard,
        "index": index,
        "below_chance": bool(raw["value"] < chance - 1e-12),
        "n_negatives_in_range": n_in_range,
    }
    if n_in_range < FEW_CASES:
        held = "no case without disease lies" if not n_in_range else f"only {n_in_range} case(s) without disease lie"
        content["warning"] = f"{held} in the range: it hardly says anything"
    return content


def _over_sensitivity(
    compute: Figures, truth: np.ndarray, score: np.ndarray, settings: EvaluationSettings
) -> dict[str, Any]:
    """The partial area over a range of sensitivity, and that within both limits."""
    assert settings.tpr_range is not None
    low, high = settings.tpr_range
    max_fpr, names = settings.fpr_range[1], ("raw", "mcclish", "index")

    def areas(weights: np.ndarray) -> np.ndarray:
        return np.stack(
            [partial_auc_weighted(truth, score, weights, tpr_range=(low, high), standard=name) for name in names],  # type: ignore[arg-type]
            axis=1,
        )

    def two_way(weights: np.ndarray) -> np.ndarray:
        return area_weighted(truth, score, weights, 0.0, max_fpr, floor=low) / (max_fpr * (1 - low))

    content: dict[str, Any] = {
        "partial_auc_over_sensitivity": {
            "tpr_range": [low, high],
            **dict(zip(names, compute.many(areas, ONE_KIND))),
            "n_positives_in_range": cases_in_range(int(truth.sum()), low, high),
        }
    }
    if low < 1:
        figure = compute.bca(two_way, ONE_KIND)
        content["two_way_partial_auc"] = {"max_fpr": max_fpr, "min_tpr": low, **figure}
    return content


def _fixed_points(compute: Figures, evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    truth, score = evidence.label == 1, evidence.score
    content: dict[str, Any] = {}
    for name, rates, statistic, counted in (
        ("sensitivity_at_specificity", settings.specificities, sensitivity_at_specificity_weighted, truth),
        ("specificity_at_sensitivity", settings.sensitivities, specificity_at_sensitivity_weighted, ~truth),
    ):
        given = name.rsplit("_", 1)[1]

        def values(weights: np.ndarray, rates: tuple[float, ...] = rates, statistic: Any = statistic) -> np.ndarray:
            return np.stack([statistic(truth, score, weights, rate) for rate in rates], axis=1)

        if rates:
            figures = compute.proportions(values, counted, ONE_KIND)
            content[name] = [{given: rate, **figure} for rate, figure in zip(rates, figures)]
    return content


def case_operating_point(evidence: Evidence, settings: EvaluationSettings, threshold: float) -> dict[str, Any]:
    """Sensitivity, specificity, likelihood ratios and predictive values at a threshold chosen on other cases."""
    evidence = evidence.of_cases(~np.isnan(evidence.score) & np.isin(evidence.label, (0, 1)))
    truth = evidence.label == 1
    if truth.all() or not truth.any():
        return {"sensitivity": undefined(ONE_KIND), "specificity": undefined(ONE_KIND)}
    compute = Figures(evidence.patient, evidence.strata, settings)
    called = evidence.score >= threshold
    point = operating_point(truth, evidence.score, threshold, confidence=settings.confidence)

    def rates(weights: np.ndarray, kind: np.ndarray, right: np.ndarray) -> np.ndarray:
        return ((weights @ (kind & right).astype(float)) / (weights @ kind.astype(float)))[:, None]

    content: dict[str, Any] = {
        "true_positive": point.true_positive, "false_positive": point.false_positive,
        "true_negative": point.true_negative, "false_negative": point.false_negative,
        "sensitivity": compute.proportions(lambda w: rates(w, truth, called), truth, ONE_KIND)[0],
        "specificity": compute.proportions(lambda w: rates(w, ~truth, ~called), ~truth, ONE_KIND)[0],
    }  # fmt: skip
    for name in ("positive_likelihood_ratio", "negative_likelihood_ratio"):
        interval = getattr(point, f"{name}_interval")
        several = len(set(evidence.patient.tolist())) < len(truth)
        known = np.isfinite(interval).all() and not several
        value = getattr(point, name)
        content[name] = {
            "value": value if np.isfinite(value) else None,
            "ci_low": interval[0] if known else None,
            "ci_high": interval[1] if known else None,
            "ci_method": "log method", "ci_unit": "case",
        }  # fmt: skip
        if not np.isfinite(value):
            content[name]["reason"] = "a count is 0"
        elif not known:
            content[name]["ci_reason"] = "patients have several cases" if several else "a count is 0"
    if settings.prevalence is not None:
        positive, negative = predictive_values(point.sensitivity, point.specificity, prevalence=settings.prevalence)
        content["predictive_values"] = {
            "prevalence": settings.prevalence,
            "positive": positive if np.isfinite(positive) else None,
            "negative": negative if np.isfinite(negative) else None,
        }
    return content


def _calibration(evidence: Evidence, settings: EvaluationSettings) -> dict[str, Any]:
    """Of the cases that have a result, where all scores can be probabilities."""
    evidence = evidence.of_cases(~failed_cases(evidence.table))
    truth, score = evidence.label == 1, evidence.score
    if not len(score) or score.min() < 0 or score.max() > 1:
        return {}
    brier = brier_score(truth, score, n_bins=CALIBRATION_BINS)
    curve = reliability_curve(truth, score, n_bins=CALIBRATION_BINS, confidence=settings.confidence)
    points = {name: getattr(curve, name) for name in curve.__slots__}
    about = {"ci_method": "Wilson", "ci_unit": "case"}
    if len(set(evidence.patient.tolist())) < len(truth):
        points |= {end: np.full(len(curve.count), np.nan) for end in ("low", "high")}
        about = {"ci_reason": "patients have several cases"}
    return {
        "n_cases": len(truth),
        "n_bins": CALIBRATION_BINS,
        "expected_calibration_error": expected_calibration_error(truth, score, n_bins=CALIBRATION_BINS),
        "brier": {name: getattr(brier, name) for name in brier.__slots__},
        "curve": points | about,
    }
