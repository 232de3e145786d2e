"""Figures of out-of-fold predictions as means over the folds, whose models' scores are not on one scale."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.areas import area_weighted
from medseg.evaluation.bootstrap import mean_weighted
from medseg.evaluation.cross_validation import cross_validated
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.figures import figure_of
from medseg.evaluation.froc import lesion_strata
from medseg.evaluation.lesion_level import lesion_statistics
from medseg.evaluation.resampling import Weighted
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.summary import FOLD_FIGURES

__all__ = ["fold_figures"]

NOTE = (
    "mean of the folds' figures, patients drawn within folds; the figures elsewhere here pool the scores of different "
    "models, which is biased (an AUC towards 0.5); no interval knows that the folds share training cases"
)
UNDEFINED = "undefined in at least one fold"


def fold_figures(evidence: Evidence, fold_of: Mapping[str, str], settings: EvaluationSettings) -> dict[str, Any]:
    """Mean over the folds of AUC, CPM, FROC partial area and Dice, and the value of each fold.

    Parameters
    ----------
    fold_of : mapping of str to str
        Fold of each case.
    """
    folds = np.array([fold_of[name] for name in evidence.table["case_id"].tolist()])
    names = sorted(set(folds.tolist()), key=int)
    parts = [evidence.of_cases(folds == name) for name in names]
    figures = {
        key: _over_folds(own, names, settings)
        for key in FOLD_FIGURES
        if any(own := [_statistic(part, key, settings) for part in parts])
    }
    return {"n_folds": len(names), "method": NOTE, "figures": figures}


_Statistic = tuple[Weighted, np.ndarray, np.ndarray]  # with patient and stratum of each case


def _statistic(part: Evidence, key: str, settings: EvaluationSettings) -> _Statistic | None:
    """A figure of one fold as a function of case weights; None where the fold does not have it."""
    if key == "auc":
        return _auc(part)
    if key == "dice":
        dice = [part.masks[name][0] if name in part.masks else None for name in part.table["case_id"].tolist()]
        values = np.array([found.dice if found is not None and found.n_reference else np.nan for found in dice])
        if not np.isfinite(values).any():
            return None
        return mean_weighted(values), part.patient, np.isfinite(values).astype(int)
    matches = part.placed
    if matches is None or not matches.n_lesions:
        return None
    return lesion_statistics(matches, settings)[key], matches.patient_id, lesion_strata(matches)


def _auc(part: Evidence) -> _Statistic | None:
    part = part.of_cases(np.isin(part.label, (0, 1)) & ~np.isnan(part.score))
    truth = part.label == 1
    if truth.all() or not truth.any():
        return None
    return lambda weights: area_weighted(truth, part.score, weights, 0.0, 1.0), part.patient, part.strata


def _over_folds(own: list[_Statistic | None], names: list[str], settings: EvaluationSettings) -> dict[str, Any]:
    known = [one for one in own if one is not None]
    values = [None if one is None else float(one[0](np.ones((1, len(one[1])), np.float32))[0]) for one in own]
    by_fold = dict(zip(names, values))
    if len(known) < len(own):
        return {"value": None, "ci_low": None, "ci_high": None, "reason": UNDEFINED, "by_fold": by_fold}
    arrays = [
        {"fold": np.full(len(patient), number), "stratum": stratum}
        for number, (_, patient, stratum) in enumerate(known)
    ]

    def statistic(fold: np.ndarray, stratum: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return np.asarray(known[int(fold[0])][0](weights))

    try:
        interval = cross_validated(
            statistic, arrays, units=[patient for _, patient, _ in known], strata="stratum",
            n_replicates=settings.n_replicates, seed=settings.seed, confidence=settings.confidence,
        )  # fmt: skip
    except TableError as error:
        return {"value": None, "ci_low": None, "ci_high": None, "reason": str(error), "by_fold": by_fold}
    spread = float(np.std(np.array(values, float), ddof=1)) if len(values) > 1 else None
    return figure_of(interval, reason=UNDEFINED) | {"sd": spread, "by_fold": by_fold}
