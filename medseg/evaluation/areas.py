"""Areas under ROC curves, many at once: one for each row of case weights."""

import numpy as np

__all__ = ["area", "area_weighted", "mcclish", "partial_area", "weighted_roc"]

CHUNK = 1_000_000  # entries of (replicate, case) worked on at a time


def weighted_roc(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """ROC points under case weights.

    Parameters
    ----------
    truth, score : ndarray, shape (case,)
        Labels as bool and scores; minus infinity is allowed here.
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    fpr, tpr : ndarray, shape (replicate, point)
        Starting at 0; NaN in replicates without one kind of case.
    threshold : ndarray, shape (point,)
    """
    truth, score = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    order = np.argsort(-score, kind="stable")
    ranked, positive = score[order], truth[order]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)
    weights = weights[:, order]
    true = np.cumsum(np.where(positive, weights, 0), axis=1, dtype=np.float64)[:, ends]
    false = np.cumsum(np.where(positive, 0, weights), axis=1, dtype=np.float64)[:, ends]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = true / true[:, -1:], false / false[:, -1:]
    start = np.zeros((len(weights), 1))
    return np.hstack([start, fpr]), np.hstack([start, tpr]), np.append(np.inf, ranked[ends])


def area(fpr: np.ndarray, tpr: np.ndarray) -> np.ndarray:
    """Trapezoidal area of curves of shape (replicate, point)."""
    return np.sum(np.diff(fpr, axis=1) * (tpr[:, 1:] + tpr[:, :-1]) / 2, axis=1)


def partial_area(x: np.ndarray, y: np.ndarray, low: float, high: float) -> np.ndarray:
    """Area of piecewise linear curves, shape (replicate, point), over low <= x <= high, exact at both ends."""
    x0, x1, y0, y1 = x[:, :-1], x[:, 1:], y[:, :-1], y[:, 1:]
    left, right = np.clip(x0, low, high), np.clip(x1, low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.where(x1 > x0, (y1 - y0) / (x1 - x0), 0.0)
    middle = y0 + slope * ((left + right) / 2 - x0)
    return np.sum((right - left) * middle, axis=1)


def area_weighted(
    truth: np.ndarray, score: np.ndarray, weights: np.ndarray, low: float, high: float, *, floor: float = 0.0
) -> np.ndarray:
    """Area between `floor` and the curve over false-positive fractions from `low` to `high`, under case weights.

    Only scores that cases without disease have move the curve to the right, so the area is a sum over these levels;
    those beyond `high` in every replicate are not looked at.

    Parameters
    ----------
    truth, score : ndarray, shape (case,)
    weights : ndarray, shape (replicate, case)

    Returns
    -------
    ndarray, shape (replicate,)
    """
    weights = np.asarray(weights)
    truth, score = np.asarray(truth, dtype=bool), np.asarray(score, dtype=np.float64)
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    positive = positive[np.argsort(-score[positive], kind="stable")]
    negative = negative[np.argsort(-score[negative], kind="stable")]
    if not len(positive) or not len(negative):
        return np.full(len(weights), np.nan)
    ranked = -score[negative]
    ends = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]), len(ranked) - 1)  # last case of each level
    levels = ranked[ends]
    above = np.searchsorted(-score[positive], levels, side="left")
    upto = np.searchsorted(-score[positive], levels, side="right")
    rows = max(1, CHUNK // len(score))
    blocks = [
        _area_block(weights[start : start + rows], positive, negative, (ends, above, upto), (low, high, floor))
        for start in range(0, len(weights), rows)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _area_block(
    weights: np.ndarray,
    positive: np.ndarray,
    negative: np.ndarray,
    levels: tuple[np.ndarray, np.ndarray, np.ndarray],
    limits: tuple[float, float, float],
) -> np.ndarray:
    (ends, above, upto), (low, high, floor) = levels, limits
    false = _running(weights, negative)  # (replicate, 1 + case)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = (false[:, 1:][:, ends] >= high * false[:, -1:]).all(axis=0)
        last = int(np.argmax(reached)) + 1 if reached.any() else len(ends)
        ends, above, upto = ends[:last], above[:last], upto[:last]
        true = _running(weights, positive)
        right = false[:, ends + 1] / false[:, -1:]
        left = np.hstack([np.zeros((len(weights), 1)), right[:, :-1]])
        bottom, top = true[:, above] / true[:, -1:], true[:, upto] / true[:, -1:]
        slope = np.where(right > left, (top - bottom) / (right - left), 0.0)
        x0, x1 = np.clip(left, low, high), np.clip(right, low, high)
        y0, y1 = bottom + slope * (x0 - left) - floor, bottom + slope * (x1 - left) - floor
        if floor == 0:
            return np.sum((x1 - x0) * (y0 + y1) / 2, axis=1)
        width = np.where((y0 < 0) & (y1 > 0), (x1 - x0) * y1 / (y1 - y0), x1 - x0)  # the part above the floor
        return np.sum(width * (np.maximum(y0, 0) + np.maximum(y1, 0)) / 2, axis=1)


def _running(weights: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Running sums of the weights of cases in an order, from 0; shape (replicate, 1 + case)."""
    sums = np.zeros((len(weights), len(order) + 1))
    np.cumsum(weights[:, order], axis=1, dtype=np.float64, out=sums[:, 1:])
    return sums


def mcclish(raw, chance: float, perfect: float):  # type: ignore[no-untyped-def]
    """Standardise a partial area: 0.5 is chance, 1 is perfect."""
    return (1 + (raw - chance) / (perfect - chance)) / 2
