"""``evaluation.json``: every figure of an evaluation with its interval."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.afroc import wafroc_auc_weighted
from medseg.evaluation.bootstrap import case_weights, percentile_interval
from medseg.evaluation.froc import CPM_RATES, FrocCurve, froc_curves, partial_area_flat, sensitivity_at
from medseg.evaluation.matching import Matches, check_rule, match_marks, match_pairs
from medseg.evaluation.pixel import PixelCounts, pooled_figures
from medseg.evaluation.precision import average_precision_weighted
from medseg.evaluation.roc import area, mcclish, partial_area, weighted_roc
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.tables import Columns, Source, cases_table, marks_table

__all__ = ["evaluate_tables"]

SCHEMA_VERSION = 1
BLOCK = 200  # replicates computed at a time, to bound memory
EMPTY_REFERENCE = -1.0  # given as the Dice of a case whose reference is empty: it has no lesion to overlap
Weighted = Callable[[np.ndarray], np.ndarray]


class _Figures:
    """Value and interval of statistics that take case weights of shape (replicate, case)."""

    def __init__(self, patient: np.ndarray, settings: EvaluationSettings, keep: np.ndarray) -> None:
        self._one = keep[None].astype(np.float32)
        self._replicates = case_weights(patient, settings.n_replicates, settings.seed) * self._one
        self._confidence = settings.confidence

    def __call__(self, statistic: Weighted, undefined: str) -> dict[str, Any]:
        return self.many(lambda weights: statistic(weights)[:, None], undefined)[0]

    def many(self, statistic: Weighted, undefined: str) -> list[dict[str, Any]]:
        """Figures of a statistic that returns an array of shape (replicate, figure)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            values = statistic(self._one)[0]
            blocks = [
                statistic(self._replicates[start : start + BLOCK]) for start in range(0, len(self._replicates), BLOCK)
            ]
        replicates = np.concatenate(blocks) if blocks else np.empty((0, len(values)))
        figures: list[dict[str, Any]] = []
        for number, value in enumerate(values):
            if not np.isfinite(value):
                figures.append({"value": None, "ci_low": None, "ci_high": None, "reason": undefined})
                continue
            low, high = percentile_interval(replicates[:, number], self._confidence)
            figures.append({"value": float(value), "ci_low": low, "ci_high": high})
        return figures


def evaluate_tables(
    cases: Source,
    marks: Source | None = None,
    lesions: Source | None = None,
    *,
    settings: EvaluationSettings | None = None,
    rule: str = "distance",
    pairs: list[tuple[int, int]] | None = None,
    dice: Mapping[str, float] | None = None,
    pixels: Mapping[str, PixelCounts] | None = None,
) -> dict[str, Any]:
    """Compute all figures.

    Parameters
    ----------
    cases, marks, lesions : path or mapping of columns
        Labels that are missing are taken from the lesions. A case whose ``status`` is not ``ok`` keeps its
        lesions, has no marks and gets the lowest score.
    pairs : list of (int, int), optional
        Hits that are known already (row of the mark, row of the lesion), instead of `rule`.
    dice : mapping of str to float, optional
        Dice of each case; NaN where both masks are empty.
    pixels : mapping of str to PixelCounts, optional
        Voxels of each case.

    Returns
    -------
    dict
        The content of ``evaluation.json``.

    Raises
    ------
    TableError
        When a table is wrong, naming the case.
    """
    settings = settings or EvaluationSettings()
    check_rule(rule)
    if marks is not None and lesions is None:
        raise TableError("marks are given without lesions; a table of lesions may be empty but for its header")
    table = cases_table(cases)
    _check_labels(table)
    matches = None
    if lesions is not None:
        if pairs is None:
            matches = match_marks(cases, marks, lesions, rule=rule)
        else:
            matches = match_pairs(cases, marks, lesions, pairs, rule=rule)
    localised = table["localised"]
    label, score = _label(table, matches), _score(table, marks)
    _, patient = np.unique(table["patient_id"], return_inverse=True)
    result: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "intervals": {
            "method": "percentile bootstrap",
            "resampling_unit": "patient",
            "n_replicates": settings.n_replicates,
            "seed": settings.seed,
            "confidence": settings.confidence,
        },
        "counts": _counts(table, label, matches),
    }

    def figures_of(keep: np.ndarray) -> dict[str, Any]:
        compute = _Figures(patient, settings, keep)
        content = {"case_level": _case_level(compute, label, score, table, settings)}
        if matches is not None:
            placed = _Figures(patient, settings, keep & localised)
            content["lesion_level"] = _lesion_level(placed, matches, settings, rule, keep & localised)
        if dice is not None or pixels is not None:
            content["pixel_level"] = _pixel_level(compute, table, dice or {}, pixels)
        return content

    result |= figures_of(np.ones(len(label), dtype=bool))
    result["curves"] = _curves(label, score, matches, localised)
    groups = sorted(set(table["group"]) - {""})
    if len(groups) > 1:
        result["by_group"] = {name: _group(table["group"] == name, label, figures_of) for name in groups}
    return result


def _group(keep: np.ndarray, label: np.ndarray, figures_of: Callable[[np.ndarray], dict[str, Any]]) -> dict[str, Any]:
    counts = {"n_cases": int(keep.sum()), "n_positive": int((label[keep] == 1).sum())}
    return {"counts": counts, **figures_of(keep)}


def _label(table: Columns, matches: Matches | None) -> np.ndarray:
    """1, 0 or NaN for each case; where the label is missing, whether it has a lesion."""
    label = table["label"].copy()
    if matches is not None:
        missing = np.isnan(label) & table["localised"]
        label[missing] = matches.positive[missing]
    return label


def _check_labels(table: Columns) -> None:
    """Labels are 0 and 1, but where predicted classes are compared with them."""
    odd = ~np.isnan(table["label"]) & (table["label"] != 0) & (table["label"] != 1)
    if odd.any() and not np.isfinite(table["predicted_label"]).any():
        where = int(np.flatnonzero(odd)[0])
        raise TableError(f"cases: label {table['label'][where]:g} of case {table['case_id'][where]} is neither 0 nor 1")


def _score(table: Columns, marks: Source | None) -> np.ndarray:
    """Score of each case, that of its highest mark where none is given; failed cases get the lowest."""
    score = table["score"].copy()
    if marks is not None and np.isnan(score).all():
        rated = marks_table(marks, table["case_id"])
        score = np.full(len(score), rated["score"].min(initial=0.0) - 1)  # without a mark: below every mark
        np.maximum.at(score, rated["case"], rated["score"])
    failed = np.array([status not in ("", "ok") for status in table["status"]])
    if failed.any():
        known = score[~failed & ~np.isnan(score)]
        score[failed] = (known.min() if len(known) else 0.0) - 1
    return score


def _counts(table: Columns, label: np.ndarray, matches: Matches | None) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "n_cases": len(label),
        "n_patients": len(set(table["patient_id"])),
        "n_positive": int((label > 0).sum()),
        "n_failed": int(np.sum([status not in ("", "ok") for status in table["status"]])),
    }
    if matches is not None:
        counts |= {
            "n_lesions": matches.n_lesions,
            "n_lesions_marked": int(np.isfinite(matches.lesion_score).sum()),
            "n_false_marks": len(matches.false_score),
            "n_marks_neither": matches.n_neither,
        }
    return counts


def _case_level(
    compute: _Figures, label: np.ndarray, score: np.ndarray, table: Columns, settings: EvaluationSettings
) -> dict[str, Any]:
    content: dict[str, Any] = {}
    predicted = table["predicted_label"]
    if np.isfinite(predicted).any():
        known = (~np.isnan(table["label"])).astype(np.float64)
        correct = (predicted == table["label"]) * known
        content["accuracy"] = compute(lambda w: (w * correct).sum(1) / (w * known).sum(1), "no case has a label")
        if (table["label"] > 1).any():
            reason = "the labels are more than two classes"
            nothing = {"value": None, "ci_low": None, "ci_high": None, "reason": reason}
            return content | {"auc": nothing}
    usable = ~np.isnan(score) & ~np.isnan(label)
    truth = label == 1
    reason = "needs cases with and without disease, all with a score"
    if usable.all():
        where = np.flatnonzero(usable)
    else:
        where = np.flatnonzero(usable)
        content["n_cases_used"] = len(where)
    low, high = settings.fpr_range
    chance, perfect = (high**2 - low**2) / 2, high - low

    def curves(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        fpr, tpr, _ = weighted_roc(truth[where], score[where], weights[:, where])
        return fpr, tpr

    def raw(weights: np.ndarray) -> np.ndarray:
        return partial_area(*curves(weights), low, high)

    if not len(where):
        nothing = {"value": None, "ci_low": None, "ci_high": None, "reason": "no case has a label and a score"}
        return content | {"auc": nothing, "partial_auc": {"fpr_range": [low, high], "raw": nothing, "mcclish": nothing}}
    content["auc"] = compute(lambda w: area(*curves(w)), reason)
    raw_figure = compute(raw, reason)
    content["partial_auc"] = {
        "fpr_range": [low, high],
        "raw": raw_figure,
        "mcclish": compute(lambda w: mcclish(raw(w), chance, perfect), reason),
        "below_chance": None if raw_figure["value"] is None else bool(raw_figure["value"] < chance - 1e-12),
    }
    return content


def _lesion_level(
    compute: _Figures, matches: Matches, settings: EvaluationSettings, rule: str, keep: np.ndarray
) -> dict[str, Any]:
    rates = np.array(settings.fp_per_case)
    low, high = settings.froc_range
    reason = "there is no lesion"
    fp, sensitivity, threshold = froc_curves(matches, keep[None].astype(float))
    curve = FrocCurve(fp[0], sensitivity[0], threshold)

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        fp, sensitivity, _ = froc_curves(matches, weights)
        return sensitivity_at(fp, sensitivity, rates)

    def cpm(weights: np.ndarray) -> np.ndarray:
        fp, sensitivity, _ = froc_curves(matches, weights)
        return sensitivity_at(fp, sensitivity, np.array(CPM_RATES)).mean(axis=1)

    def partial(weights: np.ndarray) -> np.ndarray:
        fp, sensitivity, _ = froc_curves(matches, weights)
        return partial_area_flat(fp, sensitivity, low, high)

    thresholds = [curve.threshold_at(rate) for rate in rates]
    return {
        "rule": matches.rule if rule is None else rule,
        "froc": {
            "fp_per_case": rates.tolist(),
            "sensitivity": compute.many(sensitivities, reason),
            "threshold": thresholds,
            "interpolation": "linear, flat beyond the last point",
        },
        "cpm": compute(cpm, reason),
        "froc_partial_area": {"range": [low, high], **compute(partial, reason)},
        "average_precision": compute(lambda w: average_precision_weighted(matches, w), reason),
        "wafroc_auc": compute(
            lambda w: wafroc_auc_weighted(matches, w), "needs cases with a lesion and cases without one"
        ),
    }


def _pixel_level(
    compute: _Figures, table: Columns, dice: Mapping[str, float], pixels: Mapping[str, PixelCounts] | None
) -> dict[str, Any]:
    names = [str(name) for name in table["case_id"]]
    content: dict[str, Any] = {}
    if dice:
        values = np.array([dice.get(name, np.nan) for name in names])
        lesion = np.array([name in dice and dice[name] != EMPTY_REFERENCE for name in names]) & ~np.isnan(values)
        kept = np.where(lesion, values, 0.0)
        content["dice"] = compute(lambda w: (w * kept).sum(1) / (w * lesion).sum(1), "no case has a reference mask")
        content["dice_rule"] = "mean over cases with a lesion in the reference; a case that failed counts 0"
        content["n_dice"] = int(lesion.sum())
    else:
        reason = "masks were not saved: predict with --save mask"
        content["dice"] = {"value": None, "ci_low": None, "ci_high": None, "reason": reason}
    if pixels:
        where = np.array([number for number, name in enumerate(names) if name in pixels])
        counts = [pixels[names[number]] for number in where]
        both = np.stack([c.lesion for c in counts]).sum() > 0
        reason = "no lesion voxel" if not both else "no voxel of one kind"
        content["average_precision"] = compute(lambda w: pooled_figures(counts, w[:, where])[0], reason)
        content["auc"] = compute(lambda w: pooled_figures(counts, w[:, where])[1], reason)
        content["n_voxel_cases"] = len(where)
    else:
        reason = "probability maps were not saved: predict with --save probability"
        content["average_precision"] = {"value": None, "ci_low": None, "ci_high": None, "reason": reason}
    return content


def _curves(label: np.ndarray, score: np.ndarray, matches: Matches | None, localised: np.ndarray) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    usable = ~np.isnan(score) & ~np.isnan(label)
    truth = label[usable] == 1
    if truth.any() and not truth.all() and (label[usable] <= 1).all():
        fpr, tpr, _ = weighted_roc(truth, score[usable], np.ones((1, int(usable.sum()))))
        curves["roc"] = {"fpr": fpr[0], "tpr": tpr[0]}
    if matches is not None and matches.n_lesions:
        fp, sensitivity, _ = froc_curves(matches, localised[None].astype(float))
        curves["froc"] = {"fp_per_case": fp[0], "sensitivity": sensitivity[0]}
    return curves
