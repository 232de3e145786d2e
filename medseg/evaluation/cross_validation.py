"""Figures of a cross-validation: averaged over folds."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation.bootstrap import Interval, percentile_interval
from medseg.evaluation.checks import checked_confidence
from medseg.evaluation.resampling import Resampling

__all__ = ["cross_validated"]


def cross_validated(
    statistic: Callable[..., np.ndarray],
    folds: Sequence[dict[str, Any]],
    *,
    units: Sequence[Any] | None = None,
    strata: str | None = None,
    pool: bool = False,
    n_replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """A figure over the folds of a cross-validation, with a bootstrap interval by patient within folds.

    Parameters
    ----------
    statistic : callable
        Called with the arrays of a fold by name and ``weights`` of shape (replicate, case), returns shape
        (replicate,), as `bootstrap` with ``vectorized=True``.
    folds : sequence of dict of str to array-like
        The out-of-fold cases of each fold.
    units : sequence of array-like, optional
        Patient of each case of each fold.
    strata : str, optional
        Name of the array within whose values units are drawn, for instance the label.
    pool : bool
        Instead of the mean of the folds' figures, the figure of all cases together. The scores of different models
        are not on one scale, and pooling them is biased, towards 0.5 for an AUC (Airola 2011,
        doi:10.1016/j.csda.2010.11.018): an `EvaluationWarning` is given.

    Returns
    -------
    Interval
        NaN where a fold's figure is undefined. The interval leaves out that the folds' models share training cases,
        for which there is no unbiased estimate (Bengio and Grandvalet 2004).

    Raises
    ------
    TableError
        Without folds, or when a patient is in several of them.
    """
    checked_confidence(confidence)
    if not folds:
        raise TableError("there is no fold")
    _check_units(units)
    if pool:
        warnings.warn(
            "scores of different models are pooled: the figure is biased (Airola 2011)", EvaluationWarning, stacklevel=2
        )
        units = None if units is None else [np.concatenate([np.asarray(unit) for unit in units])]
        folds = [{name: np.concatenate([np.asarray(fold[name]) for fold in folds]) for name in folds[0]}]
    values, replicates, n_units = [], np.zeros(n_replicates), 0
    for number, fold in enumerate(folds):
        unit = None if units is None else units[number]
        value, own, n = _fold(statistic, fold, unit, strata, n_replicates, seed + number)
        values.append(value)
        replicates += own / len(folds)
        n_units += n
    low, high = percentile_interval(replicates, confidence)
    defined = int(np.isfinite(replicates).sum())
    method = "percentile, pooled" if pool else "percentile, mean of folds"
    return Interval(float(np.mean(values)), low, high, defined, method, n_units, seed, confidence)


def _fold(
    statistic: Callable[..., np.ndarray],
    fold: dict[str, Any],
    unit: Any,
    strata: str | None,
    n_replicates: int,
    seed: int,
) -> tuple[float, np.ndarray, int]:
    """The figure of a fold, its replicates, and how many units were drawn."""
    arrays = {name: np.asarray(array) for name, array in fold.items()}
    n_cases = len(next(iter(arrays.values())))

    def weighted(weights: np.ndarray) -> np.ndarray:
        return np.asarray(statistic(**arrays, weights=weights), float)

    resampling = Resampling.of(
        unit, n_cases=n_cases, strata=None if strata is None else arrays[strata], n_replicates=n_replicates, seed=seed
    )
    value = float(weighted(np.ones((1, n_cases), np.float32))[0])
    return value, resampling.replicates(weighted), resampling.n_units


def _check_units(units: Sequence[Any] | None) -> None:
    seen: set[Any] = set()
    for number, unit in enumerate(units or ()):
        own = set(np.asarray(unit).tolist())
        if seen & own:
            raise TableError(f"a patient of fold {number} is in another fold too")
        seen |= own
