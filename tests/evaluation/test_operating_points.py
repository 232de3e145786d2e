"""Thresholds, likelihood ratios, predictive values, proportions, calibration: by hand and against other libraries."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import TableError
from medseg.evaluation import (
    brier_score,
    choose_threshold,
    clopper_pearson,
    effective_size_interval,
    expected_calibration_error,
    operating_point,
    predictive_values,
    reliability_curve,
    sensitivity_at_specificity,
    specificity_at_sensitivity,
    wilson,
)


def test_an_operating_point_by_hand():
    # 0.5 and above: two of three diseased, one of five healthy
    point = operating_point([1, 1, 1, 0, 0, 0, 0, 0], [0.9, 0.5, 0.4, 0.7, 0.1, 0.1, 0.2, 0.3], 0.5)
    assert (point.true_positive, point.false_positive, point.true_negative, point.false_negative) == (2, 1, 4, 1)
    assert point.sensitivity == pytest.approx(2 / 3)
    assert point.specificity == pytest.approx(4 / 5)
    assert point.positive_likelihood_ratio == pytest.approx((2 / 3) / (1 / 5))
    assert point.negative_likelihood_ratio == pytest.approx((1 / 3) / (4 / 5))
    low, high = point.positive_likelihood_ratio_interval
    error = math.sqrt(1 / 2 - 1 / 3 + 1 / 1 - 1 / 5)
    assert math.log(high / low) == pytest.approx(2 * 1.959963984540054 * error)
    assert math.sqrt(low * high) == pytest.approx(point.positive_likelihood_ratio)


def test_ratios_without_a_count():
    point = operating_point([1, 1, 0, 0], [0.9, 0.8, 0.1, 0.2], 0.5)
    assert point.positive_likelihood_ratio == math.inf
    assert point.negative_likelihood_ratio == 0
    assert all(math.isnan(end) for end in point.positive_likelihood_ratio_interval)


def test_predictive_values_by_bayes():
    positive, negative = predictive_values(0.8, 0.9, prevalence=0.02)
    assert positive == pytest.approx(0.8 * 0.02 / (0.8 * 0.02 + 0.1 * 0.98))
    assert negative == pytest.approx(0.9 * 0.98 / (0.9 * 0.98 + 0.2 * 0.02))
    assert predictive_values(0.8, 0.9, prevalence=0)[0] == 0
    assert math.isnan(predictive_values(0, 1, prevalence=0.5)[0])  # nothing is called positive
    with pytest.raises(TableError, match="prevalence"):
        predictive_values(0.8, 0.9, prevalence=1.2)


def test_fixed_points_of_the_curve():
    truth, score = [0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 6, 4, 5, 7, 8]
    assert sensitivity_at_specificity(truth, score, 1.0) == 0.5
    assert sensitivity_at_specificity(truth, score, 0.75) == 1.0
    assert sensitivity_at_specificity(truth, score, 0.9) == pytest.approx(0.5)  # level until the next step
    assert specificity_at_sensitivity(truth, score, 1.0) == 0.75
    assert specificity_at_sensitivity(truth, score, 0.5) == 1.0


def test_thresholds_are_chosen_as_asked():
    truth, score = [0, 0, 0, 0, 1, 1, 1, 1], [1, 2, 3, 6, 4, 5, 7, 8]
    assert choose_threshold(truth, score) == 4  # sensitivity 1, specificity 3/4
    assert choose_threshold(truth, score, criterion="specificity", at_least=1) == 7
    assert choose_threshold(truth, score, criterion="sensitivity", at_least=0.5) == 7
    assert choose_threshold([1, 0], [0, 1], criterion="specificity", at_least=1) == math.inf
    with pytest.raises(TableError, match="allowed are youden"):
        choose_threshold(truth, score, criterion="best")


@given(st.integers(1, 200), st.data())
def test_proportions_against_scipy(n, data):
    from scipy.stats import binomtest

    k = data.draw(st.integers(0, n))
    for ours, method in ((wilson, "wilson"), (clopper_pearson, "exact")):
        theirs = binomtest(k, n).proportion_ci(0.9, method)
        assert ours(k, n, confidence=0.9) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_effective_size_is_wilson_for_independent_lesions():
    p, n = 0.7, 40
    assert effective_size_interval(p, p * (1 - p) / n, n_units=n) == pytest.approx(wilson(28, 40))
    assert effective_size_interval(1.0, 0.0, n_units=12) == pytest.approx(wilson(12, 12))


def test_effective_size_of_few_patients_with_many_lesions():
    """Ten patients with four lesions each that differ from patient to patient as if independent."""
    from scipy.stats import norm, t

    ratio = norm.ppf(0.975) / t(9).ppf(0.975)
    size = 40 * 9 / 10 * ratio**2
    assert effective_size_interval(0.7, 0.7 * 0.3 / 40, n_units=10) == pytest.approx(wilson(0.7 * size, size))
    # a variance that is the rounding error of none: the patients are the size; one patient is one observation
    assert effective_size_interval(1 / 3, 1e-33, n_units=10) == pytest.approx(wilson(10 / 3, 10))
    assert effective_size_interval(0.5, 1e-5, n_units=1) == pytest.approx(wilson(0.5, 1))
    with pytest.raises(TableError, match="variance of nan"):
        effective_size_interval(0.5, math.nan, n_units=5)


def test_calibration_by_hand():
    truth, p = [0, 1, 1, 1, 0], [0.2, 0.2, 0.9, 0.9, 0.9]
    curve = reliability_curve(truth, p, n_bins=2)
    assert curve.count.tolist() == [2, 3]
    assert curve.observed == pytest.approx([1 / 2, 2 / 3])
    assert curve.predicted == pytest.approx([0.2, 0.9])
    assert expected_calibration_error(truth, p, n_bins=2) == pytest.approx((2 * 0.3 + 3 * (0.9 - 2 / 3)) / 5)


@given(st.integers(0, 2**31), st.integers(1, 15), st.sampled_from(["uniform", "quantile"]))
def test_brier_score_and_its_parts_add_up(seed, n_bins, strategy):
    from sklearn.metrics import brier_score_loss

    random = np.random.default_rng(seed)
    p = random.random(50).round(2)
    truth = random.random(50) < p
    brier = brier_score(truth, p, n_bins=n_bins, strategy=strategy)
    assert brier.score == pytest.approx(brier_score_loss(truth, p), abs=1e-12)
    total = brier.reliability - brier.resolution + brier.uncertainty
    total += brier.within_bin_variance - brier.within_bin_covariance
    assert total == pytest.approx(brier.score, abs=1e-12)


def test_reliability_against_scikit_learn():
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(2)
    p = random.random(300)
    truth = random.random(300) < p**2
    curve = reliability_curve(truth, p, n_bins=8)
    observed, predicted = calibration_curve(truth, p, n_bins=8)
    assert curve.observed == pytest.approx(observed)
    assert curve.predicted == pytest.approx(predicted)


def test_what_is_no_probability_is_named():
    with pytest.raises(TableError, match=r"probability 1.2 of case number 1 is not between 0 and 1"):
        brier_score([0, 1], [0.1, 1.2])
    with pytest.raises(TableError, match="strategy"):
        reliability_curve([0, 1], [0.1, 0.2], strategy="even")
    with pytest.raises(TableError, match="one length"):
        expected_calibration_error([], [])
