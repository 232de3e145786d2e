"""Published cases with known answers."""

import json

import numpy as np
import pytest

from medseg.evaluation import delong_interval, delong_test, froc, match_marks, partial_auc, roc_auc
from medseg.files import read_csv


@pytest.fixture(scope="module")
def subarachnoid(real_data):
    _, rows = read_csv(real_data / "reference/pROC/aSAH.csv")
    table = {marker: np.array([float(row[marker]) for row in rows]) for marker in ("wfns", "s100b", "ndka")}
    table["poor"] = np.array([row["outcome"] == "Poor" for row in rows])
    return table, json.loads((real_data / "reference/pROC/expected.json").read_text())


def test_auc(subarachnoid):
    table, expected = subarachnoid
    for marker, value in expected["AUC"].items():
        assert roc_auc(table["poor"], table[marker]) == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("side", ["spec", "sens"])
def test_partial_areas(subarachnoid, side):
    table, expected = subarachnoid
    for marker, ranges in expected[f"pAUC_{side}"].items():
        for name, value in ranges.items():
            high, low = (float(end) for end in name.split("-"))
            if side == "spec":
                result = partial_auc(table["poor"], table[marker], fpr_range=(1 - high, 1 - low))
            else:
                result = partial_auc(table["poor"], table[marker], tpr_range=(low, high))
            assert result.raw == pytest.approx(value, abs=1e-9)
            standard = expected[f"pAUC_{side}_McClish"][marker][name]
            if isinstance(standard, str):
                assert result.below_chance
            else:
                assert result.mcclish == pytest.approx(standard, abs=1e-9)
                assert not result.below_chance


def test_delong(subarachnoid):
    table, expected = subarachnoid
    _, low, high = delong_interval(table["poor"], table["ndka"], logit=False)
    assert [low, high] == pytest.approx(expected["DeLong_CI95"]["ndka"], abs=1e-9)
    for pair, answer in expected["DeLong_paired"].items():
        a, b = pair.split("-")
        test = delong_test(table["poor"], table[a], table[b])
        assert test.z == pytest.approx(answer["Z"], abs=1e-9)
        assert test.p_value == pytest.approx(answer["p"], abs=1e-9)


def test_luna16(real_data):
    folder = real_data / "reference/LUNA16"
    expected = json.loads((folder / "expected.json").read_text())["sub40"]

    def table(name, score=None):
        _, rows = read_csv(folder / name)
        columns = {"case_id": [row["seriesuid"] for row in rows]}
        columns |= {axis.lower(): [row[f"coord{axis}"] for row in rows] for axis in "XYZ"}
        if score is not None:
            return columns | {"score": [row[score] for row in rows]}
        return columns | {"diameter_mm": [row["diameter_mm"] for row in rows]}

    included, excluded = table("sub40_annotations.csv"), table("sub40_annotations_excluded.csv")
    lesions = {name: included[name] + excluded[name] for name in included}
    lesions["ignore"] = [""] * len(included["x"]) + ["1"] * len(excluded["x"])
    uids = [line for line in (folder / "sub40_seriesuids.csv").read_text().split() if line != "seriesuid"]
    matches = match_marks({"case_id": uids}, table("sub40_results_dpn26.csv", "probability"), lesions, rule="luna16")
    assert matches.n_lesions == expected["n_nodules"]
    assert int(np.isfinite(matches.lesion_score).sum()) == expected["TP"]
    assert len(matches.false_score) == expected["FP"]
    curve = froc(matches)
    rates = (0.125, 0.25, 0.5, 1, 2, 4, 8)
    assert [curve.sensitivity_at(rate) for rate in rates] == pytest.approx(expected["sens"], abs=1e-9)
    assert curve.cpm == pytest.approx(expected["CPM"], abs=1e-9)
