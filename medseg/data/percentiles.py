"""Percentiles of values that come in parts, exactly, without holding or sorting them."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

__all__ = ["Parts", "percentiles"]

Parts = Callable[[], Iterable[np.ndarray]]  # gives the same values anew each time it is called
HALF = 16  # bits of a float32 that one pass sorts by
CHUNK = 1 << 20  # values; counting takes 8 bytes for each


def percentiles(parts: Parts, percents: Sequence[float]) -> tuple[float, ...]:
    """Return percentiles of float32 values without NaN, interpolated linearly as `numpy.percentile` does.

    The bits of a float, turned so that they rise with its value, are a whole number. A first pass counts its upper
    half, a second one the lower half where the upper is that of a wanted rank, which gives the value itself.

    Parameters
    ----------
    parts : callable
        Returns the values as arrays of any shape; it is called twice.
    percents : sequence of float
        0 to 100.

    Raises
    ------
    ValueError
        When there is no value.

    Examples
    --------
    >>> percentiles(lambda: [np.float32([4, 1]), np.float32([2, 3])], [0, 50, 90])
    (1.0, 2.5, 3.7)
    """
    upper = np.zeros(1 << HALF, dtype=np.int64)
    for keys in _keys(parts):
        upper += np.bincount(keys >> HALF, minlength=1 << HALF)
    count = int(upper.sum())
    if not count:
        raise ValueError("percentiles of no values")
    places = [percent / 100 * (count - 1) for percent in percents]
    ranks = sorted({rank for place in places for rank in (int(place), min(int(place) + 1, count - 1))})
    values = _values_at(parts, ranks, upper)
    result = []
    for place in places:
        low, high = values[int(place)], values[min(int(place) + 1, count - 1)]
        result.append(low + (high - low) * (place - int(place)))
    return tuple(result)


def _keys(parts: Parts) -> Iterator[np.ndarray]:
    """Unsigned whole numbers in the order of the values."""
    sign = np.uint32(1 << 31)
    for part in parts():
        flat = np.ascontiguousarray(part, dtype=np.float32).reshape(-1).view(np.uint32)
        for start in range(0, len(flat), CHUNK):
            bits = flat[start : start + CHUNK]
            yield np.where(bits & sign, ~bits, bits | sign)


def _values_at(parts: Parts, ranks: Sequence[int], upper: np.ndarray) -> dict[int, float]:
    """The values at `ranks` of the sorted values, from the counts of their upper halves."""
    ends = np.cumsum(upper)
    bins = np.searchsorted(ends, ranks, side="right")
    lower = {int(chosen): np.zeros(1 << HALF, dtype=np.int64) for chosen in bins}
    for keys in _keys(parts):
        halves = keys >> HALF
        for chosen, counts in lower.items():
            inside = keys[halves == chosen] & np.uint32((1 << HALF) - 1)
            counts += np.bincount(inside, minlength=1 << HALF)
    values = {}
    for rank, chosen in zip(ranks, bins.tolist()):
        before = int(ends[chosen] - upper[chosen])
        low = int(np.searchsorted(np.cumsum(lower[chosen]), rank - before, side="right"))
        key = np.uint32(chosen << HALF | low)
        bits = key & np.uint32(0x7FFFFFFF) if key >> np.uint32(31) else ~key
        values[rank] = float(bits.view(np.float32))
    return values
