"""Forms of a person's name: orders, separators, initials, scripts, spellings."""

import re
from dataclasses import dataclass

from medseg.privacy.anchors import LEAST
from medseg.privacy.folding import fold, has_kana_only
from medseg.privacy.romaji import kana_of_romaji, romaji_of_kana, vowel_of
from medseg.privacy.spelling import SEPARATOR, Form, Slots, beginnings, literal, pattern, shortest

__all__ = ["NAME_PARTS", "name_forms"]

NAME_PARTS = ("full", "family", "all")
CLEAR_LATIN = 8  # letters of a whole name that no other word holds by chance, so that it is found inside words too
SINGLE_LATIN, SINGLE_KANA, SINGLE_KANJI = 3, 3, 2  # characters from which one part of a name is searched alone
JOINTS = ("", " ", "^", "_", ",", ", ", "-", ".", "/", "=")
LONG_KANA = {"o": "うおー", "u": "うー"}
# other spellings of letters with a mark, which folding would only strip
# of several words: they are no family name by themselves
PARTICLES = frozenset(
    {"van", "von", "der", "den", "dem", "del", "dela", "della", "dos", "das", "los", "las", "bin", "bint", "ibn", "abd",
     "ter", "ten", "tot", "vom", "zum", "zur", "san"}
)  # fmt: skip
EXPANDED = {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"}
UNDECOMPOSED = {"ø": "o", "æ": "ae", "ł": "l", "đ": "d"}
# scripts without spaces between words: kana, CJK ideographs, Hangul
UNSPACED = re.compile(r"[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff]+")


@dataclass(frozen=True, slots=True)
class _Spelled:
    """One part of a name in one script: its spellings, and as it was written."""

    slots: Slots
    script: str  # latin, kana, kanji
    written: str

    @property
    def alone(self) -> bool:
        """Whether it is long enough to be searched without the other part."""
        least = {"latin": SINGLE_LATIN, "kana": SINGLE_KANA, "kanji": SINGLE_KANJI}[self.script]
        return shortest(self.slots) >= least

    def anchors(self) -> frozenset[str]:
        return beginnings(self.slots)


def name_forms(name: str, *, parts: str = "family") -> list[Form]:
    """Forms of a name.

    Parameters
    ----------
    name : str
        As in DICOM (PS3.5 6.2.1): ``FAMILY^GIVEN^MIDDLE`` in up to three groups ``alphabetic=ideographic=phonetic``;
        ``Family, Given``; or words, of which the first and the last may be the family name.
    parts : {"full", "family", "all"}
        What counts as the name: family and given name together, the family name alone too, each alone.
    """
    forms: list[Form] = []
    for group in name.split("="):
        family, given, middle, sure = _components(group)
        if not family and not given:
            continue
        if not given:
            forms += _one_word(family)
            continue
        families, givens = _scripts(family), _scripts(given)
        for left in families:
            forms += [form for right in givens if right.script == left.script for form in _whole(left, right, middle)]
        forms += _shortened(family, given, middle)
        single = [] if parts == "full" else families + (givens if parts == "all" or not sure else [])
        forms += [_alone(part) for part in single if part.alone]
    return forms


def _components(group: str) -> tuple[str, str, str, bool]:
    """Family, given and middle name, and whether it is known which is which."""
    if "^" in group:
        family, given, middle = ([part.strip() for part in group.split("^")] + ["", ""])[:3]
        if family and given:
            return family, given, middle, True
        group = family or given
    if "," in group:
        family, given = (part.strip() for part in group.split(",", 1))
        return family, given, "", True
    words = group.split()
    if len(words) < 2:
        return "".join(words), "", "", False
    return words[0], words[-1], " ".join(words[1:-1]), False


def _scripts(part: str) -> list[_Spelled]:
    """A part of a name in the script it is given in, and in those that follow from it."""
    folded = fold(part)
    if has_kana_only(folded):
        spelled = [_Spelled(_kana(folded), "kana", part)]
        romaji = romaji_of_kana(folded)
        return spelled + ([_Spelled(romaji, "latin", "")] if romaji else [])
    if UNSPACED.fullmatch(folded):
        return [_Spelled(literal(folded), "kanji", part)]
    spelled = [_Spelled(_latin(part), "latin", part)]
    japanese = kana_of_romaji(folded)
    if japanese is not None:
        kana, slots = japanese
        spelled.append(_Spelled(slots, "kana", ""))
        spelled.append(_Spelled(romaji_of_kana(kana, lengths_unknown=True) or (), "latin", ""))
    return [one for one in spelled if one.slots]


def _kana(folded: str) -> Slots:
    """A long o or u may be written with its kana or with the long mark."""
    befores = " " + folded
    options = (LONG_KANA.get(vowel_of(before), "") for before in befores)
    return tuple(tuple(many) if character in many else (character,) for character, many in zip(folded, options))


def _latin(part: str) -> Slots:
    slots: list[tuple[str, ...]] = []
    for character in part.lower():
        plain = fold(UNDECOMPOSED.get(character, character))
        if character in EXPANDED or character in UNDECOMPOSED:
            slots.append(tuple({plain, fold(character), EXPANDED.get(character, plain)}))
        elif re.fullmatch(r"[\W_]", plain):
            slots.append((plain, *(joint for joint in (" ", "-", "_", "'", "`", "") if joint != plain)))
        else:
            slots.append((plain,))
    return tuple(slots)


def _shortened(family: str, given: str, middle: str) -> list[Form]:
    """Whole names with one word of a double family name, or of given names, in place of all."""
    rests = {word: f"{given.removeprefix(word).lstrip(' -')} {middle}".strip() for word in _words(given)[:1]}
    pairs = [(left, right) for left in (family, *_words(family)) for right in (given, *_words(given))]
    return [
        form
        for left, right in pairs[1:]
        for one in _scripts(left)
        for other in _scripts(right)
        if one.script == other.script
        for form in _whole(one, other, rests.get(right, middle), within_words=False)
    ]


def _words(part: str) -> list[str]:
    """Words of a part of a name that has several, without those that are too short or too common."""
    words = re.split(r"[\s-]+", part)
    kept = [word for word in words if len(word) >= SINGLE_LATIN and fold(word) not in PARTICLES]
    return kept if len(words) > 1 and re.search("[a-z]", fold(part)) else []


def _whole(family: _Spelled, given: _Spelled, middle: str, *, within_words: bool = True) -> list[Form]:
    """Both orders of a whole name, and the given name's initial beside the family name."""
    left, right = pattern(family.slots), pattern(given.slots)
    between = f"(?:{SEPARATOR}{re.escape(fold(middle))}|{SEPARATOR}{re.escape(fold(middle)[0])})?" if middle else ""
    orders = [f"{left}{SEPARATOR}{right}", f"{right}{between}{SEPARATOR}{left}"]
    if family.script == "latin":
        initial = re.escape(given.slots[0][0][0])
        letters = shortest(family.slots) + shortest(given.slots) if within_words else 0
        orders = [_bounded(order, letters) for order in orders]
        if family.alone:
            orders += [_bounded(rf"{initial}[\W_]{{0,2}}{left}"), _bounded(rf"{left}[\W_]{{0,2}}{initial}")]
    # a family name of one kanji or kana is no anchor to look for: the given name is, where it is longer
    anchor = family if family.alone or shortest(family.slots) >= shortest(given.slots) else given
    anchors = anchor.anchors()
    if min(len(anchor.encode()) for anchor in anchors) < LEAST:
        anchors = _joined(family, given)
    return [Form("|".join(orders), anchors, frozenset({anchor.written} - {""}))]


def _joined(family: _Spelled, given: _Spelled) -> frozenset[str]:
    """Two parts of a name too short for an anchor, with what usually stands between them."""
    parts = (beginnings(family.slots), beginnings(given.slots))
    pairs = [pair for left in parts[0] for right in parts[1] for pair in ((left, right), (right, left))]
    return frozenset(joint.join(pair) for pair in pairs for joint in JOINTS)


def _alone(part: _Spelled) -> Form:
    text = pattern(part.slots)
    return Form(_bounded(text) if part.script == "latin" else text, part.anchors(), frozenset({part.written} - {""}))


def _one_word(word: str) -> list[Form]:
    """A name without parts; between the characters of kanji a space may mark where the family name ends."""
    forms = []
    for part in _scripts(word):
        if part.script == "kanji" and len(part.slots) > SINGLE_KANJI:
            characters = [options[0] for options in part.slots]
            ends = {"".join(characters[:2]), "".join(characters[-2:])}  # one of them the space leaves whole
            forms.append(Form(r"[\W_]{0,2}".join(map(re.escape, characters)), frozenset(ends)))
        elif part.alone:
            forms.append(_alone(part))
    return forms


def _bounded(text: str, letters: int = 0) -> str:
    return text if letters >= CLEAR_LATIN else f"(?<![a-z])(?:{text})(?![a-z])"
