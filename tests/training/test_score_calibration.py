"""From scores to probabilities, with known truth and against scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from medseg.evaluation.calibration import (
    brier_score,
    brier_weighted,
    expected_calibration_error,
    expected_calibration_error_weighted,
    reliability_curve,
)
from medseg.evaluation.probability_level import probability_level
from medseg.evaluation.settings import EvaluationSettings
from medseg.inference.score_calibration import _map
from medseg.training.score_calibration import ENOUGH, FEW, fit_probability


def overconfident(n, *, factor=3.0, shift=1.0, seed=0):
    """Cases whose probability is known, and scores whose log-odds are `factor` times too large, and shifted."""
    random = np.random.default_rng(seed)
    odds = random.normal(-0.5, 1.2, n)
    probability = 1 / (1 + np.exp(-odds))
    truth = random.random(n) < probability
    return truth, 1 / (1 + np.exp(-(factor * odds + shift))), probability


def test_too_confident_scores_are_brought_back():
    truth, score, probability = overconfident(4000)
    assert expected_calibration_error(truth, score) > 0.15
    fitted = fit_probability(truth, score)
    assert (fitted["method"], fitted["n"], fitted["n_positive"]) == ("isotonic", 4000, truth.sum())
    found = np.array([_map(fitted)(value) for value in score])
    assert np.abs(found - probability).mean() < 0.03
    new_truth, new_score, _ = overconfident(4000, seed=1)
    again = np.array([_map(fitted)(value) for value in new_score])
    assert expected_calibration_error(new_truth, again) < 0.03 < expected_calibration_error(new_truth, new_score)


def test_few_cases_get_the_two_parameters_of_platt():
    truth, score, probability = overconfident(110, seed=3)
    assert FEW <= min(truth.sum(), (~truth).sum()) < ENOUGH
    fitted = fit_probability(truth, score)
    assert fitted["method"] == "platt"
    # truth: log-odds = (score's - 1) / 3; the standard errors of the fit are about 0.1 and 0.25
    assert fitted["slope"] == pytest.approx(1 / 3, abs=0.15)
    assert fitted["intercept"] == pytest.approx(-1 / 3, abs=0.5)
    found = np.array([_map(fitted)(value) for value in score])
    assert np.abs(found - probability).mean() < 0.1 < np.abs(score - probability).mean()


def test_too_few_of_a_kind_give_no_probability_and_say_so():
    truth = np.array([True] * (FEW - 1) + [False] * 100)
    fitted = fit_probability(truth, np.linspace(0, 1, len(truth)))
    assert fitted["method"] is None
    assert fitted["reason"] == "9 positive and 100 negative: at least 10 of each are needed"
    assert _map(fitted) is None
    assert fit_probability(np.zeros(0, bool), np.zeros(0))["method"] is None


@pytest.mark.parametrize("n", [FEW, ENOUGH])
def test_scores_that_separate_perfectly_do_not_become_certain(n):
    truth = np.arange(2 * n) >= n
    score = np.linspace(0.01, 0.99, 2 * n)
    to_probability = _map(fit_probability(truth, score))
    low, high = to_probability(0.0), to_probability(1.0)
    assert 0 < low < 0.5 < high < 1
    if n == ENOUGH:
        assert (low, high) == (pytest.approx(1 / (n + 2)), pytest.approx((n + 1) / (n + 2)))


@pytest.mark.parametrize("n", [30, 200])
def test_the_ranking_of_scores_is_never_turned(n):
    truth, score, _ = overconfident(n, seed=5)
    to_probability = _map(fit_probability(truth, score))
    assert (np.diff([to_probability(value) for value in np.linspace(0, 1, 101)]) >= 0).all()
    assert fit_probability(truth, 1 - score)["method"] is None, "higher scores mean less"


def test_cases_without_a_candidate_do_not_bend_the_curve():
    truth, score, _ = overconfident(60, seed=2)
    score = np.where(score < 0.01, 0.0, score)
    at_floor = fit_probability(truth, np.maximum(score, 0.01), lowest=0.01)
    assert fit_probability(truth, score, lowest=0.01) == at_floor


def test_curve_and_errors_are_those_of_scikit_learn():
    truth, score, _ = overconfident(500)
    curve = reliability_curve(truth, score, n_bins=10)
    observed, predicted = calibration_curve(truth, score, n_bins=10)
    np.testing.assert_allclose(curve.observed, observed)
    np.testing.assert_allclose(curve.predicted, predicted)
    weights = np.random.default_rng(0).integers(0, 4, (3, 500)).astype(float)
    weighted = [brier_score_loss(truth, score, sample_weight=w) for w in weights]
    np.testing.assert_allclose(brier_weighted(truth, score, np.arange(500), weights), weighted)
    repeated = [np.repeat(np.arange(500), w.astype(int)) for w in weights]
    errors = [expected_calibration_error(truth[rows], score[rows]) for rows in repeated]
    np.testing.assert_allclose(expected_calibration_error_weighted(truth, score, np.arange(500), weights), errors)


def test_figures_of_probabilities_have_intervals_by_patient():
    truth, score, _ = overconfident(300)
    settings = EvaluationSettings(n_replicates=200)
    alone = probability_level(truth, score, np.arange(300), np.arange(300).astype(str), settings)
    assert alone["brier"]["value"] == pytest.approx(brier_score(truth, score).score)
    assert alone["brier"]["ci_low"] < alone["brier"]["value"] < alone["brier"]["ci_high"]
    assert alone["expected_calibration_error"]["value"] == pytest.approx(expected_calibration_error(truth, score))
    assert np.isfinite(alone["curve"]["low"]).all()
    clustered = probability_level(truth, score, np.arange(300) // 10, np.arange(30).astype(str), settings)
    assert clustered["brier"]["value"] == pytest.approx(alone["brier"]["value"])
    assert clustered["brier"]["n_units"] == 30
    assert np.isnan(clustered["curve"]["low"]).all(), "candidates of one case are not independent"
