"""What an evaluation folder holds, and what it must not keep or replace."""

import csv
import json

import pytest

from medseg.config.load import evaluation_settings
from medseg.errors import ConfigError, OutputError, TableError
from medseg.experiment.comparison import compare_evaluations
from medseg.experiment.evaluation import evaluate_table_files
from medseg.experiment.evaluation_folder import read_evaluation
from medseg.experiment.summary import summary_lines
from medseg.reporting import write_report


def write(path, columns, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


@pytest.fixture
def tables(tmp_path):
    names = [f"c{number}" for number in range(12)]
    cases = [(name, "f" if number % 2 else "m", 20 + 5 * number) for number, name in enumerate(names)]
    marks = [(name, 0, 0, 0, 0.5 + number / 40, "nodule") for number, name in enumerate(names)]
    lesions = [(name, 0, 0, 0, 4 + number, "nodule") for number, name in enumerate(names[6:])]
    return (
        write(tmp_path / "cases.csv", ["case_id", "sex", "age"], cases),
        write(tmp_path / "marks.csv", ["case_id", "x", "y", "z", "score", "class"], marks),
        write(tmp_path / "lesions.csv", ["case_id", "x", "y", "z", "diameter_mm", "class"], lesions),
    )


def test_nothing_of_an_earlier_evaluation_stays(tables, tmp_path):
    folder = tmp_path / "out"
    evaluate_table_files(*tables, folder)
    assert (folder / "matches.csv").is_file()
    assert (folder / "plots" / "froc.svg").is_file()
    labelled = write(tmp_path / "labelled.csv", ["case_id", "label", "score"], [("a", 1, 2), ("b", 0, 1), ("c", 0, 0)])
    evaluate_table_files(labelled, None, None, folder)
    assert not (folder / "matches.csv").exists()
    assert not (folder / "plots" / "froc.svg").exists()
    assert read_evaluation(folder)[1].matches is None


def test_the_tables_that_are_evaluated_are_not_replaced(tables, tmp_path):
    before = [path.read_text() for path in tables]
    with pytest.raises(OutputError, match="would replace cases.csv there"):
        evaluate_table_files(*tables, tmp_path)
    assert [path.read_text() for path in tables] == before


def test_a_folder_that_was_put_together_from_two_is_refused(tables, tmp_path):
    evaluate_table_files(*tables, tmp_path / "a")
    path = tmp_path / "a" / "cases.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(OutputError, match="of different cases"):
        compare_evaluations(tmp_path / "a", tmp_path / "a", tmp_path / "out")


def test_other_lesions_in_the_same_number_are_refused(tables, tmp_path):
    evaluate_table_files(*tables, tmp_path / "a")
    moved = tables[2].read_text().replace("c0,0,0,0", "c0,0.5,0,0").replace("c7,0,0,0", "c7,1,0,0")
    tables[2].write_text(moved)
    evaluate_table_files(*tables, tmp_path / "b")
    with pytest.raises(OutputError, match="case c7 has other lesions"):
        compare_evaluations(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    rows = [line.split(",") for line in tables[2].read_text().replace("c7,1,0,0", "c7,0,0,0").splitlines()]
    weighted = [[*row, "weight" if number == 0 else "1"] for number, row in enumerate(rows)]
    tables[2].write_text("\n".join(map(",".join, weighted)) + "\n")
    evaluate_table_files(*tables, tmp_path / "c")
    with pytest.raises(OutputError, match="has other lesions"):
        compare_evaluations(tmp_path / "a", tmp_path / "c", tmp_path / "out")


def test_parts_by_sex_and_age(tables, tmp_path):
    result = evaluate_table_files(
        *tables,
        tmp_path / "out",
        settings=evaluation_settings(["group_by=[sex,age]", "age_edges=[40]", "n_replicates=50"]),
    )
    assert {name: part["counts"]["n_cases"] for name, part in result["by_sex"].items()} == {"f": 6, "m": 6}
    assert {name: part["counts"]["n_cases"] for name, part in result["by_age"].items()} == {
        "0 to below 40": 4, "from 40": 8,
    }  # fmt: skip
    assert "sex f: 6 cases, 3 positive" in list(summary_lines(result))
    with pytest.raises(TableError, match="no case has a scanner"):
        evaluate_table_files(*tables, tmp_path / "out", settings=evaluation_settings(["group_by=[scanner]"]))


def test_settings_on_the_command_line(tables, tmp_path):
    settings = evaluation_settings(
        [
            "duplicates=false",
            "fpr_range=[0,0.5]",
            "tpr_range=[0.5,1]",
            "threshold=0.6",
            "prevalence=0.01",
            "size_edges=[6]",
        ]
    )
    result = evaluate_table_files(*tables, tmp_path / "out", settings=settings)
    assert result["lesion_level"]["rule"] == "distance, duplicates false"
    assert set(result["lesion_level"]["by_size"]) == {"below 6", "from 6"}
    assert result["at_operating_point"]["case_level"]["predictive_values"]["prevalence"] == 0.01
    assert result["case_level"]["two_way_partial_auc"]["value"] == 1.0
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert saved["settings"]["rule"] == "distance"
    text = (tmp_path / "out" / "figures.tex").read_text()
    assert "12 cases of 12 patients, 6 positive" in text
    for wrong, says in (
        ("fp_per_case=[4,2,1]", "the rates must rise"),
        ("fpr_range=0.1", "a list in brackets"),
        ("n_replicates=1000000000", "less than or equal to 1000000"),
        ("rulle=inside", "did you mean rule"),
    ):
        with pytest.raises(ConfigError, match=says):
            evaluation_settings([wrong])


def test_failed_cases_are_said(tmp_path):
    rows = [("a", 1, 0.9, "ok"), ("b", 0, 0.1, "ok"), ("c", 0, "", "failed")]
    cases = write(tmp_path / "c.csv", ["case_id", "label", "score", "status"], rows)
    lines = list(summary_lines(evaluate_table_files(cases, None, None, tmp_path / "out")))
    assert any(line.startswith("WARNING: 1 case(s) failed") for line in lines)


def test_an_unclosed_quote_or_a_short_row_is_refused(tmp_path):
    path = tmp_path / "c.csv"
    for text, says in (
        ('case_id,label,score,group\na,0,1,"A\nb,1,2,B\n', "not a CSV table"),
        ('case_id,label,score,group\na,0,1,"A\nb,1,2,B"\nc,1,2,B\n', "over several lines"),
        ("case_id,label,score\na,0\n", "fewer cells"),
    ):
        path.write_text(text)
        with pytest.raises(TableError, match=says):
            evaluate_table_files(path, None, None, tmp_path / "out")


def test_the_report_of_damaged_folders_is_one_line(tables, tmp_path):
    evaluate_table_files(*tables, tmp_path / "a")
    stamp = tmp_path / "a" / "evaluation.json"
    content = json.loads(stamp.read_text())
    for change in ({"case_level": []}, {"by_group": []}, {"intervals": []}, {"settings": "x"}):
        stamp.write_text(json.dumps(content | change))
        if "settings" in change:
            with pytest.raises(OutputError, match="damaged"):
                compare_evaluations(tmp_path / "a", tmp_path / "a", tmp_path / "out")
        else:
            with pytest.raises(OutputError, match="damaged"):
                write_report([tmp_path / "a"], tmp_path / "r.html")
