"""What is said of the scores of a prediction beside the scores: probabilities, and how much mirror images differ."""

from dataclasses import replace

import numpy as np

from medseg.detectors.candidates import Candidate
from medseg.inference.prediction import Prediction
from medseg.inference.score_calibration import ScoreCalibration
from medseg.inference.spread_of_scores import MapSpread

__all__ = ["calibrated", "standard_deviation", "with_spread"]


def calibrated(prediction: Prediction, scores: ScoreCalibration) -> Prediction:
    """Give the case and its findings the probabilities of their scores; None where there is no calibration."""
    case, candidate = scores.case, scores.candidate
    findings = prediction.findings
    if candidate is not None:
        findings = [replace(finding, probability=candidate(finding.score)) for finding in findings]
    probability = None if case is None else case(prediction.score)
    return replace(prediction, findings=findings, case_probability=probability)


def with_spread(prediction: Prediction, candidates: list[Candidate], spread: MapSpread) -> Prediction:
    """Give the case and its findings, in the order of `candidates`, how much their scores differ over the passes."""
    deviation = spread.maps_sd
    if deviation is None or prediction.map is None:
        return prediction
    findings = [
        finding if c.peak is None else replace(finding, score_sd=float(deviation[(c.class_index, *c.peak)]))
        for finding, c in zip(prediction.findings, candidates, strict=True)
    ]
    return replace(
        prediction, findings=findings, score_sd=spread.score_sd, uncertainty=prediction.map.of_same_grid(deviation)
    )


def standard_deviation(values: np.ndarray) -> float | None:
    """With n - 1 in the denominator, shape (n,); None of fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
