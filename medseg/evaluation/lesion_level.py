"""The lesion level of ``evaluation.json``: is each lesion found?"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from medseg.evaluation.afroc import afroc_weighted, lroc_weighted
from medseg.evaluation.figures import Figures
from medseg.evaluation.froc import CPM_RATES, LesionLevels, froc, lesion_strata, partial_area_flat, sensitivity_at
from medseg.evaluation.matches import Matches
from medseg.evaluation.precision import average_precision_weighted
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["BAND_RATES", "froc_band", "lesion_level", "lesion_operating_point", "lesion_statistics"]

NO_LESION = "there is no lesion"
NEEDS_BOTH = "needs cases with a lesion and cases without one"
BAND_RATES = tuple(2.0 ** np.arange(-4, 4.01, 0.25))  # false positives a case at which the band of the plot is given
MIN_FOR_THIRDS = 30  # lesions, from which on figures by thirds of the size are given


def lesion_statistics(matches: Matches, settings: EvaluationSettings) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """The figures of the lesion level as statistics of case weights, each returning shape (replicate,)."""
    levels = LesionLevels(matches)
    low, high = settings.froc_range
    statistics: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "cpm": lambda w: sensitivity_at(*levels.corners(w), np.array(CPM_RATES)).mean(axis=1),
        "froc_partial_area": lambda w: partial_area_flat(*levels.corners(w), low, high),
        "average_precision": lambda w: average_precision_weighted(levels, w),
    }
    for curve in ("wafroc", "wafroc1", "afroc", "afroc1"):
        statistics[f"{curve}_auc"] = lambda w, curve=curve: afroc_weighted(matches, w, curve=curve)  # type: ignore[misc]
    statistics["lroc_auc"] = lambda w: lroc_weighted(matches, w)
    return statistics


def _computer(matches: Matches, settings: EvaluationSettings) -> Figures:
    return Figures(matches.patient_id, lesion_strata(matches), settings)


def lesion_level(matches: Matches, settings: EvaluationSettings) -> dict[str, Any]:
    """FROC and what follows from it, with intervals over patients."""
    compute = _computer(matches, settings)
    content: dict[str, Any] = {"rule": matches.rule, "froc": _froc(compute, matches, settings)}
    for name, statistic in lesion_statistics(matches, settings).items():
        reason = NEEDS_BOTH if name in ("wafroc_auc", "afroc_auc", "lroc_auc") else NO_LESION
        figure = compute.bca(statistic, reason)
        content[name] = {"range": list(settings.froc_range), **figure} if name == "froc_partial_area" else figure
    for name, parts in (("by_size", _by_size(matches, settings)), ("by_class", _by_class(matches, settings))):
        if parts:
            content[name] = {part: _brief(own, settings) for part, own in parts.items()}
    return content


def _n_lesions(matches: Matches) -> np.ndarray:
    """Lesions of each case, shape (n_cases,)."""
    return np.bincount(matches.lesion_case, minlength=matches.n_cases)


def _sensitivities(compute: Figures, matches: Matches, rates: np.ndarray) -> list[dict[str, Any]]:
    levels = LesionLevels(matches)
    return compute.proportions(
        lambda weights: sensitivity_at(*levels.corners(weights), rates), _n_lesions(matches), NO_LESION
    )


def _froc(compute: Figures, matches: Matches, settings: EvaluationSettings) -> dict[str, Any]:
    rates, curve = np.array(settings.fp_per_case), froc(matches)
    places = [int(np.flatnonzero(curve.fp_per_case <= rate)[-1]) for rate in rates]
    return {
        "fp_per_case": rates.tolist(),
        "sensitivity": _sensitivities(compute, matches, rates),
        "threshold": [float(curve.threshold[place]) for place in places],
        "n_hits": [int(curve.n_hits[place]) for place in places],
        "n_false": [int(curve.n_false[place]) for place in places],
        "interpolation": "linear, flat beyond the last point; thresholds and counts: of the last point within the rate",
    }


def froc_band(matches: Matches, settings: EvaluationSettings) -> dict[str, list[float]]:
    """Pointwise interval of the FROC curve on a grid of rates, for a plot."""
    figures = _sensitivities(_computer(matches, settings), matches, np.array(BAND_RATES))
    known = [(rate, f) for rate, f in zip(BAND_RATES, figures) if f["value"] is not None and f["ci_low"] is not None]
    return {
        "fp_per_case": [rate for rate, _ in known],
        "low": [figure["ci_low"] for _, figure in known],
        "high": [figure["ci_high"] for _, figure in known],
    }


def lesion_operating_point(matches: Matches, settings: EvaluationSettings, threshold: float) -> dict[str, Any]:
    """Sensitivity and false positives a case at a threshold chosen on other cases."""
    compute = _computer(matches, settings)
    found = (matches.lesion_score >= threshold).astype(float)
    false = np.bincount(matches.false_case[matches.false_score >= threshold], minlength=matches.n_cases).astype(float)

    def sensitivity(weights: np.ndarray) -> np.ndarray:
        drawn = weights[:, matches.lesion_case]
        return ((drawn @ found) / drawn.sum(axis=1))[:, None]

    return {
        "n_hits": int(found.sum()),
        "n_false": int(false.sum()),
        "sensitivity": compute.proportions(sensitivity, _n_lesions(matches), NO_LESION)[0],
        "fp_per_case": compute.bca(lambda w: (w @ false) / w.sum(axis=1), "there is no case"),
    }


def _by_size(matches: Matches, settings: EvaluationSettings) -> dict[str, Matches]:
    """Lesions by diameter: between the edges given, else by thirds where there are enough."""
    diameter = matches.lesion_diameter
    edges = list(settings.size_edges)
    if not edges:
        known = diameter[np.isfinite(diameter) & (diameter > 0)]
        if len(known) < MIN_FOR_THIRDS or len(known) < len(diameter):
            return {}
        edges = sorted({float(f"{edge:.3g}") for edge in np.quantile(known, [1 / 3, 2 / 3])})
    place = np.where(np.isfinite(diameter), np.digitize(diameter, edges), -1)
    bounds = ["", *(f"{edge:g}" for edge in edges), ""]
    names = [
        f"below {high}" if not low else f"from {low}" if not high else f"{low} to below {high}"
        for low, high in pairwise(bounds)
    ]
    return {name: matches.with_lesions(place == number) for number, name in enumerate(names)}


def _by_class(matches: Matches, settings: EvaluationSettings) -> dict[str, Matches]:
    names = sorted(set(matches.lesion_class.tolist()))
    if len(names) < 2:
        return {}
    if settings.class_aware:  # the false positives of a class are its own
        return {name: matches.of_class(name) for name in names}
    return {name: matches.with_lesions(matches.lesion_class == name) for name in names}


def _brief(matches: Matches, settings: EvaluationSettings) -> dict[str, Any]:
    compute = _computer(matches, settings)
    levels = LesionLevels(matches)
    return {
        "n_lesions": matches.n_lesions,
        "n_hits": int(np.isfinite(matches.lesion_score).sum()),
        "froc": {
            "fp_per_case": list(settings.fp_per_case),
            "sensitivity": _sensitivities(compute, matches, np.array(settings.fp_per_case)),
        },
        "cpm": compute.bca(lambda w: sensitivity_at(*levels.corners(w), np.array(CPM_RATES)).mean(axis=1), NO_LESION),
    }
