"""Results of a multi-reader multi-case study."""

import math
from dataclasses import dataclass

import numpy as np

__all__ = [
    "FIXED_CASES",
    "FIXED_READERS",
    "RANDOM_BOTH",
    "DesignTest",
    "MeanSquares",
    "ModalityDifference",
    "ModalityMean",
    "ReaderStudy",
    "VarianceComponents",
]

RANDOM_BOTH = "random_readers_random_cases"
FIXED_READERS = "fixed_readers_random_cases"
FIXED_CASES = "random_readers_fixed_cases"


@dataclass(frozen=True, slots=True)
class ModalityMean:
    """Mean figure of one modality over the readers, with its interval.

    Parameters
    ----------
    modality : str
    value, standard_error : float
    df : float
        Degrees of freedom of the t distribution behind the interval; infinity where it is the normal one.
    low, high : float
        Ends of the interval; they are not cut off at 0 and 1.
    """

    modality: str
    value: float
    standard_error: float
    df: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ModalityDifference:
    """Difference of two modalities, first minus second.

    Parameters
    ----------
    first, second : str
        Names of the modalities.
    value, standard_error, df, low, high : float
        As in `ModalityMean`.
    p_value : float
        Two-sided, not adjusted for the number of pairs; 1 for a difference of 0.
    reader : str
        The one reader that it belongs to; empty for the mean of all readers.
    """

    first: str
    second: str
    value: float
    standard_error: float
    df: float
    p_value: float
    low: float
    high: float
    reader: str = ""


@dataclass(frozen=True, slots=True)
class DesignTest:
    """Test that all modalities are equal, for one choice of what is a random sample.

    Parameters
    ----------
    design : str
        ``random_readers_random_cases``: the result holds for other readers and other cases;
        ``fixed_readers_random_cases``: for these readers and other cases;
        ``random_readers_fixed_cases``: for other readers and these cases.
    f, df_numerator, df_denominator, p_value : float
        With an infinite denominator `f` times the numerator's degrees of freedom is a chi-square. 0 and p = 1 where
        all modalities have the same mean.
    differences : tuple of ModalityDifference
        Every pair of modalities.
    means : tuple of ModalityMean
        Each from the data of that modality alone.
    reader_differences : tuple of ModalityDifference
        With fixed readers: every pair of modalities for each reader, from that reader's data alone.
    undefined : str
        Why numbers are NaN; empty where all are defined.
    """

    design: str
    f: float
    df_numerator: float
    df_denominator: float
    p_value: float
    differences: tuple[ModalityDifference, ...]
    means: tuple[ModalityMean, ...]
    reader_differences: tuple[ModalityDifference, ...]
    undefined: str


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """Mean squares of an analysis of variance; NaN where there is one modality or one reader only.

    Those of Obuchowski and Rockette are of the figures, shape (modality, reader), and have none of cases; those of
    Dorfman, Berbaum and Metz are of the pseudovalues, shape (modality, reader, unit).
    """

    modality: float
    reader: float
    modality_reader: float
    case: float = math.nan
    modality_case: float = math.nan
    reader_case: float = math.nan
    modality_reader_case: float = math.nan


@dataclass(frozen=True, slots=True)
class VarianceComponents:
    """Components of the model of Obuchowski and Rockette, which planning a study starts from.

    Parameters
    ----------
    variance : float
        Error variance of one figure, for a study of `n_units`.
    cov1, cov2, cov3 : float
        Error covariance of two figures: of one reader in two modalities, of two readers in one modality, of two
        readers in two modalities. NaN where there is no such pair.
    reader, modality_reader : float
        Variance of readers, and of their reaction to the modality. Unbiased estimates, so they can be negative.
    n_units : int
        Cases, or patients where whole patients were left out.
    """

    variance: float
    cov1: float
    cov2: float
    cov3: float
    reader: float
    modality_reader: float
    n_units: int


@dataclass(frozen=True, slots=True, eq=False)
class ReaderStudy:
    """Analysis of a study in which every reader reads every case in every modality.

    Parameters
    ----------
    method : str
        ``obuchowski_rockette`` or ``dorfman_berbaum_metz``.
    modalities, readers : tuple of str
        Names, in the order of the arrays.
    values : ndarray, shape (modality, reader)
        The figures.
    components : VarianceComponents
    mean_squares : MeanSquares
    random_both, fixed_readers, fixed_cases : DesignTest
        The three designs.
    confidence : float
        Of every interval.
    """

    method: str
    modalities: tuple[str, ...]
    readers: tuple[str, ...]
    values: np.ndarray
    components: VarianceComponents
    mean_squares: MeanSquares
    random_both: DesignTest
    fixed_readers: DesignTest
    fixed_cases: DesignTest
    confidence: float
