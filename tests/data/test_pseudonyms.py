"""Names and paths stay out of messages; pseudonyms are keyed, stable and telling nothing."""

import urllib.parse

import pytest

from medseg.data.pseudonyms import Pseudonyms, without_paths
from medseg.privacy import Identifier, Matcher


def test_paths_go_and_the_reason_stays(tmp_path):
    source = tmp_path / "in"
    for folder in ("A:SMITH^JOHN", "B"):
        (source / folder).mkdir(parents=True)
        (source / folder / "1.dcm").write_text("")
    file = source / "A:SMITH^JOHN" / "1.dcm"
    assert without_paths(f"{file}: its pixels cannot be decoded (in: 3)", [source]) == (
        "image: its pixels cannot be decoded (in: 3)"
    )
    assert without_paths(f"'{file.parent}' and {source}", [f"{source}#1.2.3"]) == "'image' and image"
    assert without_paths("slices are missing: 1 gap in it", [source]) == "slices are missing: 1 gap in it"


@pytest.fixture
def archive(tmp_path):
    """Two patients side by side, and a link to one of them."""
    source = tmp_path / "archive" / "SMITH JOHN" / "CT 1"
    for folder in (source, tmp_path / "archive" / "DOE JANE"):
        folder.mkdir(parents=True)
        (folder / "1.dcm").write_text("")
    (source / "山田.dcm").write_text("")
    (tmp_path / "link").symlink_to(source)
    return source


def secrets_in(text):
    return [word for word in ("SMITH", "JOHN", "DOE", "JANE", "CT 1", "山田", "archive") if word in text]


@pytest.mark.parametrize("spell", [str, urllib.parse.quote, lambda s: f"file://{s}", ascii, repr])
def test_paths_go_however_they_are_spelled(archive, spell):
    file = archive / "山田.dcm"
    text = without_paths(f"cannot read {spell(str(file))}: damaged", [archive])
    assert secrets_in(text) == []
    assert secrets_in(urllib.parse.unquote(text)) == []
    assert "damaged" in text


def test_paths_beside_above_and_behind_links_go(archive, tmp_path):
    link = tmp_path / "link"
    for message in (
        f"{archive}/missing.dcm: no such file",
        f"{archive.parent}: holds two series",
        f"{archive}/../../DOE JANE/1.dcm: another patient",
        f"{link}/1.dcm: damaged",
        "山田.dcm: damaged",
        "no series in 'CT 1'",
    ):
        for source in (archive, link, f"{archive}#1.2.3"):
            assert secrets_in(without_paths(message, [source])) == [], (message, source)
    # a file of its own: the other patient is beside it
    other = without_paths(f"{archive.parent.parent}/DOE JANE/1.dcm: damaged", [archive.parent])
    assert (secrets_in(other), other) == ([], "image: damaged")


def test_words_and_numbers_of_a_message_stay(tmp_path):
    folder = tmp_path / "slices"
    folder.mkdir()
    (folder / "1.dcm").write_text("")
    message = "slices are missing: 1 gap of 3.5/4 mm; 10.1/2 was expected, see docs/results.md"
    assert without_paths(message, [folder]) == message


def test_names_of_cases_are_keyed_and_stable(tmp_path):
    names = Pseudonyms(tmp_path)
    names.save({})
    stem = "SMITH^JOHN_12345"
    assert Pseudonyms(tmp_path).of_case(stem) == names.of_case(stem) != names.of_case("SMITH^JANE_12345")
    assert Pseudonyms(tmp_path / "other").of_case(stem) != names.of_case(stem)
    matcher = Matcher([Identifier("patient_name", "Smith^John"), Identifier("patient_id", "0098765")])
    assert names.of_case(stem, holds=matcher.holds) == names.of_case(stem)
    assert names.of_case("scan-98765", holds=matcher.holds) != "scan-98765"
    assert names.of_case("case_07", holds=matcher.holds) == "case_07"
