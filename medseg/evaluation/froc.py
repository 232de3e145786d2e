"""FROC: sensitivity for lesions against false positives a case."""

from dataclasses import dataclass

import numpy as np

from medseg.evaluation.matching import Matches

__all__ = ["CPM_RATES", "FrocCurve", "froc", "froc_curves", "partial_area_flat", "sensitivity_at"]

CPM_RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, eq=False)
class FrocCurve:
    """Operating points from no mark to all marks.

    Parameters
    ----------
    fp_per_case, sensitivity, threshold : ndarray, shape (n,)
        The first point is (0, 0) at infinity; marks at or above the threshold are reported.
    """

    fp_per_case: np.ndarray
    sensitivity: np.ndarray
    threshold: np.ndarray

    def sensitivity_at(self, rate: float) -> float:
        """Sensitivity at a number of false positives a case: linear between points, flat beyond the last."""
        return float(sensitivity_at(self.fp_per_case[None], self.sensitivity[None], np.array([rate]))[0, 0])

    def threshold_at(self, rate: float) -> float:
        """Lowest threshold that keeps to `rate` false positives a case."""
        return float(self.threshold[np.flatnonzero(self.fp_per_case <= rate)[-1]])

    @property
    def cpm(self) -> float:
        """Mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a case."""
        return float(np.mean([self.sensitivity_at(rate) for rate in CPM_RATES]))

    def partial_area(self, low: float, high: float) -> float:
        """Area between `low` and `high` false positives a case, divided by the range, flat beyond the last point."""
        return float(partial_area_flat(self.fp_per_case[None], self.sensitivity[None], low, high)[0])


def froc(matches: Matches) -> FrocCurve:
    """FROC curve of all cases; NaN sensitivities where there is no lesion."""
    fp, sensitivity, threshold = froc_curves(matches, np.ones((1, matches.n_cases)))
    return FrocCurve(fp[0], sensitivity[0], threshold)


def froc_curves(matches: Matches, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """FROC curves under case weights.

    Parameters
    ----------
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    fp_per_case, sensitivity : ndarray, shape (replicate, point)
    threshold : ndarray, shape (point,)
    """
    found = np.isfinite(matches.lesion_score)
    score = np.concatenate([matches.lesion_score[found], matches.false_score])
    case = np.concatenate([matches.lesion_case[found], matches.false_case]).astype(int)
    is_lesion = np.arange(len(score)) < found.sum()
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    ends = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.empty(0, int)
    drawn = weights[:, case[order]].astype(np.float64)
    hits = np.cumsum(np.where(is_lesion[order], drawn, 0), axis=1)[:, ends]
    false = np.cumsum(np.where(is_lesion[order], 0, drawn), axis=1)[:, ends]
    n_lesions = weights[:, matches.lesion_case].sum(axis=1, keepdims=True).astype(float)
    n_cases = weights.sum(axis=1, keepdims=True).astype(float)
    start = np.zeros((len(weights), 1))
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = np.hstack([start, hits]) / n_lesions
        fp = np.hstack([start, false]) / n_cases
    return fp, sensitivity, np.append(np.inf, ranked[ends])


def sensitivity_at(fp: np.ndarray, sensitivity: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Sensitivity of curves, shape (replicate, point), at `rates`; shape (replicate, rate).

    Linear between points, flat beyond the last. Where several points share a rate exactly the highest counts,
    because it costs nothing.
    """
    return np.array([np.interp(rates, x, y) for x, y in zip(fp, sensitivity)])


def partial_area_flat(fp: np.ndarray, sensitivity: np.ndarray, low: float, high: float) -> np.ndarray:
    """Normalised area of curves, shape (replicate, point), continued flat to `high`."""
    from medseg.evaluation.roc import partial_area

    end = np.maximum(fp[:, -1:], high)
    x, y = np.hstack([fp, end]), np.hstack([sensitivity, sensitivity[:, -1:]])
    return partial_area(x, y, low, high) / (high - low)
