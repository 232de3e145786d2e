"""ROC, partial areas, DeLong, Obuchowski: against other libraries, slow definitions and each other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation import (
    auc_interval,
    auc_score_interval,
    clustered_auc,
    clustered_auc_test,
    delong_interval,
    delong_test,
    delong_variance,
    partial_auc,
    partial_auc_weighted,
    roc_auc,
    roc_auc_weighted,
    two_way_partial_auc,
)

pytestmark = pytest.mark.filterwarnings("ignore::medseg.errors.EvaluationWarning")


@st.composite
def ratings(draw, most=40):
    n = draw(st.integers(4, most))
    truth = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    truth[:2] = True, False
    levels = draw(st.integers(2, 12))
    return truth, np.array(draw(st.lists(st.integers(0, levels), min_size=n, max_size=n)), float)


def pairs_won(truth, score):
    """The definition: share of pairs in which the diseased case scores higher, ties counting half."""
    difference = score[truth][:, None] - score[~truth][None]
    return float(((difference > 0) + (difference == 0) / 2).mean())


@given(ratings())
def test_auc_is_the_share_of_pairs_won_and_scikit_learns(data):
    from sklearn.metrics import roc_auc_score

    truth, score = data
    assert roc_auc(truth, score) == pytest.approx(pairs_won(truth, score), abs=1e-12)
    assert roc_auc(truth, score) == pytest.approx(roc_auc_score(truth, score), abs=1e-12)


@given(ratings(), st.floats(0.01, 1))
def test_partial_area_against_scikit_learn(data, high):
    from sklearn.metrics import roc_auc_score

    truth, score = data
    if high < 1:
        ours = partial_auc(truth, score, fpr_range=(0, high)).mcclish
        assert ours == pytest.approx(roc_auc_score(truth, score, max_fpr=high), abs=1e-9)


@given(ratings(), st.floats(0, 0.9), st.floats(0.05, 1))
def test_adjacent_ranges_add_up(data, low, width):
    truth, score = data
    high = min(1.0, low + width)
    middle = (low + high) / 2
    for axis in ("fpr_range", "tpr_range"):
        whole, first, second = (
            partial_auc(truth, score, **{axis: ends}).raw for ends in ((low, high), (low, middle), (middle, high))
        )
        assert whole == pytest.approx(first + second, abs=1e-12)
    assert partial_auc(truth, score, fpr_range=(0, 1)).raw == pytest.approx(roc_auc(truth, score), abs=1e-12)
    assert partial_auc(truth, score, tpr_range=(0, 1)).raw == pytest.approx(roc_auc(truth, score), abs=1e-12)


@given(ratings(), st.sampled_from([np.exp, np.arctan, lambda x: 3 * x - 7, lambda x: x**3]))
def test_monotone_transforms_case_order_and_copies_change_nothing(data, transform):
    truth, score = data
    order = np.random.default_rng(0).permutation(len(score))
    for other in (transform(score), np.float64(score)):
        assert partial_auc(truth, other).raw == pytest.approx(partial_auc(truth, score).raw, abs=1e-12)
    assert partial_auc(truth[order], score[order]).raw == pytest.approx(partial_auc(truth, score).raw, abs=1e-12)
    assert partial_auc(np.tile(truth, 3), np.tile(score, 3)).raw == pytest.approx(
        partial_auc(truth, score).raw, abs=1e-12
    )


@given(ratings())
def test_mirrored_labels_mirror_the_area(data):
    truth, score = data
    assert roc_auc(~truth, score) == pytest.approx(1 - roc_auc(truth, score), abs=1e-12)
    assert roc_auc(~truth, -score) == pytest.approx(roc_auc(truth, score), abs=1e-12)
    # over sensitivities the curve of the other kind, with scores turned
    mirrored = partial_auc(~truth, -score, fpr_range=(0.1, 0.6)).raw
    assert partial_auc(truth, score, tpr_range=(0.4, 0.9)).raw == pytest.approx(mirrored, abs=1e-12)


@given(ratings(), st.integers(0, 2**31))
def test_weights_are_copies(data, seed):
    truth, score = data
    weights = np.random.default_rng(seed).integers(0, 4, len(score))
    weights[:2] = 1
    drawn = np.repeat(np.arange(len(score)), weights)
    assert roc_auc_weighted(truth, score, weights[None])[0] == pytest.approx(roc_auc(truth[drawn], score[drawn]))
    for ranges in ({"fpr_range": (0.1, 0.4)}, {"tpr_range": (0.3, 0.9)}):
        ours = partial_auc_weighted(truth, score, weights[None], **ranges)[0]
        assert ours == pytest.approx(partial_auc(truth[drawn], score[drawn], **ranges).mcclish)


@given(ratings(), st.floats(0.05, 1), st.floats(0, 0.95))
@settings(max_examples=50)
def test_two_way_area_by_integration(data, max_fpr, min_tpr):
    truth, score = data
    from medseg.evaluation import roc_curve

    curve = roc_curve(truth, score)
    # exact: corners of the curve, the crossing of the floor, and the limit
    x = np.linspace(0, max_fpr, 40001)
    middle = (x[1:] + x[:-1]) / 2
    y = np.interp(middle, curve.fpr, curve.tpr)
    area = float(np.sum(np.maximum(y - min_tpr, 0) * np.diff(x)))
    value = two_way_partial_auc(truth, score, max_fpr=max_fpr, min_tpr=min_tpr)
    assert value == pytest.approx(area / (max_fpr * (1 - min_tpr)), abs=2e-3)


def test_two_way_area_by_hand():
    # curve (0, 0) (0, .5) (.5, .5) (.5, 1) (1, 1); within fpr <= 1, tpr >= .5 the area is .5 x .5 of .5
    assert two_way_partial_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], max_fpr=1, min_tpr=0.5) == pytest.approx(0.5)


def test_below_chance_is_reported_and_not_turned():
    result = partial_auc([1, 1, 1, 0, 0, 0], [1, 2, 3, 4, 5, 6], fpr_range=(0, 0.5))
    assert result.raw == 0
    assert result.below_chance
    assert result.mcclish < 0.5


def test_few_cases_in_the_range_are_said():
    truth, score = np.repeat([0, 1], 95), np.arange(190.0)
    with pytest.warns(EvaluationWarning, match="only 9 case"):
        assert partial_auc(truth, score).n_in_range == 9
    import warnings

    truth, score = np.repeat([0, 1], 100), np.arange(200.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert partial_auc(truth, score).n_in_range == 10


def test_jiangs_index_is_the_mean_specificity():
    truth, score = np.array([0, 0, 0, 0, 1, 1, 1, 1]), np.array([1, 2, 5, 3, 4, 6, 7, 8.0])
    result = partial_auc(truth, score, tpr_range=(0.75, 1))
    # the last quarter of sensitivity is the case rated 4, above three of four
    assert result.index == pytest.approx(0.75)


@given(ratings())
def test_delong_variance_by_definition(data):
    truth, score = data
    if truth.sum() < 2 or (~truth).sum() < 2:
        return
    psi = (score[truth][:, None] > score[~truth][None]) + (score[truth][:, None] == score[~truth][None]) / 2
    variance = psi.mean(axis=1).var(ddof=1) / truth.sum() + psi.mean(axis=0).var(ddof=1) / (~truth).sum()
    assert delong_variance(truth, score) == pytest.approx(variance, abs=1e-12)


def test_obuchowski_is_delong_with_one_image_a_patient():
    random = np.random.default_rng(3)
    truth = random.random(60) < 0.4
    a, b = random.normal(truth, 1), random.normal(truth * 0.8, 1)
    patient = np.arange(60)
    assert clustered_auc(truth, a, cluster=patient) == pytest.approx(delong_interval(truth, a), abs=1e-12)
    ours, plain = clustered_auc_test(truth, a, b, cluster=patient), delong_test(truth, a, b)
    assert (ours.z, ours.p_value) == pytest.approx((plain.z, plain.p_value), abs=1e-12)


def test_obuchowski_by_its_formulas():
    """Sums over patients written out, with patients that have images of both kinds."""
    random = np.random.default_rng(4)
    patient = random.integers(0, 15, 50)
    truth = random.random(50) < 0.5
    score = random.normal(truth, 1).round(1)
    psi = (score[truth][:, None] > score[~truth][None]) + (score[truth][:, None] == score[~truth][None]) / 2
    theta, m_total, n_total = psi.mean(), truth.sum(), (~truth).sum()
    own_x, own_y, ids = psi.mean(axis=1), psi.mean(axis=0), np.unique(patient)
    s10 = s01 = s11 = 0.0
    for i in ids:
        x = own_x[patient[truth] == i].sum() - (patient[truth] == i).sum() * theta
        y = own_y[patient[~truth] == i].sum() - (patient[~truth] == i).sum() * theta
        s10, s01, s11 = s10 + x * x, s01 + y * y, s11 + x * y
    i10, i01, i = len(set(patient[truth])), len(set(patient[~truth])), len(ids)
    variance = (
        s10 * i10 / ((i10 - 1) * m_total) / m_total
        + s01 * i01 / ((i01 - 1) * n_total) / n_total
        + 2 * s11 * i / (i - 1) / (m_total * n_total)
    )
    value, low, _ = clustered_auc(truth, score, cluster=patient, logit=False)
    assert value == pytest.approx(theta)
    assert ((value - low) / 1.959963984540054) ** 2 == pytest.approx(variance, abs=1e-12)


def test_four_copies_of_every_image_leave_the_interval_as_wide():
    random = np.random.default_rng(6)
    truth = np.repeat([False, True], 40)
    score = random.normal(truth, 1.2)
    one = auc_interval(truth, score)
    four = auc_interval(np.tile(truth, 4), np.tile(score, 4), unit=np.tile(np.arange(80), 4))
    assert four.high - four.low == pytest.approx(one.high - one.low, rel=0.05)
    assert "Obuchowski" in four.method


def test_perfect_separation_has_an_interval():
    truth, score = np.repeat([0, 1], 10), np.arange(20.0)
    value, low, high = delong_interval(truth, score)
    assert (value, high) == (1.0, 1.0)
    assert 0.75 < low < 0.95
    assert auc_interval(truth, score).method == "Newcombe score"
    # the same interval from the other side
    assert auc_score_interval(0.0, 10, 10) == pytest.approx((0.0, 1 - low), abs=1e-9)


def test_all_scores_tied():
    value, low, high = delong_interval([0, 0, 0, 1, 1, 1], [1.0] * 6)
    assert value == 0.5
    assert low == pytest.approx(1 - high)
    assert 0 < low < 0.5
    assert delong_test([0, 0, 1, 1], [1.0] * 4, [1.0] * 4).p_value == 1.0


@pytest.mark.parametrize(
    ("truth", "score", "says"),
    [
        ([0, 1, 1], [0.1, math.nan, 0.3], "score of case number 1 is not a number"),
        ([0, 1, 1], [0.1, 0.2, math.inf], "score of case number 2 is infinite"),
        ([0, 1, 1], [0.1, 0.2, -math.inf], "score of case number 2 is infinite"),
        ([0, 1, 2], [0.1, 0.2, 0.3], "found 2 for case number 2"),
        ([1, 1, 1], [0.1, 0.2, 0.3], "one kind only"),
        ([0], [0.1], "one kind only"),
        ([], [], "one kind only"),
        ([0, 1], [0.1, 0.2, 0.3], "one length, found 2 and 3"),
        ([0, 1], ["a", "b"], "must be numbers"),
        ([[0, 1]], [[0.1, 0.2]], "one list"),
    ],
)
def test_what_cannot_be_rated_is_named(truth, score, says):
    for function in (roc_auc, partial_auc, delong_interval, delong_variance):
        with pytest.raises(TableError, match=says):
            function(truth, score)


def test_one_case_of_a_kind_has_an_area_but_no_interval():
    value, low, high = delong_interval([0, 0, 1], [1, 2, 3])
    assert value == 1.0
    assert math.isnan(low)
    assert math.isnan(high)
    with pytest.raises(TableError, match="at least two cases"):
        delong_variance([0, 0, 1], [1, 2, 3])


@pytest.mark.parametrize("ends", [(0.2, 0.1), (-0.1, 0.5), (0, 1.2), (0.3, 0.3)])
def test_a_range_that_is_none(ends):
    with pytest.raises(TableError, match="rises within 0 to 1"):
        partial_auc([0, 1], [0.1, 0.2], fpr_range=ends)
    with pytest.raises(TableError, match="rises within 0 to 1"):
        partial_auc([0, 1], [0.1, 0.2], tpr_range=ends)
