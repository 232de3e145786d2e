"""Power of a reader study, and how many cases one needs, from the variance components of a pilot study."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from medseg.errors import TableError
from medseg.evaluation.reader_study import FIXED_CASES, FIXED_READERS, RANDOM_BOTH, ReaderStudy, VarianceComponents

__all__ = ["ReaderPower", "reader_study_power", "reader_study_sample_size"]

FEWEST_CASES = 4  # two with and two without disease


@dataclass(frozen=True, slots=True)
class ReaderPower:
    """Power of a planned study of two modalities.

    Parameters
    ----------
    design : str
        What is a random sample, as in `DesignTest`.
    n_readers, n_cases : int
    difference : float
        The difference of the two modalities that is to be found.
    noncentrality : float
        Of the F distribution under that difference.
    df_denominator : float
        Infinite with fixed readers, where the test is a chi-square.
    power : float
    """

    design: str
    n_readers: int
    n_cases: int
    difference: float
    noncentrality: float
    df_denominator: float
    power: float


def reader_study_power(
    pilot: ReaderStudy | VarianceComponents,
    *,
    n_readers: int,
    n_cases: int,
    difference: float,
    design: str = RANDOM_BOTH,
    significance: float = 0.05,
) -> ReaderPower:
    """Power to find a difference of two modalities with given numbers of readers and cases.

    Parameters
    ----------
    pilot : ReaderStudy or VarianceComponents
        Its components belong to ``n_units`` cases (or patients: `n_cases` then counts patients).
    n_readers, n_cases : int
        Of the planned study, every reader reading every case in both modalities, with the pilot's share of diseased.
    difference : float
        In units of the figure; its sign does not matter.
    design : str
        ``random_readers_random_cases``, ``fixed_readers_random_cases`` or ``random_readers_fixed_cases``.
    significance : float
        Two-sided level of the test.

    Returns
    -------
    ReaderPower

    Raises
    ------
    TableError
        For impossible numbers, or a pilot of one modality or (for random readers) one reader.

    Notes
    -----
    Hillis, Obuchowski and Berbaum 2011 (doi:10.1016/j.acra.2010.09.007), for all three designs Hillis and Schartz 2018
    (doi:10.1117/1.JMI.5.4.045503): with J readers and K cases after a pilot of K* cases, c = max(Cov2 - Cov3, 0), and
    var(TR) and Var - Cov1 - c counting as 0 where they are below,

    - both random: the error term is var(TR) + (K*/K)(Var - Cov1 + (J - 1) c), with its square over
      (var(TR) + (K*/K)(Var - Cov1 - c))^2 / (J - 1) degrees of freedom;
    - fixed readers: without var(TR), for a chi-square;
    - fixed cases: var(TR) + (K*/K)(Var - Cov1 - c), with J - 1 degrees of freedom;

    and the noncentrality is J difference^2 / 2 over the error term.

    Examples
    --------
    >>> pilot = VarianceComponents(0.0008, 0.00035, 0.00034, 0.00024, 0.0015, 0.0002, n_units=114)
    >>> round(reader_study_power(pilot, n_readers=10, n_cases=165, difference=0.044).power, 2)
    0.82
    """
    components = _checked(pilot, n_readers, difference, design, significance)
    if n_cases < FEWEST_CASES:
        raise TableError(f"a study needs at least {FEWEST_CASES} cases, found {n_cases}")
    noncentrality, df, power = _power(
        components, n_readers, np.array([float(n_cases)]), difference, design, significance
    )
    return ReaderPower(design, n_readers, n_cases, difference, float(noncentrality[0]), float(df[0]), float(power[0]))


def reader_study_sample_size(
    pilot: ReaderStudy | VarianceComponents,
    *,
    n_readers: int,
    difference: float,
    power: float = 0.8,
    design: str = RANDOM_BOTH,
    significance: float = 0.05,
    most_cases: int = 10_000,
) -> ReaderPower:
    """Fewest cases with which a study of given readers has the power asked for.

    Parameters
    ----------
    pilot, n_readers, difference, design, significance
        As in `reader_study_power`.
    power : float
        At least this.
    most_cases : int
        Where to stop looking.

    Returns
    -------
    ReaderPower

    Raises
    ------
    TableError
        As `reader_study_power`, and where `most_cases` are too few: readers differ too much for their number.

    Examples
    --------
    >>> pilot = VarianceComponents(0.0008, 0.00035, 0.00034, 0.00024, 0.0015, 0.0002, n_units=114)
    >>> reader_study_sample_size(pilot, n_readers=10, difference=0.044).n_cases
    155
    """
    components = _checked(pilot, n_readers, difference, design, significance)
    if not 0 < power < 1 or most_cases < FEWEST_CASES:
        raise TableError(
            f"a power between 0 and 1 and at least {FEWEST_CASES} cases are needed, found {power} and {most_cases}"
        )
    n_cases = np.arange(FEWEST_CASES, most_cases + 1)
    noncentrality, df, reached = _power(
        components, n_readers, n_cases.astype(np.float64), difference, design, significance
    )
    enough = np.flatnonzero(reached >= power)
    if not len(enough):
        raise TableError(
            f"{n_readers} readers do not reach a power of {power} with up to {most_cases} cases (at most "
            f"{reached.max():.2f}): take more readers"
        )
    first = int(enough[0])
    return ReaderPower(
        design, n_readers, int(n_cases[first]), difference, float(noncentrality[first]), float(df[first]),
        float(reached[first]),
    )  # fmt: skip


def _checked(
    pilot: ReaderStudy | VarianceComponents, n_readers: int, difference: float, design: str, significance: float
) -> VarianceComponents:
    components = pilot.components if isinstance(pilot, ReaderStudy) else pilot
    if design not in (RANDOM_BOTH, FIXED_READERS, FIXED_CASES):
        raise TableError(f"design '{design}': allowed are {RANDOM_BOTH}, {FIXED_READERS} and {FIXED_CASES}")
    fewest = 1 if design == FIXED_READERS else 2
    if n_readers < fewest or difference == 0 or not math.isfinite(difference) or not 0 < significance < 1:
        raise TableError(
            f"at least {fewest} readers, a difference other than 0 and a significance between 0 and 1 are needed, "
            f"found {n_readers}, {difference} and {significance}"
        )
    needed = [components.variance, components.cov1]
    if design != FIXED_READERS:
        needed.append(components.modality_reader)
    if n_readers > 1:
        needed += [components.cov2, components.cov3]
    if not all(math.isfinite(value) for value in needed):
        raise TableError(
            "the pilot study does not have what this design needs: at least two modalities, and two readers"
        )
    return components


def _power(
    components: VarianceComponents, n_readers: int, n_cases: np.ndarray, difference: float, design: str, level: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noncentrality, degrees of freedom and power, shape (n,) as `n_cases`."""
    scale = components.n_units / n_cases
    shared = max(components.cov2 - components.cov3, 0.0) if n_readers > 1 else 0.0
    own = max(components.variance - components.cov1, 0.0)
    interaction = max(components.modality_reader, 0.0) if design != FIXED_READERS else 0.0
    readers_part = interaction + scale * max(own - shared, 0.0)  # what the mean square MS(TR) is expected to be
    if design == FIXED_READERS:
        error, df = scale * (own + (n_readers - 1) * shared), np.full(len(n_cases), np.inf)
    elif design == FIXED_CASES:
        error, df = readers_part, np.full(len(n_cases), n_readers - 1.0)
    else:
        error = interaction + scale * (own + (n_readers - 1) * shared)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(readers_part > 0, (n_readers - 1) * (error / readers_part) ** 2, np.inf)
    with np.errstate(divide="ignore"):
        noncentrality = n_readers * difference**2 / 2 / error
    if design == FIXED_READERS:
        power = 1 - special.chndtr(special.chdtri(1, level), 1, noncentrality)
    else:
        finite = np.minimum(df, 1e9)  # SciPy's noncentral F has no infinite degrees of freedom
        power = 1 - special.ncfdtr(1, finite, noncentrality, special.fdtri(1, finite, 1 - level))
    return noncentrality, df, np.where(error > 0, power, 1.0)
