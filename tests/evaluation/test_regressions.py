"""Faults that reviewers found, each of which gave a wrong number or a useless interval without a word."""

import warnings

import numpy as np
import pytest

from medseg.errors import TableError
from medseg.evaluation import (
    Resampling,
    afroc_auc,
    auc_interval,
    bootstrap,
    cross_validated,
    delong_test,
    evaluate_tables,
    false_positive_scale,
    froc,
    froc_interval,
    match_marks,
    match_pairs,
    paired_bootstrap,
    partial_auc,
    partial_auc_weighted,
    permutation_test,
    roc_auc,
    roc_auc_weighted,
    wilson,
)
from medseg.evaluation.bootstrap import mean_weighted

POINTS = ("case_id", "x", "y", "z")


def table(names, *rows):
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


@pytest.mark.parametrize("kind", [list, np.uint8, np.int8, np.float32, object])
def test_weighted_areas_take_any_numbers(kind):
    truth, score = np.array([0, 0, 1, 1, 0, 1]), np.array([0, 30, 20, 30, 10, 40])
    given = [values.tolist() if kind is list else values.astype(kind) for values in (truth, score)]
    one = np.ones((1, 6))
    assert roc_auc_weighted(*given, one)[0] == roc_auc(truth, score)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ranges in ({"fpr_range": (0, 0.5)}, {"tpr_range": (0.5, 1)}):
            assert partial_auc_weighted(*given, one, **ranges)[0] == partial_auc(truth, score, **ranges).mcclish
    data = dict(zip(("y_true", "y_score"), given))
    assert bootstrap(roc_auc_weighted, data, unit=None, vectorized=True, strata=truth).value == roc_auc(truth, score)
    assert cross_validated(roc_auc_weighted, [data, data], n_replicates=50).value == roc_auc(truth, score)


def test_a_variance_of_rounding_error_does_not_make_a_point():
    """Ten patients, two of three lesions found in each: the bootstrap does not vary."""
    lesions = table((*POINTS, "diameter_mm"), *((str(i), 40 * k, 0, 0, 10) for i in range(10) for k in range(3)))
    marks = table((*POINTS, "score"), *((str(i), 40 * k, 0, 0, 0.5) for i in range(10) for k in range(2)))
    interval = froc_interval(match_marks({"case_id": [str(i) for i in range(10)]}, marks, lesions), [1.0])[0]
    assert (interval.low, interval.high) == pytest.approx(wilson(20 / 3, 10))


def test_one_patient_with_all_lesions_is_one_observation():
    names = [str(i) for i in range(51)]
    lesions = table((*POINTS, "diameter_mm"), *(("0", 40 * k, 0, 0, 10) for k in range(10)))
    random = np.random.default_rng(0)
    rows = [("0", 40 * k, 0, 0, random.normal()) for k in range(5)]
    rows += [(name, 999, 0, 0, random.normal()) for name in names for _ in range(2)]
    interval = froc_interval(match_marks({"case_id": names}, table((*POINTS, "score"), *rows), lesions), [1.0])[0]
    assert interval.high - interval.low > 0.7


def test_a_patient_with_images_of_both_kinds_is_drawn_like_the_others():
    """One patient with 20 missed positive images: whether one of its images is negative must not matter."""
    label = [1] * 10 + [0] * 10 + [1] * 20 + [0]
    score = [1.0] * 9 + [0.0] + [0.0] * 10 + [0.0] * 20 + [0.0]
    patients = [f"p{i}" for i in range(20)] + ["m"] * 20
    widths = []
    for last in ("m", "p10"):
        cases = {
            "case_id": [str(i) for i in range(41)],
            "patient_id": [*patients, last],
            "label": label,
            "score": score,
        }
        result = evaluate_tables(cases, threshold=0.5)
        figure = result["at_operating_point"]["case_level"]["sensitivity"]
        widths.append(figure["ci_high"] - figure["ci_low"])
    assert widths[0] == pytest.approx(widths[1], rel=0.1)
    assert widths[0] > 0.5


def test_the_acceleration_of_a_small_stratum_is_its_own_jackknifes():
    random = np.random.default_rng(0)
    truth = np.repeat([True, False], [20, 3000])
    score = np.concatenate([random.choice([-1.0, 3.0], 20, p=[0.2, 0.8]), random.normal(size=3000)])
    resampling = Resampling.of(None, n_cases=3020, strata=truth, n_replicates=10)
    found = float(resampling.acceleration(lambda w: roc_auc_weighted(truth, score, w))[0])
    cubes = squares = 0.0
    for kind in (True, False):
        members = np.flatnonzero(truth == kind)
        out = np.array([roc_auc(np.delete(truth, i), np.delete(score, i)) for i in members[:300]])
        n = len(members)
        influence = (n - 1) * (out.mean() - out) / n
        cubes, squares = cubes + (influence**3).mean() * n, squares + (influence**2).mean() * n
    assert found == pytest.approx(cubes / (6 * squares**1.5), rel=0.1)


def test_classes_of_marks_matter_only_when_asked():
    """No mark of class A at all: its lesion is hit by marks of class B, whose false marks must count too."""
    lesions = table((*POINTS, "diameter_mm", "class"), ("a", 0, 0, 0, 10, "A"), ("b", 0, 0, 0, 10, "B"))
    rows = [("a", 0, 0, 0, 0.5, "B")] + [("b", 90, 0, 0, 0.9, "B")] * 5
    marks = table((*POINTS, "score", "class"), *rows)
    by_class = evaluate_tables({"case_id": ["a", "b"]}, marks, lesions)["lesion_level"]["by_class"]
    assert by_class["A"]["froc"]["sensitivity"][0]["value"] == 0.0
    from medseg.evaluation.settings import EvaluationSettings

    aware = evaluate_tables({"case_id": ["a", "b"]}, marks, lesions, settings=EvaluationSettings(class_aware=True))
    assert aware["lesion_level"]["by_class"]["A"]["cpm"]["value"] == 0.0


def test_a_difference_without_variation_has_no_interval():
    a = np.ones(10)
    result = paired_bootstrap(mean_weighted(a), mean_weighted(a), Resampling.of(None, n_cases=10))
    assert np.isnan(result.low)
    test = delong_test([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6], [1.0] * 6)
    assert np.isnan(test.ci_low)
    assert np.isnan(test.p_value)


def test_leaving_out_lesions_does_not_make_a_case_normal():
    lesions = table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 4), ("b", 0, 0, 0, 40))
    marks = table((*POINTS, "score"), ("a", 0, 0, 0, 0.5), ("b", 90, 0, 0, 0.9))
    small = match_marks({"case_id": ["a", "b"]}, marks, lesions).with_lesions(np.array([True, False]))
    assert np.isnan(afroc_auc(small))  # there is no lesion-free case
    assert small.positive.tolist() == [True, True]


def test_the_method_of_an_interval_is_the_one_used():
    truth, score = np.tile([False, True], 10), np.arange(20) / 2.0
    interval = auc_interval(truth, score, unit=np.repeat(np.arange(10), 2))
    assert interval.method == "Newcombe score"  # Obuchowski's variance is 0 here
    one = auc_interval([1] + [0] * 10, np.arange(11.0)[::-1])
    assert one.method == "Newcombe score"
    assert 0.3 < one.low < 0.5


def test_undefined_permutations_count_as_extreme():
    def both(weights):
        share = weights[:, :3].sum(axis=1)
        return np.where((share == 3) | (share == 0), share, np.nan)

    assert permutation_test(both, None, n_cases=3, n_permutations=200)[1] == 1.0


def test_low_scored_marks_do_not_change_the_scale():
    names = {"case_id": ["a", "b"]}
    lesions = table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 10))
    rows = [("a", 0, 0, 0, 0.7), ("b", 0, 0, 0, 0.9), ("b", 9, 0, 0, 0.5)]
    few = match_marks(names, table((*POINTS, "score"), *rows), lesions)
    many = match_marks(names, table((*POINTS, "score"), *rows, *[("b", 9, 9, k, 0.01) for k in range(50)]), lesions)
    assert false_positive_scale(few)[0].tolist() == false_positive_scale(many)[0].tolist() == [-1.0]
    assert false_positive_scale(few)[1].tolist() == [-0.5, -1.5]
    assert froc(few.with_scores(*false_positive_scale(few))).cpm == froc(few).cpm


@pytest.mark.parametrize(
    ("cases", "says"),
    [
        ({"label": [0, 1], "score": [1, 2]}, "case a has the label 0 and a lesion"),
        ({"status": ["ok", "crashed"]}, "status 'crashed' of case b: allowed are ok, failed, out_of_scope"),
        ({"label": [-1, 1], "predicted_label": [0, 1]}, "label -1 of case a is no class"),
        ({"label": [0.5, 1], "predicted_label": [0, 1]}, "label 0.5 of case a is no class"),
        ({"patient_id": ["", "a"]}, "case a has no patient_id, and a patient is called a"),
        ({"localised": ["maybe", "1"]}, "localised 'maybe' of case a"),
    ],
)
def test_contradictions_are_refused(cases, says):
    lesions = table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 10))
    with pytest.raises(TableError, match=says):
        evaluate_tables({"case_id": ["a", "b"], **cases}, None, lesions)


def test_missing_patients_of_any_kind_are_the_cases_themselves():
    for missing in (np.float32("nan"), None, float("nan"), ""):
        result = evaluate_tables(
            {"case_id": list("abc"), "patient_id": [missing] * 3, "label": [0, 1, 1], "score": [0, 1, 2]}
        )
        assert result["counts"]["n_patients"] == 3
    with pytest.raises(TableError, match="case number 1 has no unit"):
        auc_interval([0, 1, 1], [0, 1, 2], unit=["p", None, "q"])


def test_a_positive_case_without_a_place_is_not_lesion_free():
    lesions = table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 10))
    marks = table((*POINTS, "score"), ("a", 0, 0, 0, 0.5), ("b", 0, 0, 0, 0.9), ("c", 0, 0, 0, 0.1))
    result = evaluate_tables({"case_id": list("abc"), "label": [1, 1, 0]}, marks, lesions)
    assert result["counts"]["n_not_localised"] == 1
    assert result["lesion_level"]["wafroc_auc"]["value"] == 1.0  # against c alone


def test_a_failed_case_lies_below_scores_of_any_size():
    cases = {"case_id": list("abc"), "label": [1, 0, 1], "score": [3e16, 1e16, ""], "status": ["ok", "ok", "failed"]}
    assert evaluate_tables(cases)["case_level"]["auc"]["value"] == 0.5


BOXES = ("case_id", "x_min", "x_max", "y_min", "y_max")


def test_tables_of_boxes_alone_will_do():
    lesions = table(BOXES, ("a", 10, 20, 10, 20), ("b", 0, 4, 0, 4))
    marks = table((*BOXES, "score"), ("a", 12, 18, 12, 18, 0.9), ("b", 50, 60, 50, 60, 0.8))
    for rule in ("inside", "iou:0.3"):
        matches = match_marks({"case_id": ["a", "b", "c"]}, marks, lesions, rule=rule)
        assert matches.lesion_score.tolist() == [0.9, -np.inf]
        assert matches.false_score.tolist() == [0.8]
    with pytest.raises(TableError, match="no diameter above 0"):
        match_marks({"case_id": ["a", "b"]}, marks, lesions)


@pytest.mark.parametrize("ends", [(0, 0), (4, 0), ("", "")])
def test_a_box_that_nothing_can_hit_is_refused(ends):
    lesions = table((*BOXES, "x", "y", "z", "diameter_mm", "z_min", "z_max"), ("a", 0, 4, 0, 4, 2, 2, 0, 4, *ends))
    marks = table((*POINTS, "score"), ("a", 2, 2, 0, 0.5))
    with pytest.raises(TableError, match="a lesion of case a has no box along z"):
        match_marks({"case_id": ["a"]}, marks, lesions, rule="inside")


def test_pairs_that_cannot_be_are_refused():
    cases, lesions = {"case_id": ["a", "b"]}, table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 9))
    marks = table((*POINTS, "score"), ("b", 0, 0, 0, 0.5))
    for pairs, says in (([(0, 0)], "two cases"), ([(1, 0)], "no mark in row 1"), ([(0, -1)], "no lesion in row -1")):
        with pytest.raises(TableError, match=says):
            match_pairs(cases, marks, lesions, pairs)


def test_two_ranges_at_once_are_refused():
    with pytest.raises(TableError, match="two_way_partial_auc"):
        partial_auc([0, 1], [0, 1], fpr_range=(0, 0.2), tpr_range=(0.8, 1))


def test_boxes_of_two_and_of_three_dimensions_do_not_meet_silently():
    deep = (*BOXES, "z_min", "z_max")
    flat = table((*BOXES, "score"), ("a", 0, 4, 0, 4, 0.9))
    lesions = table(deep, ("a", 0, 4, 0, 4, 3, 9))
    with pytest.raises(TableError, match="must both have z_min and z_max"):
        match_marks({"case_id": ["a"]}, flat, lesions, rule="iou:0.1")


def test_localised_0_says_that_there_are_lesions():
    lesions = table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 10))
    marks = table((*POINTS, "score"), ("a", 0, 0, 0, 0.5), ("b", 0, 0, 0, 0.9), ("c", 0, 0, 0, 0.1))
    result = evaluate_tables({"case_id": list("abc"), "localised": [1, 0, 1]}, marks, lesions)
    assert (result["counts"]["n_positive"], result["counts"]["n_false_marks"]) == (2, 1)
    assert result["case_level"]["auc"]["value"] == 1.0
    with pytest.raises(TableError, match="label 0 and localised 0"):
        evaluate_tables({"case_id": list("abc"), "label": [1, 0, 0], "localised": [1, 0, 1]}, marks, lesions)


def test_no_place_of_any_lesion_leaves_the_case_level():
    nothing = table((*POINTS, "diameter_mm"))
    marks = table((*POINTS, "score"), ("a", 0, 0, 0, 0.5))
    result = evaluate_tables({"case_id": ["a", "b"], "label": [1, 1]}, marks, nothing)
    assert "lesion_level" not in result
    assert result["counts"]["n_not_localised"] == 2


def test_points_in_two_dimensions_need_no_z():
    lesions = table(("case_id", "x", "y", "diameter_px"), ("a", 5, 5, 4))
    marks = table(("case_id", "x", "y", "score"), ("a", 6, 5, 0.5), ("a", 8, 5, 0.4))
    assert match_marks({"case_id": ["a"]}, marks, lesions).false_score.tolist() == [0.4]


def test_pairs_and_units_of_odd_kinds():
    cases, lesions = {"case_id": ["a"]}, table((*POINTS, "diameter_mm"), ("a", 0, 0, 0, 9))
    marks = table((*POINTS, "score"), ("a", 0, 0, 0, 0.5))
    for pairs in ([(0,)], ["ab"], [(0.5, 0)]):
        with pytest.raises(TableError, match="were expected"):
            match_pairs(cases, marks, lesions, pairs)
    assert auc_interval([0, 1, 1], [0, 1, 2], unit=[1, "p", "q"]).n_units == 3
