"""Analysis of variance of the figures of readers, with correlated errors, after Obuchowski and Rockette."""

import math
from collections.abc import Sequence

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.reader_covariance import ErrorCovariance, error_covariance, jackknife_covariance
from medseg.evaluation.reader_designs import ErrorTerms, excess, figure_mean_squares, hillis_df, study_of
from medseg.evaluation.reader_study import (
    FIXED_CASES,
    FIXED_READERS,
    RANDOM_BOTH,
    MeanSquares,
    ReaderStudy,
    VarianceComponents,
)

__all__ = ["checked_figures", "names_of", "obuchowski_rockette", "or_components"]


def obuchowski_rockette(
    values: np.ndarray,
    jackknife: np.ndarray | None = None,
    *,
    covariance: np.ndarray | None = None,
    n_units: int | None = None,
    modalities: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> ReaderStudy:
    """Compare modalities after Obuchowski and Rockette, with the degrees of freedom of Hillis.

    Parameters
    ----------
    values : array-like, shape (modality, reader)
        The figure of every reader in every modality.
    jackknife : array-like, shape (modality, reader, unit)
        The figures without each case, or without each patient.
    covariance : array-like, shape (modality, reader, modality, reader), optional
        Covariance of the figures for given readers, instead of `jackknife`; `n_units` then says how many cases or
        patients it comes from.
    modalities, readers : sequence of str, optional
        Names for the result; by default numbers from 1.
    confidence : float
        Of every interval.

    Returns
    -------
    ReaderStudy
        With one modality the means have intervals and the tests are NaN; with one reader so is all that takes readers
        as a sample.

    Raises
    ------
    TableError
        For arrays of other shapes, or values that are not finite.

    Notes
    -----
    With mean squares MS of the figures, J readers and error covariances Var, Cov1, Cov2, Cov3, MS(T) is divided by

    - MS(TR) + J max(Cov2 - Cov3, 0) with both random (Obuchowski and Rockette 1995, doi:10.1080/03610919508813243),
      with the square of it over MS(TR)^2 / ((I - 1)(J - 1)) degrees of freedom (Hillis 2007, doi:10.1002/sim.2532);
    - Var - Cov1 + (J - 1) max(Cov2 - Cov3, 0) with fixed readers, for a chi-square;
    - MS(TR) with fixed cases, with (I - 1)(J - 1) degrees of freedom.

    Examples
    --------
    >>> values = [[0.7, 0.8, 0.75], [0.8, 0.9, 0.85]]
    >>> without = np.array(values)[..., None] + np.array([-1, 1, -1, 1]) * 0.01
    >>> study = obuchowski_rockette(values, without)
    >>> round(study.random_both.differences[0].value, 6), round(study.fixed_cases.p_value, 6)
    (-0.1, 0.0)
    """
    figures, without, names = checked_figures(values, jackknife, modalities, readers)
    matrix, n_units = _covariance(without, covariance, n_units, figures.shape)
    error, mean_squares = error_covariance(matrix), figure_mean_squares(figures)
    return study_of(
        "obuchowski_rockette",
        figures,
        names,
        or_components(error, mean_squares, n_units),
        mean_squares,
        _error_terms(figures, error, mean_squares),
        confidence,
    )


def _covariance(
    without: np.ndarray | None, covariance: np.ndarray | None, n_units: int | None, shape: tuple[int, ...]
) -> tuple[np.ndarray, int]:
    """Covariance of the figures from either source, and the number of units behind it."""
    if (without is None) == (covariance is None):
        raise TableError("give either the leave-one-out figures or their covariance")
    if without is not None:
        return jackknife_covariance(without), without.shape[2]
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.shape != (*shape, *shape) or not np.isfinite(matrix).all():
        raise TableError(f"the covariance must be finite numbers of shape {(*shape, *shape)}, found {matrix.shape}")
    if n_units is None:
        raise TableError("a covariance needs n_units, the number of cases or patients that it comes from")
    return matrix, int(n_units)


def or_components(error: ErrorCovariance, mean_squares: MeanSquares, n_units: int) -> VarianceComponents:
    """Variance components from mean squares of the figures (Hillis, Obuchowski and Berbaum 2011).

    Cov2 - Cov3 counts as 0 where it is below, as in the error term, so that a planned study of the pilot's size has
    the pilot's error term.
    """
    n_modalities = len(error.variance_of_modality)
    return VarianceComponents(
        variance=error.variance,
        cov1=error.cov1,
        cov2=error.cov2,
        cov3=error.cov3,
        reader=(mean_squares.reader - mean_squares.modality_reader) / n_modalities - error.cov1 + error.cov3,
        modality_reader=mean_squares.modality_reader
        - error.variance
        + error.cov1
        + float(excess(error.cov2, error.cov3)),
        n_units=n_units,
    )


def _error_terms(
    values: np.ndarray, error: ErrorCovariance, mean_squares: MeanSquares
) -> tuple[ErrorTerms, ErrorTerms, ErrorTerms]:
    n_modalities, n_readers = values.shape
    df, reader_df = float((n_modalities - 1) * (n_readers - 1)), float(n_readers - 1)
    interaction = mean_squares.modality_reader
    alone = n_readers == 1
    of_both = 0.0 if alone else float(excess(error.cov2, error.cov3))
    of_modality = np.zeros(n_modalities) if alone else excess(error.cov2_of_modality)
    reader_squares = values.var(axis=1, ddof=1) if not alone else np.full(n_modalities, np.nan)
    both, both_mean = interaction + n_readers * of_both, reader_squares + n_readers * of_modality
    return (
        ErrorTerms(RANDOM_BOTH, both, hillis_df(both, interaction, df), both_mean,
                   np.array([hillis_df(a, b, reader_df) for a, b in zip(both_mean, reader_squares)])),
        ErrorTerms(FIXED_READERS, error.variance - error.cov1 + (n_readers - 1) * of_both, math.inf,
                   error.variance_of_modality + (n_readers - 1) * of_modality, np.full(n_modalities, np.inf),
                   error.variance_of_reader - error.cov1_of_reader),
        ErrorTerms(FIXED_CASES, interaction, df, reader_squares, np.full(n_modalities, reader_df)),
    )  # fmt: skip


def checked_figures(
    values: np.ndarray | Sequence,
    jackknife: np.ndarray | Sequence | None,
    modalities: Sequence[str] | None,
    readers: Sequence[str] | None,
) -> tuple[np.ndarray, np.ndarray | None, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Figures of shape (modality, reader), and those without each unit, as arrays of float64; names of both.

    Raises
    ------
    TableError
        For other shapes, fewer than two units, or a value that is not finite, naming its reader and modality.
    """
    figures = np.asarray(values, dtype=np.float64)
    if figures.ndim != 2 or 0 in figures.shape:
        raise TableError(f"the figures must have the shape (modality, reader), found {figures.shape}")
    names = names_of(figures.shape, modalities, readers)
    if not np.isfinite(figures).all():
        modality, reader = np.argwhere(~np.isfinite(figures))[0]
        raise TableError(f"the figure of reader {names[1][reader]} in modality {names[0][modality]} is not defined")
    if jackknife is None:
        return figures, None, names
    without = np.asarray(jackknife, dtype=np.float64)
    if without.ndim != 3 or without.shape[:2] != figures.shape or without.shape[2] < 2:
        raise TableError(
            f"the leave-one-out figures must have the shape {figures.shape} and at least two cases, "
            f"found {without.shape}"
        )
    if not np.isfinite(without).all():
        modality, reader, unit = np.argwhere(~np.isfinite(without))[0]
        raise TableError(
            f"the figure of reader {names[1][reader]} in modality {names[0][modality]} is not defined without case or "
            f"patient number {unit} (from 0): at least two with disease and two without are needed"
        )
    return figures, without, names


def names_of(
    shape: tuple[int, ...], modalities: Sequence[str] | None, readers: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of modalities and readers, numbers from 1 where none are given.

    Raises
    ------
    TableError
        When their number is not that of the figures, or one is given twice.
    """
    found = []
    for what, given, count in zip(("modalities", "readers"), (modalities, readers), shape):
        names = tuple(str(name) for name in given) if given is not None else tuple(str(i + 1) for i in range(count))
        if len(names) != count:
            raise TableError(f"{count} {what} have figures, but {len(names)} names are given: {', '.join(names)}")
        if len(set(names)) < count:
            raise TableError(f"the names of {what} must differ, found {', '.join(names)}")
        found.append(names)
    return found[0], found[1]
