"""From scores on validation to probabilities: Platt's logistic curve, or isotonic regression where there are enough."""

from typing import Any

import numpy as np

from medseg.inference.score_calibration import CLOSEST, log_odds

__all__ = ["ENOUGH", "FEW", "fit_probability"]

FEW = 10  # positives or negatives below which nothing is fitted
ENOUGH = 50  # from which the shape of the curve is left to the data


def fit_probability(truth: np.ndarray, score: np.ndarray, *, lowest: float = CLOSEST) -> dict[str, Any]:
    """Fit a probability to scores; the content of ``calibration.json``.

    Of positives and negatives the rarer kind counts: below `FEW` nothing is fitted, below `ENOUGH` Platt's method with
    two parameters, from there isotonic regression.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
    score : ndarray of float between 0 and 1, shape (n,)
    lowest : float
        For Platt's method lower scores count as this one.

    Returns
    -------
    dict
        ``method`` (None with the ``reason``), its parameters, ``n, n_positive``.
    """
    truth = np.asarray(truth, bool)
    n, n_positive = len(truth), int(truth.sum())
    rarer = min(n_positive, n - n_positive)
    counts = {"n": n, "n_positive": n_positive}
    if rarer < FEW:
        reason = f"{n_positive} positive and {n - n_positive} negative: at least {FEW} of each are needed"
        return {"method": None, "reason": reason, **counts}
    fitted = _isotonic(truth, score) if rarer >= ENOUGH else _platt(truth, score, lowest)
    return fitted | counts


def _platt(truth: np.ndarray, score: np.ndarray, lowest: float) -> dict[str, Any]:
    """Logistic regression on the log-odds of the score.

    The targets are ``(n1 + 1) / (n1 + 2)`` and ``1 / (n0 + 2)`` in place of 1 and 0 (Platt 1999, Probabilistic outputs
    for support vector machines, eq. 5), without which the curve of perfectly separated scores is a step.
    """
    from sklearn.linear_model import LogisticRegression

    n_positive = int(truth.sum())
    target = np.where(truth, (n_positive + 1) / (n_positive + 2), 1 / (len(truth) - n_positive + 2))
    x = log_odds(score, lowest)[:, None]
    # each is positive with the weight of its target and negative with what is left of it
    kind, weight = np.repeat([1, 0], len(truth)), np.concatenate([target, 1 - target])
    model = LogisticRegression(C=np.inf, max_iter=1000, tol=1e-8).fit(np.concatenate([x, x]), kind, weight)
    slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
    if slope <= 0:
        return {"method": None, "reason": "higher scores are not more often positive"}
    return {"method": "platt", "slope": slope, "intercept": intercept, "lowest": max(lowest, CLOSEST)}


def _isotonic(truth: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    """Isotonic regression within the probabilities that so few cases can show, those of Platt's targets."""
    from sklearn.isotonic import IsotonicRegression

    n_positive = int(truth.sum())
    low, high = 1 / (len(truth) - n_positive + 2), (n_positive + 1) / (n_positive + 2)
    model = IsotonicRegression(y_min=low, y_max=high, out_of_bounds="clip").fit(score, truth.astype(float))
    scores, values = model.X_thresholds_, model.y_thresholds_
    if values[0] == values[-1]:
        return {"method": None, "reason": "higher scores are not more often positive"}
    return {"method": "isotonic", "scores": scores.tolist(), "probabilities": values.tolist()}
