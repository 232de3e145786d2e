"""Tests of the designs of a reader study, which every analysis of one shares."""

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.distributions import f_tail, two_sided_p, two_sided_quantile
from medseg.evaluation.reader_study import (
    FIXED_READERS,
    DesignTest,
    MeanSquares,
    ModalityDifference,
    ModalityMean,
    ReaderStudy,
    VarianceComponents,
)

__all__ = ["ErrorTerms", "excess", "figure_mean_squares", "hillis_df", "study_of"]


@dataclass(frozen=True, slots=True, eq=False)
class ErrorTerms:
    """What the mean squares of the figures are divided by in one design.

    Parameters
    ----------
    design : str
    difference, df : float
        Expectation of the modalities' mean square if they are equal; a difference of two modalities has the variance
        ``2 / readers`` times it.
    mean, mean_df : ndarray, shape (modality,)
        ``readers`` times the variance of each modality's mean.
    one_reader : ndarray, shape (reader,), optional
        Half the variance of a difference of each reader.
    """

    design: str
    difference: float
    df: float
    mean: np.ndarray
    mean_df: np.ndarray
    one_reader: np.ndarray | None = None


def study_of(
    method: str,
    values: np.ndarray,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    components: VarianceComponents,
    mean_squares: MeanSquares,
    terms: tuple[ErrorTerms, ErrorTerms, ErrorTerms],
    confidence: float,
) -> ReaderStudy:
    """Test the three designs, given as (both random, fixed readers, fixed cases); `names` are modalities, readers.

    Raises
    ------
    TableError
        For a confidence that is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise TableError(f"the confidence of an interval is between 0 and 1, found {confidence}")
    both, readers, cases = (_design_test(values, names, design, confidence) for design in terms)
    return ReaderStudy(method, *names, values, components, mean_squares, both, readers, cases, confidence)


def figure_mean_squares(values: np.ndarray) -> MeanSquares:
    """Two-way analysis of variance of figures of shape (modality, reader), one value a cell.

    What is left by rounding (below 1e-14 of the figures, squared) counts as 0, so that equal modalities have exactly
    no mean square.
    """
    n_modalities, n_readers = values.shape
    by_modality, by_reader, overall = values.mean(axis=1), values.mean(axis=0), values.mean()
    rest = values - by_modality[:, None] - by_reader + overall

    def mean_square(deviations: np.ndarray, repeats: int, df: int) -> float:
        if df == 0:
            return math.nan
        tiny = np.abs(deviations) <= 1e-14 * np.abs(values).max()
        return float(repeats * np.sum(np.where(tiny, 0, deviations) ** 2) / df)

    return MeanSquares(
        modality=mean_square(by_modality - overall, n_readers, n_modalities - 1),
        reader=mean_square(by_reader - overall, n_modalities, n_readers - 1),
        modality_reader=mean_square(rest, 1, (n_modalities - 1) * (n_readers - 1)),
    )


def hillis_df(error_term: float, mean_square: float, df: float) -> float:
    """Degrees of freedom of a sum of which only `mean_square`, with `df`, varies (Hillis 2007, doi:10.1002/sim.2532).

    Those of the mean square where the sum is 0 too; infinite where only the mean square is 0; NaN where it is.
    """
    if df == 0 or math.isnan(mean_square):
        return math.nan
    if mean_square == 0:
        return math.inf if error_term > 0 else df
    return df * (error_term / mean_square) ** 2


def excess(first: float | np.ndarray, second: float | np.ndarray | int = 0) -> np.ndarray:
    """By how much the first exceeds the second: 0 where it does not, or by rounding only (1e-12 of the first)."""
    difference = np.asarray(first) - second
    return np.where(difference <= 1e-12 * np.abs(first), 0.0, difference)  # NaN stays


def _design_test(
    values: np.ndarray, names: tuple[tuple[str, ...], tuple[str, ...]], terms: ErrorTerms, confidence: float
) -> DesignTest:
    """F test, differences and means of one design (Hillis 2007, doi:10.1002/sim.2532)."""
    modalities, readers = names
    mean_square, df_numerator = figure_mean_squares(values).modality, len(modalities) - 1.0
    statistic = _ratio(mean_square, terms.difference)
    means = values.mean(axis=1)
    differences = _differences(means, modalities, terms.difference, terms.df, len(readers), confidence)
    by_reader: list[ModalityDifference] = []
    if terms.one_reader is not None:
        for number, reader in enumerate(readers):
            half, column = float(terms.one_reader[number]), values[:, number]
            by_reader += _differences(column, modalities, half, terms.df, 1, confidence, reader)
    return DesignTest(
        design=terms.design,
        f=statistic,
        df_numerator=df_numerator,
        df_denominator=terms.df,
        p_value=_p_of_f(statistic, df_numerator, terms.df),
        differences=tuple(differences),
        means=tuple(
            ModalityMean(name, float(value), *_interval(float(value), variance / len(readers), float(df), confidence))
            for name, value, variance, df in zip(modalities, means, terms.mean, terms.mean_df)
        ),
        reader_differences=tuple(by_reader),
        undefined=_undefined(len(modalities), len(readers), terms.design),
    )


def _undefined(n_modalities: int, n_readers: int, design: str) -> str:
    if n_readers == 1 and design != FIXED_READERS:
        return "there is one reader only, so nothing is known of how readers differ"
    if n_modalities == 1:
        return "there is one modality only, so there is no other to compare it with"
    return ""


def _ratio(value: float, error: float) -> float:
    """Value over error; 0 for a value of 0 even where the error is 0, infinity for any other without error."""
    if math.isnan(value) or math.isnan(error):
        return math.nan
    if value == 0:
        return 0.0
    return value / error if error > 0 else math.copysign(math.inf, value)


def _p_of_f(statistic: float, df_numerator: float, df_denominator: float) -> float:
    if math.isnan(statistic) or statistic == 0:
        return 1.0 if statistic == 0 else math.nan
    return f_tail(statistic, df_numerator, df_denominator)


def _interval(value: float, variance: float, df: float, confidence: float) -> tuple[float, float, float, float]:
    """Standard error, degrees of freedom and both ends."""
    error = math.sqrt(max(variance, 0.0)) if not math.isnan(variance) else math.nan
    width = two_sided_quantile(confidence, df) * error
    return error, df, value - width, value + width


def _differences(
    values: np.ndarray,
    modalities: tuple[str, ...],
    error_term: float,
    df: float,
    n_readers: int,
    confidence: float,
    reader: str = "",
) -> list[ModalityDifference]:
    differences = []
    for first, second in combinations(range(len(modalities)), 2):
        value = float(values[first] - values[second])
        error, _, low, high = _interval(value, 2 * error_term / n_readers, df, confidence)
        statistic = _ratio(value, error)
        p_value = 1.0 if statistic == 0 else two_sided_p(statistic, df)
        names = modalities[first], modalities[second]
        differences.append(ModalityDifference(*names, value, error, df, p_value, low, high, reader))
    return differences
