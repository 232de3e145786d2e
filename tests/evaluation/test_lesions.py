"""Hand-counted cases."""

import numpy as np
import pytest

from medseg.errors import TableError
from medseg.evaluation import (
    PixelCounts,
    average_precision,
    dice_score,
    evaluate_tables,
    froc,
    match_marks,
    wafroc_auc,
)
from medseg.evaluation.pixel import pooled_figures

CASES = {"case_id": ["a", "b", "c", "d"]}
# a: two lesions, b: one lesion, c and d: none
LESIONS = {"case_id": ["a", "a", "b"], "x": [0, 50, 0], "y": [0, 0, 0], "z": [0, 0, 0], "diameter_mm": [10, 10, 10]}
MARKS = {
    "case_id": ["a", "a", "a", "b", "c", "c"],
    "x": [1, 2, 30, 5, 0, 9],  # a: two marks on lesion 1, one beside; b: on the border; c: two false
    "y": [0] * 6,
    "z": [0] * 6,
    "score": [0.9, 0.8, 0.3, 0.7, 0.6, 0.2],
}


def test_matching_counts():
    matches = match_marks(CASES, MARKS, LESIONS)
    assert matches.lesion_score.tolist() == [0.9, -np.inf, -np.inf]  # distance 5 is not below 10 / 2
    assert sorted(matches.false_score) == [0.2, 0.3, 0.6, 0.7]
    assert matches.n_neither == 1


def test_froc_by_hand():
    curve = froc(match_marks(CASES, MARKS, LESIONS))
    # thresholds 0.9: 1/3 at 0 FP; then four false positives over four cases
    assert curve.fp_per_case.tolist() == [0, 0, 0.25, 0.5, 0.75, 1.0]
    assert curve.sensitivity == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert curve.sensitivity_at(8) == pytest.approx(1 / 3)
    assert curve.partial_area(0, 8) == pytest.approx(1 / 3)


def test_froc_between_points_that_share_a_rate():
    """Four cases: two false marks, then one on the lesion. Just below 0.5 there is nothing yet; at 0.5 everything."""
    cases = {"case_id": ["a", "b", "c", "d"]}
    lesions = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "diameter_mm": [10]}
    marks = {"case_id": ["b", "c", "a"], "x": [0, 0, 0], "y": [0] * 3, "z": [0] * 3, "score": [0.9, 0.8, 0.7]}
    curve = froc(match_marks(cases, marks, lesions))
    assert curve.sensitivity_at(0.49) == 0
    assert curve.sensitivity_at(0.5) == 1
    assert curve.partial_area(0, 0.5) == 0


def test_marks_of_failed_cases_are_left_out():
    cases = {**CASES, "status": ["failed", "ok", "ok", "ok"]}
    matches = match_marks(cases, MARKS, LESIONS)
    assert matches.n_lesions == 3
    assert not np.isfinite(matches.lesion_score).any()
    assert sorted(matches.false_score) == [0.2, 0.6, 0.7]
    assert matches.n_neither == 0


def test_a_case_whose_lesions_have_no_place_counts_at_the_case_level_only():
    cases = {
        "case_id": ["a", "b", "c", "d", "e"],
        "label": [1, 1, 0, 0, 1],
        "score": [0.9, 0.7, 0.6, 0, 0.1],
        "localised": [1, 1, 1, 1, 0],
    }
    result, without = evaluate_tables(cases, MARKS, LESIONS), evaluate_tables(CASES, MARKS, LESIONS)
    assert result["case_level"]["auc"]["value"] == pytest.approx(5 / 6)
    for name in ("cpm", "average_precision", "wafroc_auc"):
        assert result["lesion_level"][name]["value"] == pytest.approx(without["lesion_level"][name]["value"])


def test_luna16_keeps_marks_above_the_score_of_the_next_one():
    n = 105
    lesions = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "diameter_mm": [10]}
    marks = {"case_id": ["a"] * n, "x": [0] + [100] * (n - 1), "y": [0] * n, "z": [0] * n, "score": [0.5] * n}
    tied = match_marks(CASES, marks, lesions, rule="luna16")
    assert len(tied.false_score) == 0  # all tie with the 101st
    assert not np.isfinite(tied.lesion_score[0])
    marks["score"] = np.linspace(1, 0, n).tolist()
    assert len(match_marks(CASES, marks, lesions, rule="luna16").false_score) == 99


def test_case_scores_default_to_the_highest_mark():
    result = evaluate_tables(CASES, MARKS, LESIONS)
    assert result["case_level"]["auc"]["value"] == 1.0  # a 0.9, b 0.7 against c 0.6, d nothing


def test_wafroc_by_hand():
    # lesion-free c (highest 0.6) and d (nothing). Lesion 1 (weight 1/2) beats both; lesion 2 and b's: tie with d only
    value = wafroc_auc(match_marks(CASES, MARKS, LESIONS))
    assert value == pytest.approx((0.5 * 1 + 0.5 * 0.25 + 1.0 * 0.25) / 2)


def test_average_precision_by_hand():
    assert average_precision(match_marks(CASES, MARKS, LESIONS)) == pytest.approx(1 / 3)


def test_marks_on_ignored_lesions_are_neither():
    lesions = {**LESIONS, "ignore": ["1", "", ""]}
    matches = match_marks(CASES, MARKS, lesions)
    assert matches.n_lesions == 2
    assert len(matches.false_score) == 4
    assert matches.n_neither == 2


def test_inside_and_overlap_rules():
    lesions = {"case_id": ["a"], "x": [2], "y": [2], "z": [0], "diameter_mm": [4]}
    lesions |= {"x_min": [0], "x_max": [4], "y_min": [0], "y_max": [4], "z_min": [0], "z_max": [1]}
    marks = {"case_id": ["a", "a"], "x": [3.9, 4], "y": [0, 0], "z": [0, 0], "score": [1, 2]}
    marks |= {"x_min": [2, 4], "x_max": [6, 8], "y_min": [0, 0], "y_max": [4, 4], "z_min": [0, 0], "z_max": [1, 1]}
    assert match_marks(CASES, marks, lesions, rule="inside").lesion_score.tolist() == [1]  # half-open: 4 is outside
    assert match_marks(CASES, marks, lesions, rule="iou:0.3").lesion_score.tolist() == [1]  # 8 / 24 = 1/3
    assert not np.isfinite(match_marks(CASES, marks, lesions, rule="iou:0.34").lesion_score[0])


def test_wrong_tables_are_one_line():
    wrong = [
        ({"case_id": ["a", ""]}, None, "row 2 has no case_id"),
        ({"case_id": ["a"], "label": [2], "score": [1]}, None, "label 2 of case a is neither 0 nor 1"),
        (CASES, {**LESIONS, "diameter_mm": [10, -1, 10]}, "diameter_mm of case a is below 0"),
        (CASES, {**LESIONS, "weight": [1, "", 1]}, "weights of a case must be given for all"),
        (CASES, {**LESIONS, "weight": [0, 0, 1]}, "sum to more than 0"),
        (CASES, None, "marks are given without lesions"),
    ]
    for cases, lesions, says in wrong:
        with pytest.raises(TableError, match=says):
            evaluate_tables(cases, MARKS if cases is CASES else None, lesions)
    with pytest.raises(TableError, match="allowed are distance"):
        evaluate_tables(CASES, rule="foo")


def test_missing_patients_are_the_cases_themselves():
    result = evaluate_tables(
        {"case_id": ["a", "b"], "patient_id": [None, float("nan")], "label": [0, 1], "score": [0, 1]}
    )
    assert result["counts"]["n_patients"] == 2


@pytest.mark.parametrize(
    ("marks", "says"),
    [
        ({"case_id": ["z"], "x": [0], "y": [0], "z": [0], "score": [1]}, "case z is not in the table"),
        ({"case_id": ["a"], "x": [0], "y": [0], "z": [0], "score": ["high"]}, "'high' of case a"),
        ({"case_id": ["a"], "x": [0], "y": [0], "z": [0], "score": [np.inf]}, "case a is not finite"),
        ({"case_id": ["a"], "x": [0], "y": [0], "z": [0]}, "score is missing"),
    ],
)
def test_wrong_marks_are_named(marks, says):
    with pytest.raises(TableError, match=says):
        match_marks(CASES, marks, LESIONS)


def test_evaluation_of_tables():
    cases = {**CASES, "score": [0.9, 0.7, 0.6, 0.0]}
    result = evaluate_tables(cases, MARKS, LESIONS)
    assert result["case_level"]["auc"]["value"] == 1.0
    assert result["counts"]["n_positive"] == 2
    assert result["lesion_level"]["froc"]["sensitivity"][0]["value"] == pytest.approx(1 / 3)
    assert result["intervals"]["resampling_unit"] == "patient"


def test_failed_cases_keep_their_lesions_and_get_the_lowest_score():
    cases = {**CASES, "score": [0.9, None, 0.6, 0.0], "status": ["ok", "failed", "ok", "ok"]}
    result = evaluate_tables(cases, MARKS, LESIONS)
    assert result["counts"]["n_lesions"] == 3
    assert result["case_level"]["auc"]["value"] == 0.5  # a above both, b below both


def test_undefined_figures_are_null_with_a_reason():
    result = evaluate_tables({"case_id": ["a", "b"], "score": [1, 2], "label": [0, 0]})
    assert result["case_level"]["auc"]["value"] is None
    assert result["case_level"]["auc"]["reason"]
    empty = {"case_id": [], "x": [], "y": [], "z": [], "diameter_mm": []}
    result = evaluate_tables(CASES, MARKS, empty)
    assert result["lesion_level"]["cpm"]["value"] is None


def test_copies_of_a_patients_images_do_not_narrow_the_interval():
    random = np.random.default_rng(0)
    label = np.repeat([0, 1], 40)
    score = random.normal(label, 1.2)
    one = {"case_id": [str(i) for i in range(80)], "label": label, "score": score}
    four = {
        "case_id": [str(i) for i in range(320)],
        "patient_id": [str(i % 80) for i in range(320)],
        "label": np.tile(label, 4),
        "score": np.tile(score, 4),
    }
    a, b = (evaluate_tables(table)["case_level"]["auc"] for table in (one, four))
    assert a["value"] == pytest.approx(b["value"])
    assert (b["ci_high"] - b["ci_low"]) == pytest.approx(a["ci_high"] - a["ci_low"], rel=0.05)


def test_dice_and_voxel_average_precision_against_scikit_learn():
    from sklearn.metrics import average_precision_score, roc_auc_score

    random = np.random.default_rng(1)
    truth = random.random((2, 3000)) < 0.1
    probability = np.clip(random.normal(0.3 + 0.3 * truth, 0.15), 0.001, 0.999)
    counts = [PixelCounts.of(p, t) for p, t in zip(probability, truth)]
    ap, auc, _ = pooled_figures(counts, np.ones((1, 2)))[0]
    assert ap == pytest.approx(average_precision_score(truth.ravel(), probability.ravel()), abs=2e-3)
    assert auc == pytest.approx(roc_auc_score(truth.ravel(), probability.ravel()), abs=1e-3)
    assert dice_score(np.array([1, 1, 0, 0]), np.array([0, 1, 1, 0])) == 0.5


def test_accuracy_is_over_labelled_cases_and_nothing_to_find_has_no_precision():
    cases = {"case_id": list("abc"), "label": [1, 0, ""], "predicted_label": [1, 0, 1], "score": [0.9, 0.1, 0.7]}
    assert evaluate_tables(cases)["case_level"]["accuracy"]["value"] == 1.0
    empty = {"case_id": [], "x": [], "y": [], "z": []}
    result = evaluate_tables({"case_id": ["a", "b"]}, {**empty, "score": []}, {**empty, "diameter_mm": []})
    assert result["lesion_level"]["average_precision"]["value"] is None


def test_a_score_that_is_no_number_and_a_lesion_that_nothing_can_hit_are_refused():
    with pytest.raises(TableError, match="score of case a is not a number"):
        evaluate_tables({"case_id": ["a", "b"], "label": [1, 0], "score": ["nan", "0.5"]})
    marks = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "score": [1]}
    lesions = {"case_id": ["a"], "x": [0], "y": [0], "z": [0], "diameter_mm": [0]}
    with pytest.raises(TableError, match="a lesion of case a has no diameter above 0"):
        evaluate_tables({"case_id": ["a", "b"]}, marks, lesions)
