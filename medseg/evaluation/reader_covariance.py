"""Covariance of the figures of readers who read the same cases: by leaving cases out, or after DeLong."""

import math
from dataclasses import dataclass

import numpy as np

from medseg.evaluation import delong
from medseg.evaluation.resampling import Weighted

__all__ = ["ErrorCovariance", "delong_covariance", "error_covariance", "jackknife_covariance", "leave_one_out"]

BLOCK = 1_000_000  # weights held at a time, 8 MB of float64; a statistic may hold ten such arrays


def leave_one_out(statistic: Weighted, unit: np.ndarray) -> tuple[float, np.ndarray]:
    """A statistic of all cases, and of all but one unit.

    Parameters
    ----------
    statistic : callable
        Takes case weights of shape (replicate, case), returns shape (replicate,).
    unit : ndarray of int, shape (case,)
        Number of what is left out together, from 0: the case itself, or its patient.

    Returns
    -------
    value : float
    without : ndarray, shape (unit,)
        NaN where the statistic is not defined without a unit.

    Examples
    --------
    >>> leave_one_out(lambda weights: weights @ [1.0, 2.0, 6.0] / weights.sum(axis=1), np.arange(3))
    (3.0, array([4. , 3.5, 1.5]))
    """
    ones = np.ones(len(unit))
    n_units = int(unit.max()) + 1
    rows = max(1, BLOCK // len(unit))
    blocks = []
    with np.errstate(invalid="ignore", divide="ignore"):
        value = float(statistic(ones[None])[0])
        for start in range(0, n_units, rows):
            left_out = np.arange(start, min(start + rows, n_units))
            blocks.append(statistic(np.where(unit == left_out[:, None], 0.0, ones)))  # (replicate, case)
    return value, np.concatenate(blocks)


def jackknife_covariance(jackknife: np.ndarray) -> np.ndarray:
    """Covariance of figures from their leave-one-out values.

    ``(n - 1) / n`` times the sum over units of the products of deviations from the mean (Efron and Stein 1981,
    doi:10.1214/aos/1176345462).

    Parameters
    ----------
    jackknife : ndarray, shape (modality, reader, unit)

    Returns
    -------
    ndarray, shape (modality, reader, modality, reader)
    """
    n_units = jackknife.shape[2]
    deviation = jackknife - jackknife.mean(axis=2, keepdims=True)
    return np.einsum("ijk,abk->ijab", deviation, deviation) * (n_units - 1) / n_units


def delong_covariance(truth: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """AUC of every reader in every modality, and their covariance (DeLong 1988, doi:10.2307/2531595).

    Parameters
    ----------
    truth : ndarray of bool, shape (case,)
    scores : ndarray, shape (modality, reader, case)

    Returns
    -------
    auc : ndarray, shape (modality, reader)
    covariance : ndarray, shape (modality, reader, modality, reader)

    Raises
    ------
    TableError
        With fewer than two cases of a kind.
    """
    shape = scores.shape[:2]
    auc, covariance = delong.delong_covariance(np.asarray(truth, dtype=bool), scores.reshape(-1, scores.shape[2]))
    return auc.reshape(shape), np.reshape(covariance, (*shape, *shape))


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCovariance:
    """Means of a covariance matrix over pairs of one kind (Obuchowski and Rockette 1995).

    Parameters
    ----------
    variance, cov1, cov2, cov3 : float
        Mean variance, and mean covariance of one reader in two modalities, of two readers in one modality, of two
        readers in two modalities; NaN where there is no such pair.
    variance_of_modality, cov2_of_modality : ndarray, shape (modality,)
    variance_of_reader, cov1_of_reader : ndarray, shape (reader,)
    """

    variance: float
    cov1: float
    cov2: float
    cov3: float
    variance_of_modality: np.ndarray
    cov2_of_modality: np.ndarray
    variance_of_reader: np.ndarray
    cov1_of_reader: np.ndarray


def error_covariance(covariance: np.ndarray) -> ErrorCovariance:
    """Average a covariance matrix of shape (modality, reader, modality, reader) over pairs of one kind."""
    n_modalities, n_readers = covariance.shape[:2]
    variance = np.einsum("ijij->ij", covariance)  # (modality, reader)
    same_reader = np.einsum("ijaj->j", covariance) - variance.sum(axis=0)  # pairs of modalities, twice
    same_modality = np.einsum("ijib->i", covariance) - variance.sum(axis=1)  # pairs of readers, twice
    neither = covariance.sum() - variance.sum() - same_reader.sum() - same_modality.sum()
    modality_pairs, reader_pairs = n_modalities * (n_modalities - 1), n_readers * (n_readers - 1)
    cov1_of_reader = same_reader / (modality_pairs or math.nan)
    cov2_of_modality = same_modality / (reader_pairs or math.nan)
    return ErrorCovariance(
        variance=float(variance.mean()),
        cov1=float(cov1_of_reader.mean()),
        cov2=float(cov2_of_modality.mean()),
        cov3=float(neither / (modality_pairs * reader_pairs or math.nan)),
        variance_of_modality=variance.mean(axis=1),
        cov2_of_modality=cov2_of_modality,
        variance_of_reader=variance.mean(axis=0),
        cov1_of_reader=cov1_of_reader,
    )
