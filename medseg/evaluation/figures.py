"""Figures of an evaluation: a value, its interval, and how that was obtained."""

import math
from typing import Any

import numpy as np

from medseg.evaluation.bootstrap import Interval, bca_interval, varies
from medseg.evaluation.proportions import replicate_proportion_interval
from medseg.evaluation.resampling import Resampling, Weighted
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["Figures", "figure_of", "undefined"]

Figure = dict[str, Any]


def undefined(reason: str) -> Figure:
    """A figure that the data do not define."""
    return {"value": None, "ci_low": None, "ci_high": None, "reason": reason}


def figure_of(interval: Interval, *, reason: str) -> Figure:
    """A figure from an interval that was computed elsewhere; `reason` where it is undefined."""
    if not math.isfinite(interval.value):
        return undefined(reason)
    known = math.isfinite(interval.low) and math.isfinite(interval.high)
    figure: Figure = {
        "value": interval.value,
        "ci_low": interval.low if known else None,
        "ci_high": interval.high if known else None,
        "ci_method": interval.method,
        "ci_unit": "patient",
        "n_units": interval.n_units,
    }
    if interval.n_replicates:
        figure |= {"n_replicates": interval.n_replicates, "seed": interval.seed}
    if not known:
        figure["ci_reason"] = "too few patients, or no variation between them"
    return figure


class Figures:
    """Value and interval of statistics that take case weights of shape (replicate, case).

    Parameters
    ----------
    patient : ndarray, shape (case,)
        What is drawn.
    strata : ndarray, shape (case,)
        Patients are drawn within strata.
    """

    def __init__(self, patient: np.ndarray, strata: np.ndarray, settings: EvaluationSettings) -> None:
        self._one = np.ones((1, len(patient)), dtype=np.float32)
        self._settings = settings
        self._resampling = Resampling.of(
            patient, n_cases=len(patient), strata=strata, n_replicates=settings.n_replicates, seed=settings.seed
        )

    def bca(self, statistic: Weighted, reason: str) -> Figure:
        """A figure with its bias-corrected and accelerated bootstrap interval."""
        return self.many(lambda weights: statistic(weights)[:, None], reason)[0]

    def many(self, statistic: Weighted, reason: str) -> list[Figure]:
        """Figures of a statistic that returns an array of shape (replicate, figure)."""
        values, replicates = self._replicates(statistic)
        acceleration = self._resampling.acceleration(statistic) if len(replicates) else np.zeros(len(values))
        figures = []
        for value, replicate, bend in zip(values, replicates.T, acceleration):
            defined = replicate[np.isfinite(replicate)]
            bounds = (math.nan, math.nan)
            if varies(defined):
                bounds = bca_interval(float(value), replicate, float(bend), self._settings.confidence)
            figures.append(self._figure(float(value), bounds, len(defined), "BCa bootstrap", reason))
        return figures

    def proportions(self, statistic: Weighted, counted: np.ndarray, reason: str) -> list[Figure]:
        """Figures that are proportions: score interval, bootstrap variance.

        Parameters
        ----------
        counted : ndarray of int, shape (case,)
            How many of the things that are counted each case has; their patients are the units.
        """
        values, replicates = self._replicates(statistic)
        n_units = len(np.unique(self._resampling.unit[counted > 0]))
        figures = []
        for value, replicate in zip(values, replicates.T):
            low, high, n_defined = replicate_proportion_interval(
                float(value), replicate, n_units=n_units, confidence=self._settings.confidence
            )
            method = "score, bootstrap variance"
            figures.append(self._figure(float(value), (low, high), n_defined, method, reason) | {"n_units": n_units})
        return figures

    def _replicates(self, statistic: Weighted) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.asarray(statistic(self._one), float)[0]
        if not self._settings.n_replicates or not np.isfinite(values).any():
            return values, np.empty((0, len(values)))
        return values, self._resampling.replicates(statistic)

    def _figure(self, value: float, bounds: tuple[float, float], n_replicates: int, method: str, reason: str) -> Figure:
        settings = self._settings
        interval = Interval(
            value, *bounds, n_replicates, method, self._resampling.n_units, settings.seed, settings.confidence
        )
        return figure_of(interval, reason=reason)
