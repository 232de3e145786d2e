"""Search of one place of a file."""

import re
from collections import Counter

from medseg.privacy.encodings import decodings, looks_like_text
from medseg.privacy.matcher import Matcher
from medseg.privacy.place import Place

__all__ = ["search_place"]

LONGEST_FIELD = 1 << 16  # bytes; what is longer is no text between padding
PADDING = re.compile(rb"[\x00-\x06\x0e-\x1a\x1c-\x1f]+")


def search_place(place: Place, matcher: Matcher) -> Counter[int]:
    """Count each identifier: text in every encoding it may be in, else bytes.

    A field of a header may hold text between padding, so its stretches of text are searched one by one too.
    """
    if not place.data:
        return Counter()
    if looks_like_text(place.data):
        return _in_text(place.data, matcher)
    found = matcher.in_bytes(place.data)
    if place.field and len(place.data) <= LONGEST_FIELD:
        pieces: Counter[int] = Counter()
        for piece in filter(None, PADDING.split(place.data)):
            pieces += _in_text(piece, matcher)
        found |= pieces
    return found


def _in_text(data: bytes, matcher: Matcher) -> Counter[int]:
    found: Counter[int] = Counter()
    for text in decodings(data):
        found |= matcher.in_text(text)
    return found
