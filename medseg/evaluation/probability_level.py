"""How well probabilities are calibrated: Brier score and calibration error with intervals by patient, the curve."""

from typing import Any

import numpy as np

from medseg.evaluation.calibration import (
    brier_weighted,
    expected_calibration_error_weighted,
    reliability_curve,
)
from medseg.evaluation.figures import Figures
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["BINS", "probability_level"]

BINS = 10
NOTHING = "there is nothing with a probability"


def probability_level(
    truth: np.ndarray, probability: np.ndarray, case: np.ndarray, patient: np.ndarray, settings: EvaluationSettings
) -> dict[str, Any]:
    """Figures of probabilities of cases, or of candidates in cases.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    probability : ndarray of float between 0 and 1, shape (n,)
    case : ndarray of int, shape (n,)
        Case of each, as an index into `patient`.
    patient : ndarray, shape (n_cases,)
        Patients are drawn, with all that they have.
    """
    compute = Figures(patient, np.zeros(len(patient), int), settings)
    drawn = case.astype(int)
    brier = compute.bca(lambda w: brier_weighted(truth, probability, drawn, w), NOTHING)
    error = compute.bca(
        lambda w: expected_calibration_error_weighted(truth, probability, drawn, w, n_bins=BINS), NOTHING
    )
    curve = reliability_curve(truth, probability, n_bins=BINS, confidence=settings.confidence)
    points: dict[str, Any] = {name: getattr(curve, name) for name in curve.__slots__}
    about = {"ci_method": "Wilson", "ci_unit": "case"}
    if len(set(patient[drawn].tolist())) < len(truth):  # not independent
        points |= {end: np.full(len(curve.count), np.nan) for end in ("low", "high")}
        about = {"ci_reason": "patients have several"}
    return {
        "n": len(truth),
        "n_positive": int(truth.sum()),
        "n_bins": BINS,
        "mean_probability": float(probability.mean()),
        "brier": brier,
        "expected_calibration_error": error,
        "curve": points | about,
    }
