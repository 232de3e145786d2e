"""Spellings of a word: what may stand at each place of it, as one pattern and as the literals that begin it."""

import re
from collections.abc import Iterable

__all__ = ["SEPARATOR", "Form", "Slots", "beginnings", "literal", "pattern", "shortest"]

from dataclasses import dataclass

Slots = tuple[tuple[str, ...], ...]
SEPARATOR = r"[\W_]{0,3}"  # between the parts of a name: ", " or " - "
ENOUGH = 5  # characters that make a beginning rare enough to look closer
MOST = 200  # beginnings of one word: enough for three sounds with five spellings each


@dataclass(frozen=True, slots=True)
class Form:
    """One form of an identifier.

    Parameters
    ----------
    pattern : str
        Regular expression over folded text.
    anchors : frozenset of str
        Folded texts; each match of the pattern holds one of them. Searched first, all at once.
    written : frozenset of str
        The same with accents and old kanji as written, for bytes, which cannot be folded.
    reach : int
        Characters of a match on either side of where its anchor begins, at most.
    """

    pattern: str
    anchors: frozenset[str]
    written: frozenset[str] = frozenset()
    reach: int = 64


def literal(text: str) -> Slots:
    """One spelling, each character at its place."""
    return tuple((character,) for character in text)


def pattern(slots: Slots) -> str:
    """Regular expression of all spellings.

    Examples
    --------
    >>> pattern((("sa",), ("to", "tou")))
    'sa(?:tou|to)'
    """
    return "".join(_choice(options) for options in slots)


def _choice(options: Iterable[str]) -> str:
    escaped = [re.escape(option) for option in sorted(set(options), key=lambda o: (-len(o), o))]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


def beginnings(slots: Slots, enough: int = ENOUGH) -> frozenset[str]:
    """Literals such that each spelling begins with one: as long as `enough`, or the whole word.

    Examples
    --------
    >>> sorted(beginnings((("si", "shi"), ("ba",), ("ta",))))
    ['shibata', 'sibata']
    """
    begun = {""}
    for options in slots:
        longer = {start + option for start in begun for option in options}
        if min(map(len, begun)) >= enough or len(longer) > MOST:
            break
        begun = longer
    return frozenset(begun)


def shortest(slots: Slots) -> int:
    """Length of the shortest spelling."""
    return sum(min(map(len, options)) for options in slots)
