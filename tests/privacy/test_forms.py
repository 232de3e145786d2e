"""Forms of names, dates and numbers: what is found as one, and what is not."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.privacy import Identifier, Matcher


def matcher(kind, value, **options):
    return Matcher([Identifier(kind, value)], **options)


@pytest.mark.parametrize(
    ("kana", "spellings"),
    [
        (
            "さとう^しょうじ",
            ["Sato Shoji", "SATOU SHOUJI", "Satoh Syozi", "Satō Shōji", "Shoji SATO", "サトウ　ショウジ"],
        ),
        ("ほんま^じゅんいち", ["Honma Junichi", "Homma Jun'ichi", "HONMA ZYUNITI", "Jun-ichi Homma", "ﾎﾝﾏ ｼﾞｭﾝｲﾁ"]),
        ("おおの^りょうこ", ["Ono Ryoko", "Ohno Ryohko", "Oono Ryouko", "ŌNO RYŌKO", "オーノ リョーコ"]),
        ("はっとり^えっちゅう", ["Hattori Etchu", "HATTORI ETTYUU", "Hattori Ecchu"]),
        ("つちや^ふじこ", ["Tsuchiya Fujiko", "TUTIYA HUZIKO"]),
        ("いのうえ^ゆうき", ["Inoue Yuki", "INOUE YUUKI"]),
    ],
)
def test_kana_are_found_in_every_romanisation(kana, spellings):
    patient = matcher("patient_name", f"=={kana}", names="full")
    assert [text for text in spellings if not patient.holds(text)] == []
    assert not patient.holds("Suzuki Hanako, スズキ ハナコ")


@pytest.mark.parametrize(
    ("name", "found", "other"),
    [
        ("Smith^John^Paul", ["SMITH^JOHN^PAUL", "John Paul Smith", "John P. Smith", "smith, j.", "JSmith", "SmithJ",
                             "john_smith_ct.nii"], ["Smithson John", "Johnsmit", "blacksmith"]),
        ("Müller^Jürgen", ["MUELLER JUERGEN", "Muller, Jurgen", "Müller Jürgen"], ["Miller"]),
        ("Garcia Marquez^Gabriel", ["Gabriel García", "GARCIA, Gabriel", "Gabriel Marquez", "G. Garcia"], ["Garcia"]),
        ("Smith-Jones^Anna", ["Anna Smith", "Jones, Anna", "Smith\u2010Jones", "Smith\u200b-Jones"],
         ["Anna", "Smith, Bob"]),
        ("van der Berg^Jan", ["Berg, Jan van der", "Jan Berg", "VANDERBERG"], ["Berg", "van der Jan"]),
        ("DE LA CRUZ^MARIA ANA", ["Cruz, Maria", "Ana Cruz"], ["la Maria"]),
        ("O'Neill^Ann", ["O\u2019Neill", "O'Ne\u00adill", "ONEILL", "O`Neill"], ["Neill"]),
        ("O\u2019Neill^Ann", ["O'Neill", "oneill"], ["Neil"]),
        ("García-López^Ana", ["GARCIA LOPEZ ANA", "Ana García López", "garcialopez_ana"], ["Garcia"]),
        ("Li^Bo", ["Li Bo", "LI^BO", "Bo_Li", "li, bo", "libo"], ["Li", "elliboth", "Lib o"]),
        ("渡邉^健", ["渡辺健", "渡邊　健", "渡邉"], ["渡部健"]),
        ("林^玲", ["林玲", "林 玲", "玲・林"], ["林", "小林檎"]),
        ("=山田太郎", ["山田太郎", "山田 太郎", "山 田太郎"], ["山田花子", "山田"]),
        ("Hong^Gildong=洪^吉洞=홍^길동", ["HONG GILDONG", "洪吉洞", "홍길동"], ["Kong"]),
        ("Øster^Åse", ["Oester Aase", "ØSTER ÅSE", "Oster, Ase"], ["Aster"]),
    ],
)  # fmt: skip
def test_names(name, found, other):
    patient = matcher("patient_name", name)
    assert [text for text in found if not patient.holds(text)] == []
    assert [text for text in other if patient.holds(text)] == []


def test_one_of_several_given_names_makes_a_whole_name():
    patient = matcher("patient_name", "Müller^Hans-Peter", names="full")
    texts = ["Hans Müller", "Mueller, Peter", "Hans P. Müller", "Hans-Peter", "Mueller, Paul"]
    assert [text for text in texts if patient.holds(text)] == texts[:3]


WESTERN = ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d %b %Y", "%d-%B-%Y", "%B %d, %Y",
           "%d%m%Y", "%b. %d %Y", "born%Y_%m_%d.txt", "%Y%m%d120000", "%d.%m.%y", "%Y年%m月%d日")  # fmt: skip
ERAS = {"昭和": 1925, "平成": 1988, "令和": 2018}


def written(day):
    texts = [day.strftime(form) for form in WESTERN]
    era = "令和" if day >= date(2019, 5, 1) else "平成" if day >= date(1989, 1, 8) else "昭和"
    year = day.year - ERAS[era]
    letter = {"昭和": "S", "平成": "H", "令和": "R"}[era]
    texts += [f"{era}{year}年{day.month}月{day.day}日", f"{letter}{year}.{day.month}.{day.day}",
              f"{letter}{year:02}{day:%m%d}"]  # fmt: skip
    return [*texts, f"{era}元年{day.month}月{day.day}日"] if year == 1 else texts


@given(st.dates(date(1927, 1, 1), date(2035, 1, 1)))
def test_every_form_of_a_date_is_found_and_the_next_day_is_not(day):
    found = matcher("birth_date", f"{day:%Y%m%d}")
    assert [text for text in written(day) if not found.holds(text)] == []
    assert [text for text in written(day + timedelta(1)) if found.holds(text)] == []


@pytest.mark.parametrize(
    ("day", "found", "other"),
    [
        ("1985-03-05", ["1985:03:05 10:11:12", "5/3/85", "3/5/85", "5.3.85", "05-MAR-85", "5-MAR-1985", "5. März 1985",
                        "05MAR85", "5 mars 1985", "5 de marzo de 1985", "5 marzo 1985", "05\u201103\u20111985"],
         ["850305", "1985:03:06", "15/3/85", "5/3/850", "3.5.85", "5. Mai 1985", "15-MAR-85", "5-MAR-851"]),
        ("1970-01-31", ["31 janvier 1970", "31. Januar 1970", "31 de enero de 1970", "31 gennaio 1970"], []),
        ("1970-08-01", ["1er août 1970", "1º agosto 1970", "1 ago 1970"], ["1er juin 1970"]),
    ],
)  # fmt: skip
def test_dates_of_other_languages_and_short_years(day, found, other):
    patient = matcher("birth_date", day)
    assert [text for text in found if not patient.holds(text)] == []
    assert [text for text in other if patient.holds(text)] == []


def test_the_last_day_of_an_era_belongs_to_it():
    assert matcher("birth_date", "1989-01-07").holds("昭和64年1月7日")
    assert matcher("birth_date", "1989-01-08").holds("平成元年1月8日")
    assert not matcher("birth_date", "1989-01-08").holds("昭和64年1月8日")


@pytest.mark.parametrize(
    ("kind", "value", "found", "other"),
    [
        ("patient_id", "0012345", ["12345", "0012345", "id=0012345.dcm", "_12345_", "00-12345", "ID12345"],
         ["123456", "0.12345", "12345.5", "a0b12345", "1234"]),
        ("patient_id", "471-08-15", ["471-08-15", "4710815", "471_08_15", "pat4710815", "47-108-15"], ["47108155"]),
        ("patient_id", "AB-0042-x", ["ab-0042-x", "AB0042X", "AB42x", "AB/42/X"], ["AB0042", "ZAB42X"]),
        ("patient_id", "12345678", ["1234 5678", "12.345.678", "12 34 56 78", "1234\u20115678", "1234\u20135678",
                                    "123\u200b45678"], ["1234.5678", "1234 56789", "1 2345678", "12345 67"]),
        ("patient_id", "0012345", ["001 2345", "001-2345"], ["001 23456"]),
        ("patient_id", "123456", ["123 456", "123-456"], ["123.456", "12 34 56"]),
        ("patient_id", "P-0012345", ["P-00123 45", "P\u20130012345", "p 001-2345"], ["P-00123 4", "Q-00123 45"]),
        ("telephone", "+81 90-1234-5678", ["090-1234-5678", "09012345678", "+819012345678", "0081 90 12 34 56 78"],
         ["090-1234-5679", "190-1234-5678"]),
        ("telephone", "+49 170 1234567", ["0049 170 1234567", "+49 (0)170 1234567", "0170/1234567", "491701234567"],
         ["0170/12345678"]),
        ("telephone", "0170 1234567", ["00491701234567", "+49 (0)170 123 45 67"], []),
        ("patient_id", "0001", ["0001"], ["1", "00011"]),
        ("telephone", "03-5555-0199", ["0355550199", "(03) 5555 0199", "+81 3 5555 0199", "+81-3-5555-0199"],
         ["5555-0199", "03-5555-01998"]),
        ("address", "東京都丸の内1丁目2番3号", ["東京都 丸の内１－２－３", "東京都丸の内1-2-3"], ["東京都丸の内1-2-4"]),
        ("address", "12 Long Street, Leeds", ["12 LONG STREET\n LEEDS", "12_Long_Street_Leeds"], ["Long Street"]),
        ("uid", "1.2.826.0.1.3680043.8.498.1", ["1.2.826.0.1.3680043.8.498.1.dcm", "(1.2.826.0.1.3680043.8.498.1)"],
         ["1.2.826.0.1.3680043.8.498.11", "11.2.826.0.1.3680043.8.498.1", "1.2.826.0.1.3680043.8.498.1.2"]),
    ],
)  # fmt: skip
def test_numbers_and_texts(kind, value, found, other):
    patient = matcher(kind, value)
    assert [text for text in found if not patient.holds(text)] == []
    assert [text for text in other if patient.holds(text)] == []


def test_what_is_too_short_is_said():
    short = [Identifier("patient_id", "12"), Identifier("patient_name", "^"), Identifier("telephone", "110")]
    assert Matcher([*short, Identifier("patient_id", "4711")]).too_short == short


def test_many_patients_are_told_apart():
    patients = [Identifier("patient_id", f"{number * 7919:08}") for number in range(1, 500)]
    found = Matcher(patients).in_text(" ".join(patient.value for patient in patients[::2]))
    assert set(found) == set(range(0, len(patients), 2))
