"""Forms of what is no name and no date: numbers of patients and telephones, free text, hashes of an identifier."""

import hashlib
import re
from itertools import combinations, pairwise

from medseg.privacy.folding import fold
from medseg.privacy.spelling import Form

__all__ = ["SHORTEST_ID", "hash_forms", "id_forms", "phone_forms", "text_forms"]

SHORTEST_ID = 4  # characters; shorter ones are in every table by chance
SEPARATED = r"[-_ ./#]?"
JOINTS = ("", "-", "_", " ", ".", "/")
OUTSIDE = r"(?<![0-9a-z])"
LABEL = r"(?<![0-9a-z])[a-z]{0,8}"  # letters may lead: "id123456", not "0.5e123456"
NOT_DECIMALS = r"(?<!\d\.)"
LONG_DIGITS = 6
GAP = r"[-. ()/]{0,2}"  # between digits of a telephone number
# country codes of ITU-T E.164 by their first digits: of one and of two digits; all others have three
CODES = re.compile(r"[17]|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|\d{3}")
LEAST_GROUP, GROUPED = 3, 8  # digits between spaces; numbers of so many digits have groups of two as well
SPLIT = 4  # digits of an identifier with letters that may stand in two groups
NUMBERED = "丁目|番地|番|号|の"  # what stands between the numbers of a Japanese address
PIECE = 3  # characters of unspaced text of which one piece stays whole, wherever a space is
HASHES = ("md5", "sha1", "sha224", "sha256", "sha512")
HASH_DIGITS = 10  # that a cut hash must have to be no chance: 40 bits


def id_forms(number: str) -> list[Form]:
    """Forms of an identifying number: with and without leading zeros and separators, not within a longer word."""
    runs = re.findall(r"[a-z]+|\d+|[^\W\da-z_]+", fold(number))
    if sum(map(len, runs)) < SHORTEST_ID:
        return []
    bare, zeros = _without_leading_zeros(runs)
    if all(run.isdigit() for run in runs) and sum(map(len, runs)) >= LONG_DIGITS:
        return [_long_number(bare, zeros, "".join(runs))]
    digits_only = len(runs) == 1 and runs[0].isdigit()
    core = SEPARATED.join(
        ("(?:0[- ]?)*" if n == zeros else "") + (r"[- ]?".join(run) if _splits(run, digits_only) else re.escape(run))
        for n, run in enumerate(bare)
    )
    before, after = (NOT_DECIMALS, r"(?!\.\d)") if digits_only else ("", "")
    longest = max(bare, key=len)
    joined = {joint.join(parts) for joint in JOINTS for parts in (runs, bare)}
    anchors = {longest} if len(longest) >= SHORTEST_ID else joined
    if _splits(longest, digits_only):
        anchors |= {longest[:at] + gap + longest[at:] for at in range(1, len(longest)) for gap in "- "}
    return [Form(f"{OUTSIDE}{before}{core}(?![0-9a-z]){after}", frozenset(anchors))]


def _without_leading_zeros(runs: list[str]) -> tuple[list[str], int]:
    """The first number without its leading zeros, and its place: -1 where too little would be left."""
    first = next((n for n, run in enumerate(runs) if run.isdigit()), -1)
    if first < 0:
        return runs, -1
    bare = [*runs[:first], runs[first].lstrip("0"), *runs[first + 1 :]]
    return (bare, first) if sum(map(len, bare)) >= SHORTEST_ID and bare[first] else (runs, -1)


def _splits(run: str, digits_only: bool) -> bool:
    return run.isdigit() and len(run) >= SPLIT and not digits_only


def _long_number(runs: list[str], zeros: int, padded: str) -> Form:
    """A number long enough to be known with one or two hyphens anywhere, in groups, or right behind a word.

    The literals say which groups; the pattern allows for all.
    """
    gap = "[-. ]?"
    core = ("(?:0[- ]?)*" if zeros == 0 else "") + SEPARATED.join(gap.join(run) for run in runs)
    digits = "".join(runs)
    places = range(1, len(digits))
    cuts = [(), *((one,) for one in places), *combinations(places, 2)]
    anchors = {"-".join(digits[a:b] for a, b in pairwise((0, *cut, len(digits)))) for cut in cuts}
    anchors |= {joint.join(runs) for joint in JOINTS} | _groups(digits) | _groups(padded)
    return Form(rf"{LABEL}{NOT_DECIMALS}{core}(?![0-9a-z])(?!\.\d)", frozenset(anchors))


def _groups(digits: str) -> set[str]:
    """Groups of digits between spaces, and between two dots or more: with one dot it is a decimal number."""
    n, least = len(digits), 2 if len(digits) >= GROUPED else LEAST_GROUP
    cuts: set[tuple[int, ...]] = {(at,) for at in range(least, n - least + 1)}
    cuts |= {(a, b) for a in range(least, n) for b in range(a + least, n - least + 1)}
    cuts |= {tuple(range(size, n, size)) for size in range(least, 5)}
    cuts.add(tuple(range(n % 3 or 3, n, 3)))  # thousands
    texts = [[digits[a:b] for a, b in pairwise((0, *cut, n))] for cut in cuts]
    return {" ".join(parts) for parts in texts} | {".".join(parts) for parts in texts if len(parts) > 2}


def phone_forms(number: str) -> list[Form]:
    """Forms of a telephone number: any grouping, international and national, with or without the leading zero."""
    folded = fold(number).strip()
    bare, code = "".join(re.findall(r"\d", folded)), ""
    if folded.startswith(("+", "00")):
        bare = bare.removeprefix("00") if folded.startswith("00") else bare
        match = CODES.match(bare)
        code = match[0] if match else ""
        bare = bare.removeprefix(code)
    bare = bare.lstrip("0")
    if len(bare) < LONG_DIGITS:
        return []
    country = rf"(?:(?:\+|00)\d{{1,3}}{GAP}{rf'|{code}{GAP}' if code else ''})?"
    last = bare[-4:]
    ends = {last} | {f"{last[:2]}{gap}{last[2:]}" for gap in " -./"}
    return [Form(rf"(?<!\d)(?<!\d\.){country}(?:0{GAP})?{GAP.join(bare)}(?!\d)", frozenset(ends))]


def text_forms(text: str) -> list[Form]:
    """Free text such as an address: its words in order, whatever stands between them.

    Where words are not spaced, space may stand anywhere; numbers of a Japanese address may be joined in words or by
    hyphens.
    """
    words = re.findall(r"[^\W_]+", re.sub(rf"(?<=\d)(?:{NUMBERED})", " ", fold(text)))
    if sum(map(len, words)) < LONG_DIGITS:
        return []
    joint = rf"(?:[\W_]{{0,3}}|{NUMBERED})"
    spaced = [re.escape(word) if word.isascii() else r"\s?".join(map(re.escape, word)) for word in words]
    longest = max(words, key=len)
    anchors = {longest} if longest.isascii() else {longest[at : at + PIECE] for at in range(0, len(longest), PIECE)}
    anchors = {anchor for anchor in anchors if len(anchor) >= PIECE} or {joint.join(words) for joint in JOINTS}
    reach = 4 * sum(map(len, words))  # each character, and the three that may follow it
    return [Form(f"(?<![0-9a-z]){joint.join(spaced)}(?![0-9a-z])", frozenset(anchors), reach=reach)]


def hash_forms(values: set[str]) -> list[Form]:
    """Hashes without a key, whole or cut: whoever has a list of patients finds the one that gives it."""
    texts = {spelled for value in values for spelled in (value, value.strip(), value.lower(), value.upper())}
    starts = {
        getattr(hashlib, name)(text.encode(), usedforsecurity=False).hexdigest()[:HASH_DIGITS]
        for text in texts if text for name in HASHES
    }  # fmt: skip
    return [Form(f"(?<![0-9a-f])(?:{'|'.join(sorted(starts))})", frozenset(starts))] if starts else []
