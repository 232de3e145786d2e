"""Which patients are drawn how often: the case weights of bootstrap and jackknife."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.checks import numbered

__all__ = ["Resampling", "Weighted"]

Weighted = Callable[[np.ndarray], np.ndarray]  # case weights (replicate, case) -> (replicate,) or (replicate, figure)
JACKKNIFE = 500  # at most so many groups of a stratum's units are left out in turn: enough for the acceleration
BLOCK = 4_000_000  # weights held at a time


@dataclass(frozen=True, slots=True, eq=False)
class Resampling:
    """Which units are drawn how often.

    Parameters
    ----------
    unit : ndarray of int, shape (case,)
        Number of each case's unit (patient), from 0.
    stratum : ndarray of int, shape (unit,)
        Units are drawn within their stratum, so that its size stays as it was.
    n_replicates, seed : int
    """

    unit: np.ndarray
    stratum: np.ndarray
    n_replicates: int
    seed: int

    @classmethod
    def of(
        cls, unit: Any, *, n_cases: int, strata: Any = None, n_replicates: int = 2000, seed: int = 0
    ) -> "Resampling":
        """Draw `unit` (None: each case is one) within `strata` (of each case; None: there is one stratum).

        A unit whose cases lie in several strata makes, with its like, a stratum of its own.
        """
        number = numbered(unit, n_cases)
        if strata is None:
            return cls(number, np.zeros(int(number.max()) + 1, int), n_replicates, seed)
        _, stratum = np.unique(np.asarray(strata), return_inverse=True)
        if len(stratum) != n_cases:
            raise TableError(f"one stratum is needed for each of the {n_cases} cases, found {len(stratum)}")
        present = np.zeros((int(number.max()) + 1, int(stratum.max()) + 1), dtype=bool)
        present[number, stratum] = True
        return cls(number, np.unique(present, axis=0, return_inverse=True)[1].reshape(-1), n_replicates, seed)

    @property
    def n_units(self) -> int:
        """Units that are drawn."""
        return len(self.stratum)

    def _streams(self) -> list[np.random.Generator]:
        """Random numbers of each stratum, so that draws do not depend on how many are made at a time."""
        return [np.random.default_rng([self.seed, stratum]) for stratum in range(int(self.stratum.max()) + 1)]

    def _unit_counts(self, n: int, streams: list[np.random.Generator]) -> np.ndarray:
        """How often each unit is drawn in each of `n` further replicates, shape (n, unit)."""
        counts = np.zeros((n, self.n_units), dtype=np.float32)
        for stratum, random in enumerate(streams):
            members = np.flatnonzero(self.stratum == stratum)
            size = len(members)
            drawn = random.integers(size, size=(n, size), dtype=np.int32)
            drawn += (np.arange(n, dtype=np.int32) * size)[:, None]  # one row of bins a replicate
            counts[:, members] = np.bincount(drawn.ravel(), minlength=n * size).reshape(n, size)
        return counts

    def blocks(self) -> Iterator[np.ndarray]:
        """Case weights of all replicates, in blocks of shape (replicate, case)."""
        streams = self._streams()
        rows = max(1, BLOCK // max(len(self.unit), 1))
        for start in range(0, self.n_replicates, rows):
            yield self._unit_counts(min(rows, self.n_replicates - start), streams)[:, self.unit]

    def replicates(self, statistic: Weighted) -> np.ndarray:
        """The statistic in every replicate, shape (replicate, ...)."""
        with np.errstate(invalid="ignore", divide="ignore"):
            found = [np.asarray(statistic(weights), float) for weights in self.blocks()]
        if not found:
            raise TableError(f"at least one replicate is needed, found {self.n_replicates}")
        return np.concatenate(found)

    def jackknife(self) -> tuple[Iterator[np.ndarray], np.ndarray]:
        """Case weights with groups of units left out in turn, and the stratum of each group.

        Each unit of a stratum is a group of its own up to 500 of them; beyond, the units are shared out over 500 groups
        by chance: groups of g units have a skewness smaller by the square root of g, and so has their number.
        """
        random = np.random.default_rng(self.seed)
        group = np.empty(self.n_units, int)
        strata: list[int] = []
        for stratum in range(int(self.stratum.max()) + 1):
            members = random.permutation(np.flatnonzero(self.stratum == stratum))
            n = min(len(members), JACKKNIFE)
            group[members] = len(strata) + np.arange(len(members)) % n
            strata += [stratum] * n
        of_case = group[self.unit]

        def weights() -> Iterator[np.ndarray]:
            rows = max(1, BLOCK // max(len(self.unit), 1))
            for start in range(0, len(strata), rows):
                left_out = np.arange(start, min(start + rows, len(strata)))
                yield (of_case[None] != left_out[:, None]).astype(np.float32)

        return weights(), np.array(strata)

    def acceleration(self, statistic: Weighted) -> np.ndarray:
        """Acceleration of the BCa interval by the jackknife, shape of the statistic.

        Strata are treated as independent samples (Davison and Hinkley 1997, equation 5.23 with influence values of
        section 3.2). 0 where the jackknife does not vary or is undefined.
        """
        blocks, stratum = self.jackknife()
        with np.errstate(invalid="ignore", divide="ignore"):
            values = np.concatenate([np.asarray(statistic(weights), float) for weights in blocks])
        values = values.reshape(len(values), -1)
        cubes, squares = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        for number in range(int(stratum.max()) + 1):
            own = values[stratum == number]
            n = len(own)
            influence = (n - 1) * (own.mean(axis=0) - own) / n
            cubes += (influence**3).sum(axis=0)
            squares += (influence**2).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            a = np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)
        return np.nan_to_num(a)
