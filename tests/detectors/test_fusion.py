"""Fusion: the fit is scikit-learn's, and it never turns a score round."""

import logging

import numpy as np
import pytest
from scipy.special import expit, logit

from medseg.detectors.fusion import Fusion, fit_fusion
from medseg.errors import CheckpointError, ConfigError
from medseg.evaluation import roc_auc

RNG = np.random.default_rng(0)


def scored(n=400, *, first=1.0, second=1.5):
    positive = RNG.random(n) < 0.3
    return positive, *(expit(weight * positive + RNG.normal(size=n)) for weight in (first, second))


def test_the_fused_score_is_the_probability_of_scikit_learn_and_is_better_than_either():
    from sklearn.linear_model import LogisticRegression

    positive, first, second = scored()
    fusion = fit_fusion(positive, first, second)
    model = LogisticRegression(max_iter=1000).fit(np.stack([logit(first), logit(second)], axis=1), positive)
    fresh = scored()
    expected = model.predict_proba(np.stack([logit(fresh[1]), logit(fresh[2])], axis=1))[:, 1]
    fused = fusion.apply(fresh[1], fresh[2])
    assert np.allclose(fused, expected)
    assert fusion.method == "logistic"
    assert roc_auc(fresh[0], fused) > max(roc_auc(fresh[0], fresh[1]), roc_auc(fresh[0], fresh[2]))
    assert Fusion.of(fusion.content()) == fusion


def test_a_score_that_would_be_turned_round_is_left_out_and_said(caplog):
    positive, first, second = scored(first=-2.0)
    with caplog.at_level(logging.WARNING):
        fusion = fit_fusion(positive, first, second)
    assert (fusion.method, fusion.first, fusion.second) == ("second", 0, 1)
    assert "score of the second stage is used alone" in caplog.text
    assert np.allclose(fusion.apply(first, second), second)
    assert fit_fusion(positive, second, first).method == "first"


def test_a_second_score_without_information_is_not_taken_because_the_first_ranks_badly():
    positive, first, _ = scored(first=-2.0)
    noise = expit(RNG.normal(size=len(positive)))
    fusion = fit_fusion(positive, first, noise)
    assert (fusion.method, fusion.first, fusion.second) == ("first", 1, 0)


def test_scores_of_0_and_1_stay_finite_and_in_order():
    fusion = Fusion("logistic", 0.3, 1.0, 2.0)
    fused = fusion.apply(np.array([0, 0.5, 1]), np.array([0, 0.5, 1]))
    assert np.isfinite(fused).all()
    assert (np.diff(fused) > 0).all()


def test_too_few_candidates_and_damaged_numbers_are_refused():
    with pytest.raises(ConfigError, match="1 positive and 3 negative"):
        fit_fusion(np.array([1, 0, 0, 0]), np.full(4, 0.5), np.full(4, 0.5))
    content = Fusion("logistic", 0.3, 1.0, 2.0).content()
    for wrong in ({**content, "first": -1.0}, {"method": "first"}, {**content, "second": None}):
        with pytest.raises(CheckpointError):
            Fusion.of(wrong)
