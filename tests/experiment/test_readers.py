"""Tables with the marks of several readers."""

import csv
import json

import numpy as np
import pytest

from medseg.errors import TableError
from medseg.evaluation import evaluate_tables, mark_study
from medseg.experiment.evaluation import evaluate_table_files
from medseg.experiment.summary import summary_lines


def write(path, columns, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


@pytest.fixture
def tables(tmp_path):
    random, marks = np.random.default_rng(0), []
    names = [f"c{number}" for number in range(24)]
    for modality, skill in (("CT", 2.0), ("MR", 0.3)):
        for reader in ("ann", "bob", "cy"):
            for number, name in enumerate(names):
                if number < 12:
                    marks.append((name, 0, 0, 0, random.normal(skill), reader, modality))
                marks.append((name, 50, 0, 0, random.normal(), reader, modality))
    return (
        write(tmp_path / "c.csv", ["case_id"], [[name] for name in names]),
        write(tmp_path / "m.csv", ["case_id", "x", "y", "z", "score", "reader", "modality"], marks),
        write(tmp_path / "l.csv", ["case_id", "x", "y", "z", "diameter_mm"], [[n, 0, 0, 0, 9] for n in names[:12]]),
    )


def test_every_reader_and_the_study_of_all(tables, tmp_path):
    result = evaluate_table_files(*tables, tmp_path / "out")
    assert [(row["modality"], row["reader"]) for row in result["readers"]] == [
        (modality, reader) for modality in ("CT", "MR") for reader in ("ann", "bob", "cy")
    ]
    assert all(row["n_marks"] == 36 for row in result["readers"])
    study = mark_study(*tables)
    saved = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert saved["reader_study"]["random_both"]["p_value"] == pytest.approx(study.random_both.p_value)
    assert saved["reader_study"]["values"] == pytest.approx(
        np.array([row["wafroc_auc"]["value"] for row in result["readers"]]).reshape(2, 3)
    )
    lines = "\n".join(summary_lines(result))
    assert "CT ann: 36 marks" in lines
    assert "readers and cases random: F" in lines


def test_a_reader_without_marks_in_a_modality_is_said(tables, tmp_path):
    cases, marks, lesions = tables
    kept = [line for line in marks.read_text().splitlines() if not line.endswith("bob,MR")]
    marks.write_text("\n".join(kept) + "\n")
    result = evaluate_table_files(cases, marks, lesions, tmp_path / "out")
    assert result["reader_study"] is None
    assert "bob" in result["reader_study_reason"]
    assert any("no comparison" in line for line in summary_lines(result))


def test_marks_of_several_readers_are_never_pooled(tables):
    with pytest.raises(TableError, match="several values of reader"):
        evaluate_tables(*tables)


def test_the_settings_of_matching_hold_for_the_study_too(tables, tmp_path):
    from medseg.config.load import evaluation_settings

    settings = evaluation_settings(
        ["assignment=one_to_one", "duplicates=false", "modalities=[MR,CT]", "readers=[ann,bob,cy]"]
    )
    result = evaluate_table_files(*tables, tmp_path / "out", settings=settings)
    values = {(row["modality"], row["reader"]): row["wafroc_auc"]["value"] for row in result["readers"]}
    study = result["reader_study"]
    for i, modality in enumerate(study["modalities"]):
        for j, reader in enumerate(study["readers"]):
            assert study["values"][i][j] == pytest.approx(values[modality, reader])
    assert study["modalities"] == ("MR", "CT")


def test_a_reader_study_is_reported_and_not_compared_again(tables, tmp_path):
    from medseg.errors import OutputError
    from medseg.experiment.comparison import compare_evaluations
    from medseg.reporting import write_report

    evaluate_table_files(*tables, tmp_path / "out")
    page = write_report([tmp_path / "out"], tmp_path / "r.html").read_text()
    assert "readers and cases random: F" in page
    assert (tmp_path / "out" / "matches" / "CT_ann.csv").is_file()
    with pytest.raises(OutputError, match="evaluation of several readers"):
        compare_evaluations(tmp_path / "out", tmp_path / "out", tmp_path / "cmp")


def test_positive_cases_without_a_place_are_left_out_of_the_study(tables, tmp_path):
    cases, marks, lesions = tables
    rows = [line.split(",")[0] for line in cases.read_text().splitlines()[1:]]
    write(cases, ["case_id", "label"], [[name, int(number < 12)] for number, name in enumerate(rows)])
    kept = lesions.read_text().splitlines()[:10]  # the lesions of three positive cases are not known
    lesions.write_text("\n".join(kept) + "\n")
    result = evaluate_table_files(cases, marks, lesions, tmp_path / "out")
    assert result["counts"]["n_not_localised"] == 3
    write(cases, ["case_id", "localised"], [[name, int(number not in (9, 10, 11))] for number, name in enumerate(rows)])
    other = evaluate_table_files(cases, marks, lesions, tmp_path / "other")
    assert result["reader_study"]["values"].tolist() == other["reader_study"]["values"].tolist()
    write(cases, ["case_id", "label"], [[name, 0] for name in rows])
    with pytest.raises(TableError, match="label 0 and a lesion"):
        evaluate_table_files(cases, marks, lesions, tmp_path / "no")


def test_a_reader_who_marked_nothing_is_named(tables, tmp_path):
    from medseg.config.load import evaluation_settings

    settings = evaluation_settings(["readers=[ann,bob,cy,dee]", "modalities=[CT,MR]", "n_replicates=50"])
    result = evaluate_table_files(*tables, tmp_path / "out", settings=settings)
    silent = [row for row in result["readers"] if row["reader"] == "dee"]
    assert [(row["n_marks"], row["wafroc_auc"]["value"]) for row in silent] == [(0, 0.5)] * 2
    assert result["reader_study"]["readers"] == ("ann", "bob", "cy", "dee")
