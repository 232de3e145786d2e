"""Identifiers in the names of files and folders."""

import os
import unicodedata
from bisect import bisect_right
from collections import Counter
from itertools import accumulate

from medseg.privacy.encodings import decodings, unescaped
from medseg.privacy.folding import fold
from medseg.privacy.matcher import Matcher

__all__ = ["search_path"]


def search_path(relative: str, matcher: Matcher) -> tuple[Counter[int], str]:
    """Search the last part of a path, together with its folders, in any encoding of file names.

    Returns
    -------
    found : Counter
        Number of each identifier that the last part holds or ends.
    shown : str
        The path with the identifiers in all of its parts masked.
    """
    found: Counter[int] = Counter()
    shown = ""
    for text in decodings(os.fsencode(relative)):
        for spelled in dict.fromkeys((text, unescaped(text))):
            here, masked = _search(unicodedata.normalize("NFKC", spelled), matcher)
            found |= here
            shown = masked if not shown or ("*" in masked and "*" not in shown) else shown
    return found, shown


def _search(text: str, matcher: Matcher) -> tuple[Counter[int], str]:
    pieces = [fold(character) for character in text]
    starts = list(accumulate(map(len, pieces), initial=0))
    last = text.rfind("/") + 1
    found: Counter[int] = Counter()
    characters = list(text)
    for identifier, start, end in matcher.hits("".join(pieces)):
        first, behind = bisect_right(starts, start) - 1, bisect_right(starts, end - 1)
        found[identifier] += behind > last
        for at in range(first + 1, behind):
            characters[at] = "*" if characters[at].isalnum() else characters[at]
    return +found, "".join(characters)
