"""One score of two: a logistic regression on the logits of the first and the second stage."""

import logging
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from medseg.errors import CheckpointError, ConfigError

__all__ = ["Fusion", "check_enough", "fit_fusion"]

logger = logging.getLogger(__name__)
LARGEST_LOGIT = 13.8  # scores beyond 1e-6 and 1 - 1e-6 say no more


@dataclass(frozen=True, slots=True)
class Fusion:
    """``sigmoid(intercept + first * logit(score_first) + second * logit(score_second))``.

    Parameters
    ----------
    method : {"logistic", "first", "second"}
        Fitted, or one score alone where a fit would have turned the other round.
    intercept, first, second : float
        Numbers of the formula; none of `first` and `second` is below 0, so that a higher score never lowers the result.
    n_positive, n_negative : int
        Validation candidates that it was fitted on.
    reason : str
        Why it is one score alone, empty otherwise.
    """

    method: Literal["logistic", "first", "second"]
    intercept: float
    first: float
    second: float
    n_positive: int = 0
    n_negative: int = 0
    reason: str = ""

    def apply(self, score_first: np.ndarray, score_second: np.ndarray) -> np.ndarray:
        """Return the fused scores, shape (n,), of scores between 0 and 1."""
        total = self.intercept + self.first * _logit(score_first) + self.second * _logit(score_second)
        return 1 / (1 + np.exp(-total))

    def content(self) -> dict[str, Any]:
        """Return plain numbers for JSON."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "Fusion":
        """Read what `content` gave.

        Raises
        ------
        CheckpointError
            When it is none, or a coefficient is below 0.
        """
        try:
            fusion = cls(**content)
            numbers = [float(value) for value in (fusion.intercept, fusion.first, fusion.second)]
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"second stage: the fusion is damaged ({error})") from error
        if not np.isfinite(numbers).all() or min(numbers[1:]) < 0:
            raise CheckpointError(f"second stage: coefficients of 0 or more were expected, found {numbers[1:]}")
        return fusion


def _logit(score: np.ndarray) -> np.ndarray:
    score = np.asarray(score, dtype=np.float64)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(score) - np.log1p(-score), -LARGEST_LOGIT, LARGEST_LOGIT)


def check_enough(positive: np.ndarray) -> tuple[int, int]:
    """How many candidates are positive and negative.

    Raises
    ------
    ConfigError
        When there are too few for a fit.
    """
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if min(n_positive, n_negative) < 2:
        raise ConfigError(
            f"the validation part has {n_positive} positive and {n_negative} negative, at least two of each are needed "
            "to fuse scores; give it more patients (split.val)"
        )
    return n_positive, n_negative


def fit_fusion(positive: np.ndarray, score_first: np.ndarray, score_second: np.ndarray) -> Fusion:
    """Fit the fusion on candidates that neither stage was trained on.

    Where a coefficient would be negative (a higher score then counted against a candidate, which only chance or a
    damaged stage explains), one score is used alone, and the log says so: the second where its area under the ROC
    curve is the greater and its interval (95 %, DeLong) lies above 0.5, so that a stage that tells nothing is not
    taken because the other ranks badly; else the first.

    Parameters
    ----------
    positive : ndarray of bool, shape (n,)
    score_first, score_second : ndarray, shape (n,)
        Between 0 and 1.

    Raises
    ------
    ConfigError
        When there are not at least two positive and two negative candidates.
    """
    from sklearn.linear_model import LogisticRegression

    from medseg.evaluation import roc_auc
    from medseg.evaluation.delong import delong_interval

    positive = np.asarray(positive, dtype=bool)
    n_positive, n_negative = check_enough(positive)
    logits = np.stack([_logit(score_first), _logit(score_second)], axis=1)
    model = LogisticRegression(max_iter=1000).fit(logits, positive)
    first, second = (float(value) for value in model.coef_[0])
    if min(first, second) >= 0:
        return Fusion("logistic", float(model.intercept_[0]), first, second, n_positive, n_negative)
    areas = roc_auc(positive, score_first), roc_auc(positive, score_second)
    reason = (
        f"a fit would turn a score round (coefficients {first:.3g} and {second:.3g}); areas under the ROC curve of the "
        f"validation candidates: first {areas[0]:.3f}, second {areas[1]:.3f}"
    )
    _, lowest, _ = delong_interval(positive, score_second)
    better: Literal["first", "second"] = "second" if areas[1] > areas[0] and lowest > 0.5 else "first"
    if better == "first" and areas[1] > areas[0]:
        reason += f", which may be chance (interval from {lowest:.3f} on)"
    logger.warning("second stage: the score of the %s stage is used alone: %s", better, reason)
    return Fusion(better, 0.0, float(better == "first"), float(better == "second"), n_positive, n_negative, reason)
