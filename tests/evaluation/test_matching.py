"""Matching rules, assignment, the table of matches, and the curves that follow: hand counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import TableError
from medseg.evaluation import (
    afroc_auc,
    average_precision,
    evaluate_tables,
    froc,
    froc_interval,
    lroc_auc,
    match_marks,
    match_pairs,
    match_readers,
    precision_recall,
    read_matches,
    wafroc_auc,
)
from medseg.evaluation.froc import LesionLevels, sensitivity_at


def table(rows, names):
    return {name: [row[number] for row in rows] for number, name in enumerate(names)}


def lesions_of(*rows, names=("case_id", "x", "y", "z", "diameter_mm")):
    return table(rows, names)


def marks_of(*rows, names=("case_id", "x", "y", "z", "score")):
    return table(rows, names)


CASES = {"case_id": ["a", "b"]}


def test_one_to_one_gives_each_mark_one_lesion():
    """Two lesions at 0 and 4, radius 5: mark p at 1 hits both, mark q at 3 hits both."""
    lesions = lesions_of(("a", 0, 0, 0, 10), ("a", 4, 0, 0, 10))
    marks = marks_of(("a", 1, 0, 0, 0.9), ("a", 3, 0, 0, 0.4))
    best = match_marks(CASES, marks, lesions)
    assert best.lesion_score.tolist() == [0.9, 0.9]  # one mark for both
    assert best.n_neither == 1
    apart = match_marks(CASES, marks, lesions, assignment="one_to_one")
    assert apart.lesion_score.tolist() == [0.9, 0.4]
    assert (apart.n_neither, len(apart.false_score)) == (0, 0)


def test_one_to_one_prefers_agreement_to_score():
    lesions = lesions_of(("a", 0, 0, 0, 10))
    marks = marks_of(("a", 4, 0, 0, 0.9), ("a", 1, 0, 0, 0.2))
    assert match_marks(CASES, marks, lesions).lesion_score.tolist() == [0.9]
    assert match_marks(CASES, marks, lesions, assignment="one_to_one").lesion_score.tolist() == [0.2]


@pytest.mark.parametrize("assignment", ["best", "one_to_one"])
def test_duplicates_are_neither_or_false(assignment):
    lesions = lesions_of(("a", 0, 0, 0, 10))
    marks = marks_of(("a", 0, 0, 0, 0.9), ("a", 1, 0, 0, 0.5), ("b", 0, 0, 0, 0.3))
    matches = match_marks(CASES, marks, lesions, assignment=assignment)
    assert (matches.false_score.tolist(), matches.n_neither) == ([0.3], 1)
    matches = match_marks(CASES, marks, lesions, assignment=assignment, duplicates="false")
    assert (sorted(matches.false_score), matches.n_neither) == ([0.3, 0.5], 0)


def test_marks_on_ignored_regions_are_neither_even_where_duplicates_are_false():
    lesions = lesions_of(
        ("a", 0, 0, 0, 10, ""), ("a", 0, 0, 0, 30, "1"), names=("case_id", "x", "y", "z", "diameter_mm", "ignore")
    )
    marks = marks_of(("a", 1, 0, 0, 0.9), ("a", 2, 0, 0, 0.6), ("a", 12, 0, 0, 0.5), ("a", 40, 0, 0, 0.4))
    matches = match_marks(CASES, marks, lesions, duplicates="false")
    assert matches.lesion_score.tolist() == [0.9]  # the lesion that counts matches first
    assert matches.false_score.tolist() == [0.4]
    assert matches.n_neither == 2


BOXES = ("case_id", "x", "y", "z", "x_min", "x_max", "y_min", "y_max", "z_min", "z_max")


def test_overlap_of_boxes_at_the_threshold_is_a_hit():
    lesions = table([("a", 0, 0, 0, 0, 4, 0, 4, 0, 1, 4)], (*BOXES, "diameter_mm"))
    marks = table([("a", 0, 0, 0, 2, 6, 0, 4, 0, 1, 0.7)], (*BOXES, "score"))
    for rule, hit in (("iou:0.33", True), ("iou:0.34", False), ("ior:0.5", True), ("ior:0.51", False)):
        assert np.isfinite(match_marks(CASES, marks, lesions, rule=rule).lesion_score[0]) == hit, rule
    apart = table([("a", 0, 0, 0, 4, 6, 0, 4, 0, 1, 0.7)], (*BOXES, "score"))  # half-open: they only touch
    assert not np.isfinite(match_marks(CASES, apart, lesions, rule="iou:0").lesion_score[0])


def test_ignored_regions_take_the_share_of_the_mark():
    """A small mark in a large ignored region: intersection over union is small, but all of the mark lies in it."""
    lesions = table([("a", 0, 0, 0, 0, 100, 0, 100, 0, 1, 4, 1)], (*BOXES, "diameter_mm", "ignore"))
    marks = table([("a", 0, 0, 0, 2, 6, 0, 4, 0, 1, 0.7)], (*BOXES, "score"))
    assert match_marks(CASES, marks, lesions, rule="iou:0.5").n_neither == 1


def test_classes():
    names = ("case_id", "x", "y", "z", "diameter_mm", "class")
    lesions = lesions_of(("a", 0, 0, 0, 10, "cyst"), ("a", 50, 0, 0, 10, "nodule"), names=names)
    marks = marks_of(
        ("a", 0, 0, 0, 0.9, "nodule"),
        ("a", 50, 0, 0, 0.8, "nodule"),
        names=("case_id", "x", "y", "z", "score", "class"),
    )
    assert match_marks(CASES, marks, lesions).lesion_score.tolist() == [0.9, 0.8]
    aware = match_marks(CASES, marks, lesions, class_aware=True)
    assert aware.lesion_score.tolist() == [-np.inf, 0.8]
    assert aware.false_class.tolist() == ["nodule"]
    assert aware.of_class("cyst").n_lesions == 1
    assert len(aware.of_class("cyst").false_score) == 0
    marks["class"] = ["mass", "mass"]
    with pytest.raises(TableError, match="no mark has the class of any lesion"):
        match_marks(CASES, marks, lesions, class_aware=True)


def test_readers_are_matched_apart():
    names = ("case_id", "x", "y", "z", "score", "reader", "modality")
    marks = marks_of(
        ("a", 0, 0, 0, 0.9, "r1", "CT"), ("b", 0, 0, 0, 0.8, "r1", "CT"), ("a", 9, 0, 0, 0.7, "r2", "CT"), names=names
    )
    found = match_readers(CASES, marks, lesions_of(("a", 0, 0, 0, 10)))
    assert set(found) == {("CT", "r1"), ("CT", "r2")}
    assert found["CT", "r1"].lesion_score.tolist() == [0.9]
    assert found["CT", "r2"].lesion_score.tolist() == [-np.inf]


def test_a_mark_on_the_boundary_and_overlapping_lesions():
    """Distance 5 of a diameter of 10 is no hit; a mark in both of two lesions is a hit of both."""
    lesions = lesions_of(("a", 0, 0, 0, 10), ("a", 6, 0, 0, 10))
    matches = match_marks(CASES, marks_of(("a", 0, 5, 0, 0.9), ("a", 3, 0, 0, 0.8)), lesions)
    assert matches.lesion_score.tolist() == [0.8, 0.8]
    assert matches.false_score.tolist() == [0.9]


@st.composite
def studies(draw):
    n = draw(st.integers(2, 8))
    lesions = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, 3)), max_size=12, unique=True))
    marks = draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, 5), st.integers(1, 6)), max_size=25))
    cases = {"case_id": [str(i) for i in range(n)], "patient_id": [str(i // 2) for i in range(n)]}
    return (
        cases,
        marks_of(*((str(c), 20 * x, 0, 0, s / 8) for c, x, s in marks)),
        lesions_of(*((str(c), 20 * x, 0, 0, 10) for c, x in lesions)),
    )


@given(studies())
def test_curves_by_counting_at_every_threshold(study):
    matches = match_marks(*study)
    curve = froc(matches)
    for fp, sensitivity, threshold in zip(curve.fp_per_case, curve.sensitivity, curve.threshold):
        assert fp == (matches.false_score >= threshold).sum() / matches.n_cases
        if matches.n_lesions:
            assert sensitivity == (matches.lesion_score >= threshold).sum() / matches.n_lesions
    if matches.n_lesions:
        corners = LesionLevels(matches).corners(np.ones((1, matches.n_cases)))
        rates = np.array([0, 0.125, 0.3, 0.5, 1, 2, 8])
        assert sensitivity_at(*corners, rates)[0] == pytest.approx(
            [curve.sensitivity_at(rate) for rate in rates], abs=1e-12
        )
        assert average_precision(matches) == pytest.approx(slow_precision(matches), abs=1e-12)


def slow_precision(matches):
    total = before = 0.0
    for threshold in np.unique(np.concatenate([matches.lesion_score, matches.false_score]))[::-1]:
        if np.isfinite(threshold):
            hits, false = (matches.lesion_score >= threshold).sum(), (matches.false_score >= threshold).sum()
            total += (hits - before) * hits / (hits + false)
            before = hits
    return total / matches.n_lesions


@given(studies())
def test_alternative_curves_by_comparing_every_pair(study):
    matches = match_marks(*study)
    highest = matches.highest_false
    for curve, over in (("afroc", ~matches.positive), ("afroc1", np.ones(matches.n_cases, bool))):
        value, weighted = afroc_auc(matches, curve=curve), afroc_auc(matches, curve=f"w{curve}")
        if not matches.n_lesions or not over.any():
            assert np.isnan(value)
            assert np.isnan(weighted)
            continue
        lesion = matches.lesion_score[:, None]
        psi = np.where(lesion > highest[over], 1.0, np.where(lesion == highest[over], 0.5, 0.0)).mean(axis=1)
        assert value == pytest.approx(psi.mean())
        assert weighted == pytest.approx((psi * matches.lesion_weight).sum() / matches.positive.sum())


@given(studies())
def test_lroc_by_comparing_every_pair(study):
    matches = match_marks(*study)
    positive, true, false = matches.positive, matches.highest_true, matches.highest_false
    value = lroc_auc(matches)
    if positive.all() or not positive.any():
        assert np.isnan(value)
        return
    marked = np.isfinite(true)
    right = np.where(marked & (true > false), 1.0, np.where(marked & (true == false), 0.5, 0.0))
    won = [
        right[i] * (1.0 if true[i] > false[j] else 0.5 if true[i] == false[j] else 0.0)
        for i in np.flatnonzero(positive)
        for j in np.flatnonzero(~positive)
    ]
    assert value == pytest.approx(np.mean(won))


@given(studies())
def test_case_order_monotone_scores_and_copies_change_nothing(study):
    cases, marks, lesions = study
    matches = match_marks(cases, marks, lesions)
    if not matches.n_lesions:
        return
    figures = [lambda m: froc(m).cpm, average_precision, wafroc_auc, lroc_auc]
    turned = {name: values[::-1] for name, values in cases.items()}
    louder = {**marks, "score": [np.exp(3 * s) for s in marks["score"]]}
    twice = {name: values + [f"{v}'" for v in values] for name, values in cases.items()}
    again = [
        {name: values + ([f"{v}'" for v in values] if name == "case_id" else values) for name, values in part.items()}
        for part in (marks, lesions)
    ]
    for other in (match_marks(turned, marks, lesions), match_marks(cases, louder, lesions), match_marks(twice, *again)):
        for figure in figures:
            assert figure(other) == pytest.approx(figure(matches), abs=1e-12, nan_ok=True)


@given(studies())
def test_the_table_of_matches_makes_the_same_matches_again(tmp_path_factory, study):
    path = tmp_path_factory.mktemp("matches") / "matches.csv"
    matches = match_marks(*study)
    matches.write(path)
    again = read_matches(path)
    for name in matches.__slots__:
        assert np.array_equal(getattr(again, name), getattr(matches, name)), name


def test_a_damaged_table_of_matches_is_named(tmp_path):
    path = tmp_path / "matches.csv"
    match_marks(CASES, marks_of(("a", 0, 0, 0, 0.5)), lesions_of(("a", 0, 0, 0, 9))).write(path)
    text = path.read_text()
    for old, new, says in (
        ("lesion,a,,0.5", "lesson,a,,0.5", "kind 'lesson' is none"),
        ("lesion,a,,0.5", "lesion,q,,0.5", "case q of a lesion row"),
        ("lesion,a,,0.5", "lesion,a,,high", "is no number"),
    ):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(TableError, match=says):
            read_matches(path)


def test_parts_of_the_matches():
    matches = match_marks(
        {"case_id": ["a", "b", "c"]},
        marks_of(("a", 0, 0, 0, 0.9), ("b", 5, 0, 0, 0.8), ("c", 0, 0, 0, 0.7), ("c", 9, 0, 0, 0.2)),
        lesions_of(("a", 0, 0, 0, 10), ("a", 50, 0, 0, 4), ("c", 0, 0, 0, 4)),
    )
    some = matches.of_cases(np.array([False, True, True]))
    assert (some.case_id.tolist(), some.lesion_case.tolist(), some.lesion_score.tolist()) == (["b", "c"], [1], [0.7])
    assert (some.false_case.tolist(), some.false_score.tolist()) == ([0, 1], [0.8, 0.2])
    small = matches.with_lesions(matches.lesion_diameter < 5)
    assert (small.n_lesions, small.lesion_weight.tolist()) == (2, [1.0, 1.0])  # alone in their cases now
    turned = matches.reordered(np.array([2, 0, 1]))
    assert turned.case_id.tolist() == ["c", "a", "b"]
    assert froc(turned).sensitivity.tolist() == froc(matches).sensitivity.tolist()
    assert turned.lesion_score.tolist() == [0.7, 0.9, -np.inf]
    both = matches.followed_by(some)
    assert (both.n_cases, both.n_lesions, len(both.false_score)) == (5, 4, 4)


def test_no_lesions_no_marks_one_case_and_no_lesion_free_case():
    none = lesions_of()
    matches = match_marks(CASES, marks_of(("a", 0, 0, 0, 0.5)), none)
    assert np.isnan(froc(matches).sensitivity).all()
    assert np.isnan(average_precision(matches))
    assert all(np.isnan(interval.value) for interval in froc_interval(matches, n_replicates=50))
    missed = match_marks(CASES, None, lesions_of(("a", 0, 0, 0, 10)))
    assert froc(missed).sensitivity.tolist() == [0.0]
    assert (average_precision(missed), wafroc_auc(missed), lroc_auc(missed)) == (0.0, 0.5, 0.0)
    one = match_marks({"case_id": ["a"]}, marks_of(("a", 0, 0, 0, 0.5)), lesions_of(("a", 0, 0, 0, 10)))
    assert froc(one).cpm == 1.0
    assert np.isnan(wafroc_auc(one))  # no lesion-free case
    assert afroc_auc(one, curve="wafroc1") == 1.0
    result = evaluate_tables({"case_id": ["a"]}, marks_of(("a", 0, 0, 0, 0.5)), lesions_of(("a", 0, 0, 0, 10)))
    assert result["case_level"]["auc"]["value"] is None
    assert result["lesion_level"]["wafroc_auc"]["reason"]
    assert result["lesion_level"]["cpm"]["value"] == 1.0


def test_all_lesions_found_still_has_an_interval_of_sensitivity():
    cases = {"case_id": [str(i) for i in range(10)]}
    lesions = lesions_of(*((str(i), 0, 0, 0, 10) for i in range(8)))
    marks = marks_of(*((str(i), 0, 0, 0, 0.9) for i in range(8)))
    interval = froc_interval(match_marks(cases, marks, lesions), [1.0], n_replicates=100)[0]
    assert (interval.value, interval.high) == (1.0, 1.0)
    assert interval.low == pytest.approx(1 / (1 + 1.959963984540054**2 / 8))  # Wilson, 8 of 8


def test_four_copies_of_every_image_leave_the_interval_as_wide():
    random = np.random.default_rng(0)
    n = 40
    lesions = [(str(i), 0, 0, 0, 10) for i in range(n // 2)]
    marks = [(str(i), 30 * int(random.random() < 0.5), 0, 0, float(random.random())) for i in range(n) for _ in "ab"]
    names = [str(i) for i in range(n)]
    one = match_marks({"case_id": names}, marks_of(*marks), lesions_of(*lesions))

    def four_times(rows):
        return [(f"{row[0]}-{copy}", *row[1:]) for copy in range(4) for row in rows]

    cases = {"case_id": [f"{i}-{copy}" for copy in range(4) for i in names], "patient_id": names * 4}
    four = match_marks(cases, marks_of(*four_times(marks)), lesions_of(*four_times(lesions)))
    a, b = (froc_interval(matches, [0.5], n_replicates=1000)[0] for matches in (one, four))
    assert b.high - b.low == pytest.approx(a.high - a.low, rel=0.05)
    assert b.n_units == a.n_units == 20


def test_precision_and_recall_by_hand():
    matches = match_marks(
        CASES,
        marks_of(("a", 0, 0, 0, 0.9), ("b", 0, 0, 0, 0.8), ("a", 50, 0, 0, 0.7)),
        lesions_of(("a", 0, 0, 0, 10), ("a", 50, 0, 0, 10)),
    )
    precision, recall = precision_recall(matches)
    assert (precision.tolist(), recall.tolist()) == ([1.0, pytest.approx(2 / 3)], [0.5, 1.0])


def test_wrong_options():
    with pytest.raises(TableError, match="assignment is best or one_to_one"):
        match_marks(CASES, None, lesions_of(), assignment="greedy")
    with pytest.raises(TableError, match="allowed are distance"):
        match_marks(CASES, None, lesions_of(), rule="near")
    with pytest.raises(TableError, match="needs the columns x_min"):
        match_marks(CASES, marks_of(("a", 0, 0, 0, 0.5)), lesions_of(("a", 0, 0, 0, 9)), rule="ior:0.1")
    assert match_pairs(CASES, marks_of(("a", 0, 0, 0, 0.5)), lesions_of(("a", 9, 0, 0, 9)), [(0, 0)]).n_lesions == 1
