"""Forms of a date: digits in the orders in use, names of months, Japanese eras."""

import re
from datetime import date

from medseg.privacy.folding import plain
from medseg.privacy.spelling import Form

__all__ = ["date_forms", "parse_date"]

# names and short names of the months, folded: English, German, French, Spanish, Italian
MONTHS = (
    "january jan januar jaenner janner janvier janv enero ene gennaio gen",
    "february feb februar fevrier fevr febrero febbraio",
    "march mar maerz marz mrz mars marzo",
    "april apr avril avr abril abr aprile",
    "may mai mayo maggio mag",
    "june jun juni juin junio giugno giu",
    "july jul juli juillet juil julio luglio lug",
    "august aug aout agosto ago",
    "september sep sept septembre septiembre setiembre settembre set",
    "october oct oktober okt octobre octubre ottobre ott",
    "november nov novembre noviembre",
    "december dec dezember dez decembre diciembre dicembre dic",
)
# first day, name, letter; a day of change belongs to both
ERAS = (
    (date(1868, 1, 25), date(1912, 7, 30), "明治", "m"),
    (date(1912, 7, 30), date(1926, 12, 25), "大正", "t"),
    (date(1926, 12, 25), date(1989, 1, 7), "昭和", "s"),
    (date(1989, 1, 8), date(2019, 4, 30), "平成", "h"),
    (date(2019, 5, 1), date.max, "令和", "r"),
)
LONGEST = 26  # characters of a date: "31 de septiembre de , 1970"
SHORT = 4  # letters of a name of a month beside a year of two digits
KANJI_DIGITS = "〇一二三四五六七八九"
WRITTEN = (
    re.compile(r"(?P<y>\d{4})(?P<m>\d{2})(?P<d>\d{2})"),
    re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})"),
    re.compile(r"(?P<d>\d{1,2})\.(?P<m>\d{1,2})\.(?P<y>\d{4})"),
)
SEPARATORS = r"[-/._: ]"
# not within a longer number, nor within the decimals of one
START, END = r"(?<!\d)(?<!\d\.)", r"(?!\d)"


def parse_date(text: str) -> date | None:
    """Date of ``19700131``, ``1970-01-31``, ``1970/1/31`` or ``31.1.1970``; None for anything else.

    Examples
    --------
    >>> parse_date("19700131") == parse_date("31.1.1970")
    True
    """
    for form in WRITTEN:
        if match := form.fullmatch(plain(text).strip()):
            try:
                return date(int(match["y"]), int(match["m"]), int(match["d"]))
            except ValueError:
                return None
    return None


def date_forms(day: date) -> list[Form]:
    """Forms of a date.

    Years of two digits count with separators only: six digits alone are too common a number.
    """
    year, short = f"{day.year:04}", f"{day.year % 100:02}"
    m, d = _padded(day.month), _padded(day.day)
    mm, dd = f"{day.month:02}", f"{day.day:02}"
    s = SEPARATORS
    numeric = [
        rf"{year}{mm}{dd}(?:\d{{6}})?", rf"{year}{s}{{1,2}}{m}{s}{{1,2}}{d}", rf"{year} ?年 ?{m} ?月 ?{d} ?日",
        rf"{d}{s}{{1,2}}{m}{s}{{1,2}}{year}", rf"{m}{s}{{1,2}}{d}{s}{{1,2}}{year}", rf"{dd}{mm}{year}",
        rf"{mm}{dd}{year}",
    ]  # fmt: skip
    months = sorted(MONTHS[day.month - 1].split(), key=len, reverse=True)
    month = rf"(?:{'|'.join(months)})\.?"
    ordinal = rf"{d}(?:st|nd|rd|th|er|o|°)?"
    named = [
        rf"{ordinal}[\W_]{{0,2}}(?:(?:of|de|di) )?{month}[\W_]{{0,2}}(?:del? )?{year}",
        rf"{month}[\W_]{{0,2}}{ordinal}[\W_]{{0,3}}{year}",
        rf"{year}[\W_]{{0,2}}{month}[\W_]{{0,2}}{d}",
    ]  # fmt: skip
    kanji = "".join(KANJI_DIGITS[int(digit)] for digit in year)
    kanji_day = f"{_kanji_number(day.month)}月{_kanji_number(day.day)}日"
    return [
        Form(f"{START}(?:{'|'.join(numeric + named)}){END}", frozenset({year}), reach=LONGEST),
        Form(f"(?:{kanji}|{kanji.replace('〇', '零')})年{kanji_day}", frozenset({f"月{_kanji_number(day.day)}日"})),
        _two_digits(short, day),
        _named_two_digits(short, d, months),
        *_eras(day, m, d, kanji_day),
    ]


def _padded(number: int) -> str:
    return f"0?{number}" if number < 10 else str(number)


def _two_digits(short: str, day: date) -> Form:
    mm, dd = f"{day.month:02}", f"{day.day:02}"
    orders = {
        sep.join(parts) for sep in "-/." for parts in ((short, mm, dd), (dd, mm, short), (mm, dd, short))
    }  # fmt: skip
    for m in (mm, str(day.month)):
        for d in (dd, str(day.day)):
            orders |= {f"{d}{sep}{m}{sep}{short}" for sep in "-/."}
            orders |= {f"{m}{sep}{d}{sep}{short}" for sep in "-/"} | {f"{short}/{m}/{d}"}
    return Form(f"{START}(?:{'|'.join(map(re.escape, sorted(orders)))})(?![\\d])(?!\\.\\d)", frozenset(orders))


def _named_two_digits(short: str, d: str, months: list[str]) -> Form:
    """Day, short name of the month, year of two digits: ``05-MAR-85``."""
    ends = sorted(f"{name}{sep}{short}" for name in months if len(name) <= SHORT for sep in ("-", " ", "/", ""))
    return Form(rf"{START}{d}[\W_]{{0,2}}(?:{'|'.join(map(re.escape, ends))}){END}", frozenset(ends))


def _eras(day: date, m: str, d: str, kanji_day: str) -> list[Form]:
    forms = []
    for first, last, name, letter in ERAS:
        if not first <= day <= last:
            continue
        number = day.year - first.year + 1
        years = f"(?:{'元|' if number == 1 else ''}{_padded(number)})"
        s = r"[-/. ]"
        forms.append(Form(rf"{name} ?{years} ?(?:年|{s}) ?{m} ?(?:月|{s}) ?{d}(?!\d)", frozenset({name})))
        forms.append(Form(rf"{name}{_kanji_number(number)}年{kanji_day}", frozenset({name})))
        compact = f"{number:02}{day.month:02}{day.day:02}"
        texts = {f"{letter}{compact}"}
        texts |= {f"{letter}{n}{sep}" for n in {str(number), f"{number:02}"} for sep in "./-年"}
        anchored = rf"(?<![a-z\d]){letter}(?:{compact}|{_padded(number)}[-/.年]{m}[-/.月]{d})(?!\d)"
        forms.append(Form(anchored, frozenset(texts)))
    return forms


def _kanji_number(number: int) -> str:
    """Number below 100 as it is said.

    Examples
    --------
    >>> _kanji_number(45), _kanji_number(10)
    ('四十五', '十')
    """
    tens, ones = divmod(number, 10)
    ten = "" if tens == 0 else "十" if tens == 1 else f"{KANJI_DIGITS[tens]}十"
    return ten + (KANJI_DIGITS[ones] if ones else "")
