"""Bootstrap by patient: whole patients are drawn, so that their images and lesions stay together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medseg.errors import TableError

__all__ = ["Interval", "bootstrap", "case_weights", "percentile_interval"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its interval.

    Parameters
    ----------
    value, low, high : float
    n_replicates : int
        Replicates in which the figure was defined.
    """

    value: float
    low: float
    high: float
    n_replicates: int


def case_weights(patient: np.ndarray, n_replicates: int, seed: int) -> np.ndarray:
    """How often each case is drawn when patients are drawn with replacement; shape (replicate, case).

    Parameters
    ----------
    patient : ndarray of int, shape (case,)
        Number of each case's patient, from 0.
    """
    n_patients = int(patient.max()) + 1
    random = np.random.default_rng(seed)
    counts = random.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=n_replicates)
    return counts[:, patient].astype(np.float32)


def percentile_interval(replicates: np.ndarray, confidence: float) -> tuple[float, float]:
    """Percentile interval over the replicates that are defined; NaN with fewer than 20 of them."""
    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 20:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)


def bootstrap(
    statistic: Callable[..., float],
    data: dict[str, Any],
    *,
    unit: Any,
    n_replicates: int = 2000,
    method: Literal["percentile"] = "percentile",
    seed: int = 0,
    confidence: float = 0.95,
) -> Interval:
    """Bootstrap any statistic of case-wise arrays.

    Parameters
    ----------
    statistic : callable
        Called with the arrays of `data` by name, returns a float; a `TableError` or NaN makes a replicate undefined.
    data : dict of str to array-like, each of shape (n_cases, ...)
    unit : array-like, shape (n_cases,)
        What is drawn: the patient of each case.

    Examples
    --------
    >>> bootstrap(lambda x: float(x.mean()), {"x": np.ones(8)}, unit=np.arange(8), n_replicates=50)
    Interval(value=1.0, low=1.0, high=1.0, n_replicates=50)
    """
    if method != "percentile":
        raise TableError(f"bootstrap method '{method}': allowed is percentile")
    arrays = {name: np.asarray(values) for name, values in data.items()}
    _, group = np.unique(np.asarray(unit), return_inverse=True)
    members = [np.flatnonzero(group == number) for number in range(int(group.max()) + 1)]
    random = np.random.default_rng(seed)
    replicates = np.full(n_replicates, np.nan)
    for number in range(n_replicates):
        drawn = np.concatenate([members[i] for i in random.integers(len(members), size=len(members))])
        try:
            replicates[number] = statistic(**{name: values[drawn] for name, values in arrays.items()})
        except TableError:
            continue
    low, high = percentile_interval(replicates, confidence)
    return Interval(float(statistic(**arrays)), low, high, int(np.isfinite(replicates).sum()))
