"""Mean and spread of several maps of one image: of its mirror images, or of several networks."""

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["MapSpread", "RunningSpread"]


class RunningSpread:
    """Mean and standard deviation of arrays that come one after another.

    Two arrays of their size are held, however many come, and they need not be kept (Welford 1962,
    doi:10.1080/00401706.1962.10490022).

    Parameters
    ----------
    dtype : dtype
        Of the sums.

    Examples
    --------
    >>> spread = RunningSpread(np.float64)
    >>> for score in (0.2, 0.6):
    ...     spread.add(score)
    >>> round(float(spread.mean), 6), round(float(spread.sd), 6)
    (0.4, 0.282843)
    """

    def __init__(self, dtype: type[np.floating] = np.float32) -> None:
        self.n = 0
        self._dtype = dtype
        self._mean = np.zeros(0, dtype)
        self._squares = np.zeros(0, dtype)

    def add(self, values: ArrayLike) -> None:
        """Add an array of the shape of those before.

        Raises
        ------
        ValueError
            When it has another shape.
        """
        given = np.asarray(values)
        if not self.n:
            self._mean, self._squares = np.zeros(given.shape, self._dtype), np.zeros(given.shape, self._dtype)
        if given.shape != self._mean.shape:
            raise ValueError(f"an array of the shape {given.shape} was added to a spread of {self._mean.shape}")
        self.n += 1
        for place in np.ndindex(given.shape[:-2]):  # slice by slice, so that nothing else is as large as a map
            own = given[place].astype(self._dtype)  # in the precision of the sums, or these could fall below 0
            off = own - self._mean[place]
            self._mean[place] += off / self.n
            self._squares[place] += off * (own - self._mean[place])

    @property
    def mean(self) -> np.ndarray:
        """The mean of what was added."""
        return self._mean

    @property
    def sd(self) -> np.ndarray | None:
        """The standard deviation, with n - 1 in the denominator; None of fewer than two. A new array each time."""
        return None if self.n < 2 else np.sqrt(self._squares / (self.n - 1))


class MapSpread:
    """Spread of the maps of an image, and of its score: the highest value of each map.

    Parameters
    ----------
    n_classes : int
        Maps from this one on are no scores, such as extents, and are left out.
    """

    def __init__(self, n_classes: int) -> None:
        self._n_classes = n_classes
        self._maps = RunningSpread()
        self._score = RunningSpread(np.float64)

    def add(self, maps: np.ndarray) -> None:
        """Add the maps of one pass, shape (map, z, y, x)."""
        scores = maps[: self._n_classes]
        self._maps.add(scores)
        self._score.add(scores.max())

    @property
    def maps_sd(self) -> np.ndarray | None:
        """Standard deviation over the passes, float32 of shape (class, z, y, x); None of fewer than two."""
        return self._maps.sd

    @property
    def score_sd(self) -> float | None:
        """Standard deviation of the highest value over the passes; None of fewer than two."""
        return None if self._score.sd is None else float(self._score.sd)
