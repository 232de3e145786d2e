"""Where identifiers come from: DICOM in every character set, tables, JSON, lines of text."""

import json
from pathlib import Path

import pydicom
import pytest
from planted import ID, NAME, PHYSICIAN
from pydicom.data import get_charset_files

from medseg.errors import MedsegError
from medseg.privacy import Identifier, audit, read_identifiers


def test_a_series_gives_what_names_its_patient(study):
    found = {}
    for one in read_identifiers(study, study_dates=True):
        found.setdefault(one.kind, set()).add(one.value)
    assert len(found.pop("uid")) == 2 + 2 + 10, "studies, series, instances"
    assert found == {
        "patient_name": {NAME}, "patient_id": {ID}, "birth_date": {"19700131"}, "person_name": {PHYSICIAN},
        "address": {"東京都千代田区丸の内9-9-9"}, "telephone": {"03-5555-0199"}, "accession_number": {"ACC778899"},
        "institution": {"Maruhachi Clinic"}, "study_date": {"20230405"},
    }  # fmt: skip
    assert not {one.kind for one in read_identifiers(study, uids=False)} & {"uid", "study_date"}


# written down from the standard's examples (PS3.5 annexes H to K), not read by us
NAMES = {
    "chrH31.dcm": ["Yamada Tarou", "山田太郎", "やまだ たろう", "ヤマダタロー"],
    "chrH32.dcm": ["YAMADA TARO", "山田 太郎", "ﾔﾏﾀﾞ ﾀﾛｳ"],
    "chrI2.dcm": ["Hong, Gildong", "洪吉洞", "홍 길동"],
    "chrX1.dcm": ["XiaoDong Wang", "王小東"],
    "chrX2.dcm": ["WANG^XIAODONG", "王 小东"],
    "chrFren.dcm": ["Jerome Buc", "BUC, JÉRÔME"],
    "chrGerm.dcm": ["Aeneas Ruediger", "ÄNEAS RÜDIGER"],
    "chrGreek.dcm": ["ΔΙΟΝΥΣΙΟΣ"],
}


@pytest.mark.parametrize("name", NAMES)
def test_names_in_every_character_set_are_found_in_text_and_in_the_object(name, tmp_path):
    (source,) = (file for file in get_charset_files(name))
    patient = [one for one in read_identifiers(source) if one.kind == "patient_name"]
    for number, text in enumerate(NAMES[name]):
        (tmp_path / f"{number}.txt").write_text(text)
    (tmp_path / "copy.bin").write_bytes(Path(source).read_bytes())
    leaks = audit(tmp_path, patient).leaks
    assert {leak.file for leak in leaks} == {*(f"{number}.txt" for number in range(len(NAMES[name]))), "copy.bin"}
    assert "DICOM element (0010,0010)" in {leak.place for leak in leaks}


def test_names_in_a_character_set_that_is_not_declared(study, tmp_path):
    header = pydicom.dcmread(sorted(study.rglob("*.dcm"))[0])
    del header.SpecificCharacterSet, header.PatientAddress
    header.PatientName = "山田^太郎".encode("cp932")
    header.save_as(tmp_path / "a.dcm")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("山田太郎")
    assert audit(tmp_path / "out", read_identifiers(tmp_path / "a.dcm")).leaks


def test_tables_json_and_lines_say_the_same(tmp_path):
    (tmp_path / "a.csv").write_text("name_romaji,name_kanji,id,birth_date\nYamada^Tarou,山田^太郎,4711,1970-01-31\n")
    patient = {"name": ["Yamada^Tarou", "山田^太郎"], "patient_id": "4711", "birth_date": "31.1.1970"}
    (tmp_path / "a.json").write_text(json.dumps([patient]))
    (tmp_path / "a.txt").write_text("# one of two\nYamada^Tarou\n山田^太郎\n4711\n1970/01/31\n")
    kinds = ["birth_date", "patient_id", "patient_name", "patient_name"]
    for name in ("a.csv", "a.json", "a.txt"):
        found = read_identifiers(tmp_path / name)
        assert sorted(one.kind for one in found) == kinds
        assert Identifier("patient_name", "山田^太郎") in found


def test_a_folder_without_dicom_is_an_error(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(MedsegError, match="no DICOM object"):
        read_identifiers(tmp_path)


def test_warnings_of_pydicom_which_quote_values_are_kept_back(study, tmp_path, caplog, recwarn):
    file = tmp_path / "a.dcm"
    header = pydicom.dcmread(sorted(study.rglob("*.dcm"))[0])
    header.save_as(file)
    file.write_bytes(file.read_bytes().replace(b"19700131", b"1970JAN1").replace(b"ISO 2022 IR 87", b"ISO 2022 IR 99"))
    audit(tmp_path, read_identifiers(file))
    assert caplog.text == ""
    assert list(recwarn) == []
