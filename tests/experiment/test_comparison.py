"""Comparing evaluations: paired tests on the same cases, and refusal of what is not paired."""

import csv
import json

import numpy as np
import pytest

from medseg.errors import ConfigError, OutputError
from medseg.evaluation import delong_test
from medseg.experiment.comparison import compare_evaluations, comparison_lines
from medseg.experiment.evaluation import evaluate_table_files


def write(path, rows):
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def study(folder, *, skill, seed, n=40, patients=True, order=1):
    """Half the cases have a lesion at 0; the detector marks it with a score that grows with its skill."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    cases, marks, lesions = [], [], []
    for number in range(n)[::order]:
        case_id, positive = f"c{number:02d}", number % 2 == 0
        cases.append({"case_id": case_id, "patient_id": f"p{number if patients else number // 2}"})
        if positive:
            lesions.append({"case_id": case_id, "x": 0, "y": 0, "z": 0, "diameter_mm": 10})
            marks.append({"case_id": case_id, "x": 0, "y": 0, "z": 0, "score": random.normal(skill)})
        marks.append({"case_id": case_id, "x": 50, "y": 0, "z": 0, "score": random.normal()})
    paths = [write(folder / f"{name}.csv", rows) for name, rows in (("c", cases), ("m", marks), ("l", lesions))]
    evaluate_table_files(*paths, folder / "evaluation")
    return folder / "evaluation"


def test_a_better_detector_is_told_from_a_worse_one(tmp_path):
    good, poor = study(tmp_path / "good", skill=3.0, seed=1), study(tmp_path / "poor", skill=0.3, seed=2)
    result = compare_evaluations(good, poor, tmp_path / "out")
    rows = {row["figure"]: row for row in result["differences"]}
    for name in ("AUC", "CPM", "wAFROC area"):
        assert rows[name]["difference"] > 0
        assert rows[name]["p_value"] < 0.05
        assert rows[name]["ci_low"] > 0
        assert rows[name]["p_holm"] >= rows[name]["p_value"]
    scores = []
    for folder in (good, poor):
        with (folder / "cases.csv").open() as stream:
            table = list(csv.DictReader(stream))
        scores.append([float(row["score"]) for row in table])
    test = delong_test([int(row["label"]) for row in table], *scores)
    assert rows["AUC"]["p_value"] == pytest.approx(test.p_value)
    assert rows["AUC"]["test"] == "DeLong paired"
    saved = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert saved["differences"][0]["difference"] == pytest.approx(rows["AUC"]["difference"])
    for name in ("comparison.csv", "comparison.tex", "plots/roc.svg", "plots/froc.png", "plots/differences.svg"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    assert any(line.startswith("AUC") for line in comparison_lines(result))


def test_a_detector_compared_with_itself_has_no_difference(tmp_path):
    one = study(tmp_path / "one", skill=1.0, seed=1)
    same = study(tmp_path / "same", skill=1.0, seed=1)
    for row in compare_evaluations(one, same, tmp_path / "out")["differences"]:
        assert row["difference"] == 0
        assert row["p_value"] == 1.0


def test_the_order_of_the_cases_does_not_matter_and_a_turns_into_b(tmp_path):
    a, b = study(tmp_path / "a", skill=2.0, seed=1), study(tmp_path / "b", skill=0.5, seed=2)
    turned = compare_evaluations(b, a, tmp_path / "ba")["differences"]
    for row, other in zip(compare_evaluations(a, b, tmp_path / "ab")["differences"], turned):
        assert row["difference"] == pytest.approx(-other["difference"])
        assert row["p_value"] == pytest.approx(other["p_value"], abs=1e-12)


def test_images_of_one_patient_are_tested_by_patient(tmp_path):
    a, b = (study(tmp_path / name, skill=skill, seed=3, patients=False) for name, skill in (("a", 2.0), ("b", 0.5)))
    rows = compare_evaluations(a, b, tmp_path / "out")["differences"]
    assert rows[0]["test"] == "Obuchowski clustered"


def test_what_is_not_paired_is_refused(tmp_path):
    a = study(tmp_path / "a", skill=2.0, seed=1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutputError, match=r"no evaluation\.json"):
        compare_evaluations(a, tmp_path / "empty", tmp_path / "out")
    b = study(tmp_path / "b", skill=2.0, seed=1, n=44)
    result = compare_evaluations(a, b, tmp_path / "out")
    assert result["counts"]["n_only_in_one"] == 4
    assert "in one evaluation only" in "\n".join(comparison_lines(result))
    text = (b / "cases.csv").read_text()
    (b / "cases.csv").write_text(text.replace("c", "d").replace("dase_id", "case_id"))
    (b / "matches.csv").unlink()
    with pytest.raises(OutputError, match="no case in common"):
        compare_evaluations(a, b, tmp_path / "out")
    other = study(tmp_path / "other", skill=1.0, seed=1)
    lines = (other / "cases.csv").read_text().replace("c01,p1", "c01,p99")
    (other / "cases.csv").write_text(lines)
    with pytest.raises(OutputError, match="case c01 is of another patient"):
        compare_evaluations(a, other, tmp_path / "out")
    with pytest.raises(ConfigError, match="n_replicate is not a field.*did you mean n_replicates"):
        compare_evaluations(a, a, tmp_path / "out", overrides=["n_replicate=10"])


def test_other_lesions_or_another_rule_are_refused(tmp_path):
    a, b = study(tmp_path / "a", skill=2.0, seed=1), study(tmp_path / "b", skill=2.0, seed=1)
    text = (b / "matches.csv").read_text()
    (b / "matches.csv").write_text(text.replace(",distance", ",inside"))
    with pytest.raises(OutputError, match="'distance'.*by 'inside'"):
        compare_evaluations(a, b, tmp_path / "out")
    lines = text.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("lesion,c04"))
    (b / "matches.csv").write_text("\n".join([*lines[:place], *lines[place + 1 :]]) + "\n")
    with pytest.raises(OutputError, match="case c04 has other lesions"):
        compare_evaluations(a, b, tmp_path / "out")
