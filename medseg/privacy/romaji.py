"""Kana to the Latin spellings in use (Hepburn, Kunrei, passport, long vowels), and back."""

from medseg.privacy.spelling import Slots

__all__ = ["kana_of_romaji", "romaji_of_kana", "vowel_of"]

VOWELS = "aiueo"
GAP = "　"
ROWS = {
    "": "あいうえお", "k": "かきくけこ", "g": "がぎぐげご", "s": "さしすせそ", "z": "ざじずぜぞ", "t": "たちつてと",
    "d": "だぢづでど", "n": "なにぬねの", "h": "はひふへほ", "b": "ばびぶべぼ", "p": "ぱぴぷぺぽ", "m": "まみむめも",
    "r": "らりるれろ", "y": "や　ゆ　よ", "w": "わゐ　ゑを",
}  # fmt: skip
# spellings beside the regular ones above, the more common first
IRREGULAR = {
    "し": ("shi",), "ち": ("chi",), "つ": ("tsu",), "ふ": ("fu",), "じ": ("ji",), "ぢ": ("ji", "zi"), "づ": ("zu",),
    "ゐ": ("i",), "ゑ": ("e",), "を": ("o",), "ゔ": ("vu", "bu"), "ふぁ": ("fa",), "てぃ": ("ti",), "でぃ": ("di",),
    "しぇ": ("she", "sye"), "ちぇ": ("che", "tye"), "じぇ": ("je", "zye"),
}  # fmt: skip
GLIDES = {"ゃ": "a", "ゅ": "u", "ょ": "o"}
IRREGULAR_GLIDES = {
    "し": ("sh", "sy"),
    "ち": ("ch", "ty", "cy"),
    "じ": ("j", "zy", "jy"),
    "ぢ": ("j", "zy", "jy", "dy"),
}


GLIDING = "kgsztdnhbpmr"  # consonants that a glide may follow
OBSOLETE = "ゐゑをぢづ"  # as kana of a Latin spelling these come last


def _sounds() -> dict[str, tuple[str, ...]]:
    sounds = dict(IRREGULAR)
    for consonant, row in ROWS.items():
        for kana, vowel in zip(row, VOWELS):
            if kana != GAP:
                sounds[kana] = (*(s for s in IRREGULAR.get(kana, ()) if s != consonant + vowel), consonant + vowel)
        for glide, vowel in GLIDES.items() if consonant and consonant in GLIDING else ():
            starts = IRREGULAR_GLIDES.get(row[1], (f"{consonant}y",))
            sounds[row[1] + glide] = tuple(start + vowel for start in starts)
    return sounds


SOUNDS = _sounds()
KANA: dict[str, str] = {}
for _kana in sorted(SOUNDS, key=lambda sound: sound[0] in OBSOLETE):
    for _romaji in SOUNDS[_kana]:
        KANA.setdefault(_romaji, _kana)
LONGEST = max(map(len, KANA))
# how a vowel that may be long goes on, as kana and as Latin letters ("Satou, Sato, Satoh, Satoo")
LENGTHENED = {
    "o": (("", "う", "お", "ー"), ("", "o", "u", "h")),
    "u": (("", "う", "ー"), ("", "u")),
    "a": (("", "あ", "ー"), ("", "a", "h")),
    "i": (("", "い", "ー"), ("", "i")),
    "e": (("", "え", "い", "ー"), ("", "e", "i", "h")),
}
NASAL = "ん"
DOUBLED = "っ"
LABIALS = "bmp"  # before these the nasal is written n or m: Homma, Honma


def _tokens(kana: str) -> list[str]:
    tokens = []
    at = 0
    while at < len(kana):
        size = 2 if kana[at : at + 2] in SOUNDS else 1
        tokens.append(kana[at : at + size])
        at += size
    return tokens


def vowel_of(kana: str) -> str:
    """Vowel that one kana ends in; empty for what has none.

    Examples
    --------
    >>> vowel_of("の"), vowel_of("ょ"), vowel_of("ん")
    ('o', 'o', '')
    """
    return GLIDES.get(kana) or SOUNDS.get(kana, ("",))[0][-1:]


def romaji_of_kana(kana: str, *, lengths_unknown: bool = False) -> Slots | None:
    """Latin spellings of a name in hiragana; None where it holds something else.

    Parameters
    ----------
    lengths_unknown : bool
        The kana come from a Latin spelling, which need not show that an o or u is long.

    Examples
    --------
    >>> romaji_of_kana("ほんま")
    (('ho',), ('n', 'm'), ('ma',))
    """
    slots: list[tuple[str, ...]] = []
    doubled = False
    tokens = _tokens(kana)
    for token, after in zip(tokens, [*tokens[1:], ""]):
        if slots and token in _long_marks(slots) and not doubled:
            slots.append(LENGTHENED[slots[-1][0][-1]][1])
        elif token == DOUBLED and after in SOUNDS:
            doubled = True
        elif token == NASAL:
            slots.append(_nasal(SOUNDS.get(after, ("",))[0]))
        elif token in SOUNDS:
            slots.append(_doubled(SOUNDS[token]) if doubled else SOUNDS[token])
            doubled = False
            vowel = slots[-1][0][-1]
            if lengths_unknown and vowel in "ou" and after not in LENGTHENED[vowel][0][1:]:
                slots.append(LENGTHENED[vowel][1])
        else:
            return None
    return tuple(slots)


def _long_marks(slots: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Kana that make the vowel before them long; none after the nasal or after a vowel that is long already."""
    last = slots[-1]
    return () if "" in last or last[0][-1] not in LENGTHENED else LENGTHENED[last[0][-1]][0][1:]


def _nasal(after: str) -> tuple[str, ...]:
    if after and after[0] in LABIALS:
        return ("n", "m")
    return ("n", "n'", "n-", "nn") if after and after[0] in VOWELS + "y" else ("n",)


def _doubled(spellings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(("t" if s.startswith("ch") else s[0]) + s for s in spellings) + tuple(
        "c" + s for s in spellings if s.startswith("ch")
    )


def kana_of_romaji(latin: str) -> tuple[str, Slots] | None:
    """Hiragana of a name in Latin letters, and its spellings in kana; None where it is no Japanese one.

    The kana leave out that an o or u is long; the spellings allow for it.

    Examples
    --------
    >>> kana_of_romaji("honma")[0], kana_of_romaji("smith")
    ('ほんま', None)
    """
    slots: list[tuple[str, ...]] = []
    kana = ""
    while latin:
        sound, size = _next_sound(latin)
        if not size:
            return None
        kana, latin = kana + sound, latin[size:]
        slots.append((sound,))
        vowel = vowel_of(sound[-1:])
        if vowel and vowel in "ou":
            slots.append(LENGTHENED[vowel][0])
            silent_h = latin[:1] == "h" and latin[1:2] not in tuple(VOWELS)  # Itoh, Ohno
            latin = latin[1:] if silent_h or latin[:1] in ("u", vowel) else latin
    return kana, tuple(slots)


def _next_sound(latin: str) -> tuple[str, int]:
    """The first sound as kana, and how many letters it takes: none where there is no such sound."""
    first, after = latin[0], latin[1:2]
    if (first == after and first not in VOWELS + "nm") or latin.startswith("tch"):
        return DOUBLED, 1
    for size in range(min(LONGEST, len(latin)), 0, -1):
        if latin[:size] in KANA:
            return KANA[latin[:size]], size
    if first == "n" or (first == "m" and after and after in LABIALS):
        return NASAL, 2 if after in ("'", "-") else 1
    return "", 0
