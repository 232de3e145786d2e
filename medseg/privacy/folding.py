"""Folding: texts that a reader takes for the same become the same text."""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["fold", "has_kana_only", "plain", "shapes_of"]

# hiragana U+3041 to U+3096 lie 0x60 below their katakana
HIRAGANA = range(0x3041, 0x3097)
KANA_SHIFT = 0x60
# combining marks (Unicode blocks of that name) and selectors of a variant; not the marks that voice a kana
ACCENTS = re.compile(
    "[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe00-\ufe0f\ufe20-\ufe2f\U000e0100-\U000e01ef]+"
)
# what a word processor sets instead of an apostrophe and a hyphen, and what it hides within a word
APOSTROPHES = "\u2018\u2019\u201b\u02bc\u02b9\u2032\u00b4"
HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_TYPED = dict.fromkeys(map(ord, APOSTROPHES), "'") | dict.fromkeys(map(ord, HYPHENS), "-")
_TYPED |= dict.fromkeys(map(ord, INVISIBLE), "")
NOT_ASCII = re.compile(r"[^\x00-\x7f]+")

# old and new shapes of kanji that registers and typists use for the same family name: the new one first
VARIANTS = (
    "高髙", "崎﨑嵜", "浜濵濱", "辺邉邊", "斎齋齊斉", "沢澤", "広廣", "国國", "真眞", "恵惠", "桜櫻", "島嶋嶌",
    "徳德", "曽曾", "瀬瀨", "槙槇", "竜龍", "岳嶽", "寿壽", "栄榮", "渕淵", "薮藪", "静靜", "実實",
    "学學", "応應", "条條", "会會", "円圓", "豊豐", "吉𠮷", "鴎鷗", "桧檜", "磯礒", "弥彌", "礼禮",
    "戸戶", "黒黑", "塩鹽", "関關", "滝瀧", "沖冲", "富冨",
)  # fmt: skip
_TABLE = {code + KANA_SHIFT: code for code in HIRAGANA}
_TABLE |= {ord(old): ord(shapes[0]) for shapes in VARIANTS for old in shapes[1:]}
_TO_KATAKANA = {code: code + KANA_SHIFT for code in HIRAGANA}
FULL_WIDTH = {code: code - 0x21 + 0xFF01 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
HALF_WIDTH = [chr(code) for code in range(0xFF66, 0xFF9E)]
_TO_HALF = {
    ord(whole): half + mark
    for mark in ("ﾟ", "ﾞ", "") for half in HALF_WIDTH
    if len(whole := unicodedata.normalize("NFKC", half + mark)) == 1
}  # fmt: skip


def plain(text: str) -> str:
    """Text with typewriter's apostrophes and hyphens, and without characters that are not seen.

    Examples
    --------
    >>> plain("O\u2019Ne\u00adill"), plain("12\u201334")
    ("O'Neill", '12-34')
    """
    return text if text.isascii() else text.translate(_TYPED)


def fold(text: str) -> str:
    """Fold case, width (full, half), accents, katakana, old shapes of kanji and typographic signs away.

    Examples
    --------
    >>> fold("ＹＡＭＡＤＡ"), fold("ﾔﾏﾀﾞ"), fold("Tarō"), fold("渡邉")
    ('yamada', 'やまだ', 'taro', '渡辺')
    """
    lower = text.lower()
    return lower if lower.isascii() else NOT_ASCII.sub(lambda run: _fold_run(run[0]), lower)


@lru_cache(maxsize=4096)  # texts repeat their words
def _fold_run(run: str) -> str:
    bare = ACCENTS.sub("", unicodedata.normalize("NFKD", plain(run).casefold()))
    return unicodedata.normalize("NFC", bare).casefold().translate(_TABLE)


def has_kana_only(text: str) -> bool:
    """Whether a folded text is of kana (and the long mark) alone."""
    return text != "" and all(ord(c) in HIRAGANA or c == "ー" for c in text)


def shapes_of(folded: Iterable[str], written: Iterable[str] = ()) -> set[str]:
    """What texts that fold to these look like: case, full width, katakana, half-width kana, old kanji.

    Parameters
    ----------
    folded : iterable of str
    written : iterable of str
        Texts as somebody wrote them, of which the cases are added.
    """
    shapes = _cases(written)
    for text in folded:
        if text.isascii():
            shapes |= {text, text.replace("'", "\u2019")} | {case.translate(FULL_WIDTH) for case in _cases([text])}
        elif has_kana_only(text):
            katakana = text.translate(_TO_KATAKANA)
            shapes |= {text, katakana, katakana.translate(_TO_HALF)}
        else:
            shapes |= _old_kanji(text)
    return shapes


def _old_kanji(text: str) -> set[str]:
    shapes = {text}
    for variants in VARIANTS:
        shapes |= {shape.replace(variants[0], old) for shape in shapes for old in variants[1:] if variants[0] in shape}
    return shapes


def _cases(texts: Iterable[str]) -> set[str]:
    return {case for text in texts for case in (text, text.lower(), text.upper(), text.title())}
