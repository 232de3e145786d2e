"""Published cases with known answers."""

import json

import numpy as np
import pytest

from medseg.evaluation import (
    delong_interval,
    delong_test,
    delong_test_unpaired,
    froc,
    match_maps,
    match_marks,
    partial_auc,
    roc_auc,
)
from medseg.evaluation.maps import component_overlaps
from medseg.files import read_csv


@pytest.fixture(scope="module")
def subarachnoid(real_data):
    _, rows = read_csv(real_data / "reference/pROC/aSAH.csv")
    table = {marker: np.array([float(row[marker]) for row in rows]) for marker in ("wfns", "s100b", "ndka")}
    table["female"] = np.array([row["gender"] == "Female" for row in rows])
    table["poor"] = np.array([row["outcome"] == "Poor" for row in rows])
    return table, json.loads((real_data / "reference/pROC/expected.json").read_text())


def test_auc(subarachnoid):
    table, expected = subarachnoid
    for marker, value in expected["AUC"].items():
        assert roc_auc(table["poor"], table[marker]) == pytest.approx(value, abs=1e-9)


@pytest.mark.filterwarnings("ignore::medseg.errors.EvaluationWarning")
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


def test_delong_intervals_of_the_differences(subarachnoid):
    table, expected = subarachnoid
    for pair, answer in expected["DeLong_paired"].items():
        a, b = pair.split("-")
        test = delong_test(table["poor"], table[a], table[b])
        assert [test.ci_low, test.ci_high] == pytest.approx(answer["ci"], abs=1e-9)


def test_delong_unpaired(subarachnoid):
    table, expected = subarachnoid
    for pair, answer in expected["DeLong_unpaired"].items():
        a, b = pair.split("-")
        test = delong_test_unpaired(table["poor"], table[a], table["poor"], table[b])
        assert test.statistic == pytest.approx(answer["D"], abs=1e-9)
        assert test.p_value == pytest.approx(answer["p"], abs=1e-9)


def test_delong_interval_of_a_part_of_the_patients(subarachnoid):
    table, expected = subarachnoid
    women = table["female"]
    auc, low, high = delong_interval(table["poor"][women], table["ndka"][women], logit=False)
    assert [low, auc, high] == pytest.approx(expected["DeLong_CI95"]["ndka_female"], abs=1e-9)


# lesions found, false positives, lesions missed, marks that count as neither. Cases 0 to 8: as overview.md of the
# cases says. Case 9 is described there as two candidates; the file holds one, of 75 voxels, 3 of them on the lesion.
PICAI = {
    0: (0, 0, 0, 0), 1: (0, 0, 1, 0), 2: (0, 1, 0, 0), 3: (0, 1, 1, 0), 4: (1, 0, 0, 0), 5: (1, 1, 0, 0),
    6: (1, 0, 0, 1), 7: (1, 0, 1, 0), 8: (1, 0, 1, 0), 9: (0, 1, 1, 0),
}  # fmt: skip
# counted in the files, which overview.md agrees with but for three values: it gives 3/47 for 3 / (75 + 75 - 3),
# 1/6 for 60 / (165 + 75 - 60) and 1/11 for 15 / (165 + 75 - 15)
OVERLAPS = {
    3: [[0]], 4: [[1 / 3]], 5: [[9 / 41], [1 / 49]], 6: [[1 / 3], [2 / 7]], 7: [[1 / 3, 1 / 3]],
    8: [[1 / 15, 5 / 11]], 9: [[1 / 49]],
}  # fmt: skip


@pytest.mark.parametrize("case", range(10))
def test_picai(real_data, case):
    import nibabel

    maps = [
        np.asarray(nibabel.load(real_data / f"reference/picai/case-{case}_{kind}.nii.gz").dataobj)
        for kind in ("detection_map", "label")
    ]
    matches = match_maps({"case": tuple(maps)})
    found = int(np.isfinite(matches.lesion_score).sum())
    counts = (found, len(matches.false_score), matches.n_lesions - found, matches.n_neither)
    assert counts == PICAI[case]
    score, _, overlap = component_overlaps(*maps)
    if case in OVERLAPS:
        order = np.argsort(score, kind="stable")  # candidate 1 has confidence 1, candidate 2 confidence 2
        expected = np.array(OVERLAPS[case])
        assert np.sort(overlap[order], axis=1) == pytest.approx(np.sort(expected, axis=1), abs=1e-9)
    if case == 6:  # the better overlap decides, not the score
        assert matches.lesion_score.tolist() == [1.0]
