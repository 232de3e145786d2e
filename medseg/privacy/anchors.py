"""Many literals searched at once in bytes."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np

__all__ = ["LEAST", "Anchors"]

Key = TypeVar("Key")
LEAST = 3  # bytes of a literal: so many are looked at at once, and so many again where the literal has them
FIRST_BITS, SECOND_BITS = 18, 20  # of tables that fit a processor's cache
FIRST, SECOND = np.uint32(2654435761), np.uint32(2246822519)  # odd multipliers that spread the bits (Knuth 3, 6.4)
PART = 1 << 18  # bytes looked at in one step


class Anchors(Generic[Key]):
    """Literals, each with keys.

    The first bytes of all literals are looked up in one table for all places of a part at once, the next ones in
    another for the places that are left; only what passes both is compared.

    Parameters
    ----------
    keys : mapping
        Literal, of at least `LEAST` bytes, to its keys.

    Examples
    --------
    >>> list(Anchors({b"abc": [1], b"abcd": [2], b"bcd": [3]}).search(b"xabcd"))
    [(1, (1, 2)), (2, (3,))]
    """

    def __init__(self, keys: Mapping[bytes, Collection[Key]]) -> None:
        self._keys = {literal: tuple(of_literal) for literal, of_literal in keys.items()}
        lengths: dict[bytes, set[int]] = defaultdict(set)
        self._first = np.zeros(1 << FIRST_BITS, bool)
        self._short = np.zeros(1 << FIRST_BITS, bool)  # where a literal has no second part to look at
        self._second = np.zeros(1 << SECOND_BITS, bool)
        for literal in keys:
            lengths[literal[:LEAST]].add(len(literal))
            start = np.frombuffer(literal[: 2 * LEAST].ljust(2 * LEAST, b"\0"), np.uint8)
            first, second = _joined(start[:LEAST]), _joined(start[LEAST:])
            self._first[_slot(first)] = True
            if len(literal) < 2 * LEAST:
                self._short[_slot(first)] = True
            else:
                self._second[_second_slot(first, second)] = True
        self._lengths = {start: sorted(sizes) for start, sizes in lengths.items()}

    def search(self, data: bytes) -> Iterator[tuple[int, tuple[Key, ...]]]:
        """Yield each place at which a literal begins, with the keys of all that begin there."""
        if not self._keys:
            return
        for start in range(0, len(data) - LEAST + 1, PART):
            for place in self._candidates(data[start : start + PART + 2 * LEAST - 1]):
                if place >= PART:
                    break
                at = start + place
                sizes = [size for size in self._lengths.get(data[at : at + LEAST], ()) if at + size <= len(data)]
                found = tuple(key for size in sizes for key in self._keys.get(data[at : at + size], ()))
                if found:
                    yield at, found

    def _candidates(self, part: bytes) -> list[int]:
        joined = _joined(np.frombuffer(part.ljust(LEAST, b"\0"), np.uint8))
        slots = _slot(joined)
        places = np.flatnonzero(self._first[slots])
        first, second = joined[places], joined[np.minimum(places + LEAST, len(joined) - 1)]
        kept = self._short[slots[places]] | self._second[_second_slot(first, second)]
        return places[kept].tolist()


def _joined(values: np.ndarray) -> np.ndarray:
    """The `LEAST` bytes at each place as one number."""
    joined = values[: 1 - LEAST].astype(np.uint32)
    for number in range(1, LEAST):
        joined |= values[number : len(values) - LEAST + 1 + number].astype(np.uint32) << np.uint32(8 * number)
    return joined


def _slot(first: np.ndarray) -> np.ndarray:
    return (first * FIRST) >> np.uint32(32 - FIRST_BITS)


def _second_slot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    mixed: np.ndarray = first * FIRST + second * SECOND
    return mixed >> np.uint32(32 - SECOND_BITS)
