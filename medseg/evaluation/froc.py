"""FROC: sensitivity for lesions against false positives a case."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.areas import partial_area
from medseg.evaluation.bootstrap import Interval
from medseg.evaluation.checks import checked_confidence
from medseg.evaluation.matches import Matches
from medseg.evaluation.proportions import replicate_proportion_interval
from medseg.evaluation.resampling import Resampling

__all__ = [
    "CPM_RATES",
    "FrocCurve",
    "LesionLevels",
    "false_positive_scale",
    "froc",
    "froc_interval",
    "lesion_strata",
    "partial_area_flat",
    "sensitivity_at",
]

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class FrocCurve:
    """Operating points from no mark to all marks.

    Parameters
    ----------
    fp_per_case, sensitivity, threshold : ndarray, shape (n,)
        The first point is (0, 0) at infinity; marks at or above the threshold are reported. Sensitivities are NaN
        where there is no lesion.
    n_hits, n_false : ndarray of int, shape (n,)
        Lesions found and false positives at each threshold.
    """

    fp_per_case: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray
    n_hits: np.ndarray
    n_false: np.ndarray

    def sensitivity_at(self, rate: float) -> float:
        """Sensitivity at a number of false positives a case: linear between points, flat beyond the last."""
        return float(sensitivity_at(self.fp_per_case[None], self.sensitivity[None], np.array([rate]))[0, 0])

    def threshold_at(self, rate: float) -> float:
        """Lowest threshold that keeps to `rate` false positives a case."""
        within = np.flatnonzero(self.fp_per_case <= rate)
        return float(self.threshold[within[-1]]) if len(within) else float("inf")

    @property
    def cpm(self) -> float:
        """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case."""
        return float(np.mean([self.sensitivity_at(rate) for rate in CPM_RATES]))

    def partial_area(self, low: float, high: float) -> float:
        """Area between `low` and `high` false positives a case, divided by the range, flat beyond the last point."""
        return float(partial_area_flat(self.fp_per_case[None], self.sensitivity[None], low, high)[0])


def froc(matches: Matches) -> FrocCurve:
    """FROC curve of all cases, with a point for each distinct score.

    Examples
    --------
    >>> from medseg.evaluation import match_marks
    >>> lesions = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "diameter_mm": [10]}
    >>> marks = {"case_id": ["a", "a", "b"], "x": [1, 9, 0], "y": [0] * 3, "z": [0] * 3, "score": [0.8, 0.7, 0.9]}
    >>> curve = froc(match_marks({"case_id": ["a", "b"]}, marks, lesions))
    >>> curve.fp_per_case.tolist(), curve.sensitivity.tolist()
    ([0.0, 0.5, 0.5, 1.0], [0.0, 0.0, 1.0, 1.0])
    """
    found = matches.lesion_score[np.isfinite(matches.lesion_score)]
    threshold = np.unique(np.concatenate([found, matches.false_score]))[::-1]
    hits = len(found) - np.searchsorted(np.sort(found), threshold, side="left")
    false = len(matches.false_score) - np.searchsorted(np.sort(matches.false_score), threshold, side="left")
    hits, false = np.append(0, hits), np.append(0, false)
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = hits / np.float64(matches.n_lesions)
    return FrocCurve(false / matches.n_cases, sensitivity, np.append(np.inf, threshold), hits, false)


class LesionLevels:
    """The FROC curve of any replicate by its corners: only scores that lesions have move it upward.

    Parameters
    ----------
    matches : Matches
    """

    def __init__(self, matches: Matches) -> None:
        found = np.flatnonzero(np.isfinite(matches.lesion_score))
        found = found[np.argsort(-matches.lesion_score[found], kind="stable")]
        score = matches.lesion_score[found]
        last = np.append(np.flatnonzero(score[1:] != score[:-1]), len(score) - 1) if len(score) else np.empty(0, int)
        self._lesion_case, self._hit_case, self._last = matches.lesion_case, matches.lesion_case[found], last
        order = np.argsort(-matches.false_score, kind="stable")
        self._false_case = matches.false_case[order]
        ranked = -matches.false_score[order]
        self._above = np.searchsorted(ranked, -score[last], side="left")
        self._upto = np.searchsorted(ranked, -score[last], side="right")

    def counts(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Lesions found, and false positives above and at or above each level at which lesions lie.

        Returns
        -------
        hits, above, upto : ndarray, shape (replicate, level)
        false : ndarray, shape (replicate,)
            All false positives.
        """
        start = np.zeros((len(weights), 1))
        false = np.hstack([start, np.cumsum(weights[:, self._false_case], axis=1, dtype=np.float64)])
        hits = np.cumsum(weights[:, self._hit_case], axis=1, dtype=np.float64)[:, self._last]
        return hits, false[:, self._above], false[:, self._upto], false[:, -1]

    def n_lesions(self, weights: np.ndarray) -> np.ndarray:
        """Lesions in each replicate, shape (replicate,)."""
        return weights[:, self._lesion_case].sum(axis=1, dtype=np.float64)

    def corners(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the FROC curves, from (0, 0) to the last mark.

        Parameters
        ----------
        weights : ndarray, shape (replicate, case)

        Returns
        -------
        fp_per_case, sensitivity : ndarray, shape (replicate, corner)
        """
        hits, above, upto, false = self.counts(weights)
        n_lesions, n_cases = self.n_lesions(weights)[:, None], weights.sum(axis=1, dtype=np.float64)[:, None]
        before = np.hstack([np.zeros((len(weights), 1)), hits[:, :-1]]) if hits.shape[1] else hits
        y = np.stack([before, hits], axis=2).reshape(len(weights), -1)
        x = np.stack([above, upto], axis=2).reshape(len(weights), -1)
        start, end = np.zeros((len(weights), 1)), hits[:, -1:] if hits.shape[1] else np.zeros((len(weights), 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.hstack([start, x, false[:, None]]) / n_cases, np.hstack([start, y, end]) / n_lesions


def sensitivity_at(fp: np.ndarray, sensitivity: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Sensitivity of curves, shape (replicate, point), at `rates`; shape (replicate, rate).

    Linear between points, flat beyond the last. Where several points share a rate exactly the highest counts,
    because it costs nothing.
    """
    return np.array([np.interp(rates, x, y) for x, y in zip(fp, sensitivity)])


def partial_area_flat(fp: np.ndarray, sensitivity: np.ndarray, low: float, high: float) -> np.ndarray:
    """Normalised area of curves, shape (replicate, point), continued flat to `high`."""
    if not 0 <= low < high:
        raise TableError(f"a range of false positives a case rises from 0 or more, found {low} to {high}")
    end = np.maximum(fp[:, -1:], high)
    x, y = np.hstack([fp, end]), np.hstack([sensitivity, sensitivity[:, -1:]])
    return partial_area(x, y, low, high) / (high - low)


def false_positive_scale(matches: Matches) -> tuple[np.ndarray, np.ndarray]:
    """Scores of lesions and false positives as minus the number of false positives above them, ties counting half.

    One scale for two detectors of the same cases, whatever their scores mean and however many low-scored marks they
    list: what `permutation_test` exchanges. Unmarked lesions stay at minus infinity.

    Returns
    -------
    lesion : ndarray, shape (n_lesions,)
    false : ndarray, shape (n_false,)
    """
    ordered = np.sort(-matches.false_score)

    def scale(score: np.ndarray) -> np.ndarray:
        above = np.searchsorted(ordered, -score, side="left") + np.searchsorted(ordered, -score, side="right")
        return np.where(np.isfinite(score), -above / 2, -np.inf)

    return scale(matches.lesion_score), scale(matches.false_score)


def lesion_strata(matches: Matches) -> np.ndarray:
    """Whether the patient of each case has a lesion: the strata within which patients are drawn, shape (n_cases,)."""
    patient = matches.patient
    return np.isin(patient, patient[matches.lesion_case])


def froc_interval(
    matches: Matches,
    rates: Sequence[float] = CPM_RATES,
    *,
    n_replicates: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """Sensitivity at false positives a case, each with its interval.

    The variance comes from a bootstrap of patients, drawn within those with and without lesions, in which the
    threshold moves too; the interval is the score interval at the number of independent lesions that would have that
    variance (`effective_size_interval`). Percentiles of the bootstrap cover too seldom with few lesions and shrink
    to a point where all are found: see ``docs/evaluation.md``.

    Returns
    -------
    list of Interval
        One for each rate; NaN where there is no lesion.
    """
    checked_confidence(confidence)
    if n_replicates < 2:
        raise TableError(f"at least two replicates are needed for a variance, found {n_replicates}")
    levels, at = LesionLevels(matches), np.atleast_1d(np.asarray(rates, float))
    if not (at >= 0).all():
        raise TableError(f"false positives a case are numbers from 0 on, found {at.tolist()}")

    def sensitivities(weights: np.ndarray) -> np.ndarray:
        return sensitivity_at(*levels.corners(weights), at)

    resampling = Resampling.of(
        matches.patient_id, n_cases=matches.n_cases, strata=lesion_strata(matches), n_replicates=n_replicates, seed=seed
    )
    values = sensitivities(np.ones((1, matches.n_cases), np.float32))[0]
    replicates = resampling.replicates(sensitivities)
    n_units = len(set(matches.patient_id[matches.lesion_case].tolist()))
    intervals = []
    for value, replicate in zip(values, replicates.T):
        low, high, n_defined = replicate_proportion_interval(
            float(value), replicate, n_units=n_units, confidence=confidence
        )
        method = "score, bootstrap variance"
        intervals.append(Interval(float(value), low, high, n_defined, method, n_units, seed, confidence))
    return intervals
