"""Search of texts and bytes for all forms of all identifiers at once."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cached_property

from medseg.errors import ConfigError
from medseg.privacy.anchors import LEAST, Anchors
from medseg.privacy.encodings import ESCAPE, JIS, encodings_of, in_encoding, unescaped
from medseg.privacy.folding import fold, shapes_of
from medseg.privacy.forms import forms_of
from medseg.privacy.identifiers import Identifier
from medseg.privacy.names import NAME_PARTS
from medseg.privacy.uids import UidSearch

__all__ = ["Matcher"]

NEAR = 96  # bytes decoded on either side of an anchor among binary data
LEAST_BYTES = 6  # of a match among binary data: 4 bytes come up by chance in a gigabyte
UNIT = {"utf-16-le": 2, "utf-16-be": 2, "utf-32-le": 4}  # bytes of a character
HALF_WIDTH_KANA = range(0xA1, 0xE0)  # of cp932: one byte, where the kana they fold to have two
MANY = 1000  # of one identifier in one text: no more are counted
Hit = tuple[int, int, int]  # identifier, start, end


class Matcher:
    """All forms of some identifiers, compiled.

    Parameters
    ----------
    identifiers : iterable of Identifier
    names : {"full", "family", "all"}
        What counts as a name: the whole name, the family name alone too, each part alone.

    Raises
    ------
    ConfigError
        When `names` is none of these.
    """

    def __init__(self, identifiers: Iterable[Identifier], *, names: str = "family") -> None:
        if names not in NAME_PARTS:
            raise ConfigError(f"--names {names}: unknown; allowed are {', '.join(NAME_PARTS)}")
        self.identifiers = tuple(identifiers)
        self.too_short: list[Identifier] = []
        self._uids = UidSearch({one.value: n for n, one in enumerate(self.identifiers) if one.kind == "uid"})
        self._forms = []
        for number, identifier in enumerate(self.identifiers):
            forms = [] if identifier.kind == "uid" else forms_of(identifier, names=names)
            if not forms and identifier.kind != "uid":
                self.too_short.append(identifier)
            self._forms += [(number, re.compile(form.pattern), form) for form in forms]
        anchors: dict[bytes, set[int]] = defaultdict(set)
        for number, (_, _, form) in enumerate(self._forms):
            for anchor in form.anchors:
                anchors[anchor.encode()].add(number)
        self._in_text = Anchors(anchors)

    def holds(self, text: str) -> bool:
        """Whether a text holds an identifier: a file name that must not become the name of a case."""
        return bool(self.in_text(text))

    def in_text(self, text: str) -> Counter[int]:
        """Count each identifier, by its number, in a text and in the same with its escapes as characters."""
        found = _counted(self.hits(fold(text)))
        plain = unescaped(text)
        return found | _counted(self.hits(fold(plain))) if plain != text else found

    def hits(self, folded: str) -> list[Hit]:
        """Where identifiers lie in a folded text, overlapping ones of one identifier as one."""
        found: list[Hit] = []
        seen: Counter[int] = Counter()
        data = folded.encode("utf-8", "surrogatepass")
        at_byte = at = 0
        for place, numbers in self._in_text.search(data):
            at += place - at_byte if len(data) == len(folded) else len(data[at_byte:place].decode("utf-8", "replace"))
            at_byte = place
            for number in numbers:
                identifier, pattern, form = self._forms[number]
                if seen[identifier] >= MANY:
                    continue
                for match in pattern.finditer(folded, max(0, at - form.reach), at + form.reach):
                    if match.start() <= at < match.end():
                        found.append((identifier, match.start(), match.end()))
                        seen[identifier] += 1
        return _merged([*found, *self._uids.search(folded)])

    def in_bytes(self, data: bytes) -> Counter[int]:
        """Count each identifier in binary data, whatever encoding it is in."""
        found: list[Hit] = []
        seen: Counter[int] = Counter()
        for place, keys in self._in_bytes.search(data.lower()):
            for number, encoding, zeros in keys:
                identifier, pattern, _ = self._forms[number]
                if seen[identifier] < MANY and _stands_there(data, max(0, place - zeros), encoding, pattern):
                    found.append((identifier, place, place + 1))
                    seen[identifier] += 1
        return _counted(_merged([*found, *self._uids.search_bytes(data)]))

    @cached_property
    def _in_bytes(self) -> Anchors[tuple[int, str, int]]:
        """Anchors in all encodings: the form, the encoding and the zeros before, which binary data is full of."""
        anchors: dict[bytes, set[tuple[int, str, int]]] = defaultdict(set)
        for number, (_, _, form) in enumerate(self._forms):
            for text in shapes_of(form.anchors, form.written):
                for encoding in encodings_of(text):
                    data = in_encoding(text, encoding).lower()
                    bare = data.lstrip(b"\0")
                    if len(bare.rstrip(b"\0")) >= LEAST:
                        anchors[bare.rstrip(b"\0")].add((number, encoding, len(data) - len(bare)))
        return Anchors(anchors)


def _counted(hits: Iterable[Hit]) -> Counter[int]:
    return Counter(identifier for identifier, _, _ in hits)


def _merged(hits: list[Hit]) -> list[Hit]:
    merged: list[Hit] = []
    for identifier, start, end in sorted(hits):
        if merged and merged[-1][0] == identifier and start < merged[-1][2]:
            merged[-1] = (identifier, merged[-1][1], max(end, merged[-1][2]))
        else:
            merged.append((identifier, start, end))
    return merged


def _stands_there(data: bytes, start: int, encoding: str, pattern: re.Pattern[str]) -> bool:
    """Whether the pattern is found where an anchor was, in the text around it."""
    before, after = data[max(0, start - NEAR) : start], data[start : start + NEAR]
    if encoding == JIS:
        shift = before.rfind(ESCAPE)
        if shift < 0:
            return False
        text = (before[shift:] + after).decode(JIS, errors="replace")
    else:
        before = before[len(before) % UNIT.get(encoding, 1) :]
        text = before.decode(encoding, errors="replace") + after.decode(encoding, errors="replace")
    matches = (re.sub(r"[\W_]", "", match[0]) for match in pattern.finditer(fold(text)))
    if encoding == "cp932" and data[start] in HALF_WIDTH_KANA:
        return any(len(match) >= LEAST_BYTES for match in matches)
    return any(len(match.encode(encoding, "replace")) >= LEAST_BYTES for match in matches)
