"""``medseg audit``: exit codes, what is printed and written."""

import json

import pytest
import typer

from medseg.cli.audit import COMMANDS
from medseg.cli.failures import run

app = typer.Typer()
app.callback()(lambda: None)  # so that one command keeps its name
for command in COMMANDS:
    app.command()(command)


@pytest.fixture
def patients(tmp_path):
    path = tmp_path / "patients.csv"
    path.write_text("name,name_kanji,id,birth_date\nSmith^John,,0098765,1950-02-03\nYamada^Tarou,山田^太郎,12,\n")
    return path


def test_clean_leaking_and_incomplete(patients, tmp_path, capsys):
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.csv").write_text("case_id,score\nc1,0.5\n")
    assert run(app, ["audit", str(output), "--identifiers", str(patients)]) == 0
    printed = capsys.readouterr().out
    assert "1 files" in printed
    assert "0 leaks" in printed
    assert "too short to search: patient_id **" in printed

    (output / "b.gz").write_bytes(b"\x1f\x8b\x08\x00 no gzip")
    assert run(app, ["audit", str(output), "--identifiers", str(patients)]) == 2, "not all of it was searched"
    assert "not searched: b.gz" in capsys.readouterr().out

    (output / "smith_98765.txt").write_text("山田 太郎")
    report = tmp_path / "report.json"
    assert run(app, ["audit", str(output), "--identifiers", str(patients), "--json", str(report)]) == 1
    printed = capsys.readouterr()
    written = json.loads(report.read_text())
    assert written["schema_version"] == 1
    assert {(leak["file"], leak["place"], leak["kind"]) for leak in written["leaks"]} == {
        ("s****_9****.txt", "file name", "patient_name"),
        ("s****_9****.txt", "file name", "patient_id"),
        ("s****_9****.txt", "content", "patient_name"),
    }
    for text in (printed.out, printed.err, report.read_text()):
        assert not any(word in text.lower() for word in ("smith", "98765", "yamada", "山田", "1950"))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.csv", None, "no such file"),
        ("a.csv", "ward,name\n3,Smith^John\n", "unknown column ward"),
        ("b.csv", "name,birth_date\nSmith^John,3rd of May\n", "no date such as 1970-01-31"),
        ("c.json", "[1]", "one object a patient"),
        ("d.txt", "# nothing\n", "holds no identifier"),
    ],
)
def test_a_wrong_list_is_one_line_and_exit_code_2(name, content, says, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_text(content)
    assert run(app, ["audit", str(tmp_path), "--identifiers", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert "3rd of May" not in error


def test_unknown_names_are_refused(patients, tmp_path, capsys):
    assert run(app, ["audit", str(tmp_path), "--identifiers", str(patients), "--names", "first"]) == 2
    assert "allowed are full, family, all" in capsys.readouterr().err
