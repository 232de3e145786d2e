"""Analysis of variance of jackknife pseudovalues, after Dorfman, Berbaum and Metz."""

from collections.abc import Sequence

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.obuchowski_rockette import checked_figures, or_components
from medseg.evaluation.reader_covariance import error_covariance, jackknife_covariance
from medseg.evaluation.reader_designs import ErrorTerms, excess, figure_mean_squares, hillis_df, study_of
from medseg.evaluation.reader_study import FIXED_CASES, FIXED_READERS, RANDOM_BOTH, MeanSquares, ReaderStudy

__all__ = ["dorfman_berbaum_metz", "pseudovalue_mean_squares", "pseudovalues"]


def dorfman_berbaum_metz(
    values: np.ndarray,
    jackknife: np.ndarray,
    *,
    modalities: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> ReaderStudy:
    """Compare modalities after Dorfman, Berbaum and Metz, with the degrees of freedom of Hillis.

    Parameters
    ----------
    values : array-like, shape (modality, reader)
        The figure of every reader in every modality.
    jackknife : array-like, shape (modality, reader, unit)
        The figures without each case, or without each patient.
    modalities, readers : sequence of str, optional
        Names for the result; by default numbers from 1.
    confidence : float
        Of every interval.

    Returns
    -------
    ReaderStudy
        Its mean squares are those of the pseudovalues, its components those of `obuchowski_rockette`.

    Raises
    ------
    TableError
        As `obuchowski_rockette`.

    Notes
    -----
    MS(T) of the pseudovalues is divided by MS(TR) + max(MS(TC) - MS(TRC), 0) with both random, by MS(TC) with fixed
    readers, by MS(TR) with fixed cases (Hillis, Berbaum and Metz 2008, doi:10.1016/j.acra.2007.12.015). With both
    random this is `obuchowski_rockette` with jackknife covariances, to the last digit (Hillis et al. 2005,
    doi:10.1002/sim.2024); with fixed readers that one takes a chi-square, this one F with (I - 1)(K - 1) degrees of
    freedom.
    """
    figures, without, names = checked_figures(values, jackknife, modalities, readers)
    if without is None:
        raise TableError("pseudovalues need the leave-one-out figures, found none")
    pseudo = pseudovalues(figures, without)
    of_figures, error = figure_mean_squares(figures), error_covariance(jackknife_covariance(without))
    return study_of(
        "dorfman_berbaum_metz",
        figures,
        names,
        or_components(error, of_figures, pseudo.shape[2]),
        pseudovalue_mean_squares(pseudo),
        _error_terms(pseudo, of_figures),
        confidence,
    )


def pseudovalues(values: np.ndarray, jackknife: np.ndarray) -> np.ndarray:
    """``K value - (K - 1) jackknife`` for K units, moved so that their mean is the value.

    The shift makes the mean squares those of the figures (Hillis, Berbaum and Metz 2008).

    Parameters
    ----------
    values : ndarray, shape (modality, reader)
    jackknife, and the result : ndarray, shape (modality, reader, unit)
    """
    n_units = jackknife.shape[2]
    return values[..., None] - (n_units - 1) * (jackknife - jackknife.mean(axis=2, keepdims=True))


def pseudovalue_mean_squares(pseudo: np.ndarray) -> MeanSquares:
    """Three-way analysis of variance of pseudovalues, shape (modality, reader, unit), one value a cell."""
    shape = np.array(pseudo.shape)
    grand = pseudo.mean()
    squares: dict[tuple[int, ...], float] = {}
    effects: dict[tuple[int, ...], np.ndarray] = {(): np.asarray(grand)}
    for kept in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        effect = pseudo.mean(axis=tuple(set(range(3)) - set(kept)), keepdims=True) if len(kept) < 3 else pseudo
        for lower, known in effects.items():
            if set(lower) < set(kept):
                effect = effect - known
        effects[kept] = effect
        df = int(np.prod(shape[list(kept)] - 1))
        repeats = pseudo.size // effect.size
        squares[kept] = float(repeats * np.sum(effect**2) / df) if df else float("nan")
    return MeanSquares(
        modality=squares[0,],
        reader=squares[1,],
        modality_reader=squares[0, 1],
        case=squares[2,],
        modality_case=squares[0, 2],
        reader_case=squares[1, 2],
        modality_reader_case=squares[0, 1, 2],
    )


def _error_terms(pseudo: np.ndarray, of_figures: MeanSquares) -> tuple[ErrorTerms, ErrorTerms, ErrorTerms]:
    """In units of the figures: mean squares of the pseudovalues over the number of units."""
    n_modalities, n_readers, n_units = pseudo.shape
    df, reader_df = float((n_modalities - 1) * (n_readers - 1)), float(n_readers - 1)
    case_df = float(n_units - 1)
    squares, interaction = pseudovalue_mean_squares(pseudo), of_figures.modality_reader
    both = interaction + float(excess(squares.modality_case, squares.modality_reader_case)) / n_units
    alone = [pseudovalue_mean_squares(pseudo[[number]]) for number in range(n_modalities)]
    reader_squares = np.array([one.reader for one in alone]) / n_units
    case_squares = np.array([one.case for one in alone]) / n_units
    rest = np.array([one.reader_case for one in alone]) / n_units
    both_mean = reader_squares + excess(case_squares, rest)
    one_reader = [pseudovalue_mean_squares(pseudo[:, [number]]).modality_case for number in range(n_readers)]
    return (
        ErrorTerms(RANDOM_BOTH, both, hillis_df(both, interaction, df), both_mean,
                   np.array([hillis_df(a, b, reader_df) for a, b in zip(both_mean, reader_squares)])),
        ErrorTerms(FIXED_READERS, squares.modality_case / n_units, (n_modalities - 1) * case_df, case_squares,
                   np.full(n_modalities, case_df), np.array(one_reader) / n_units),
        ErrorTerms(FIXED_CASES, interaction, df, reader_squares, np.full(n_modalities, reader_df)),
    )  # fmt: skip
