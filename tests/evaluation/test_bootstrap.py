"""Resampling: against SciPy, by hand, and what must not change."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medseg.errors import EvaluationWarning, TableError
from medseg.evaluation import (
    Resampling,
    bootstrap,
    cross_validated,
    holm,
    paired_bootstrap,
    permutation_test,
    roc_auc,
    roc_auc_weighted,
    shared_ranks,
)
from medseg.evaluation.bootstrap import bca_interval, mean_weighted


def mean_of(x, weights):
    return (weights @ x) / weights.sum(axis=1)


def ratings(n=60, seed=1):
    random = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    return {"y_true": truth, "y_score": random.normal(truth, 1)}


def test_bca_against_scipy():
    """Same value, same replicates within chance: SciPy's BCa of a skewed mean."""
    from scipy.stats import bootstrap as reference

    x = np.random.default_rng(0).exponential(size=40)
    ours = bootstrap(mean_of, {"x": x}, unit=None, method="bca", vectorized=True, n_replicates=40_000)
    theirs = reference((x,), np.mean, method="BCa", n_resamples=40_000, random_state=1).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    plain = bootstrap(mean_of, {"x": x}, unit=None, vectorized=True, n_replicates=40_000)
    theirs = reference((x,), np.mean, method="percentile", n_resamples=40_000, random_state=1).confidence_interval
    assert (plain.low, plain.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.high > plain.high + 0.01  # skewed to the right


def test_acceleration_is_that_of_the_jackknife():
    x = np.random.default_rng(3).exponential(size=30)
    resampling = Resampling.of(None, n_cases=30, n_replicates=10)
    left_out = np.array([np.delete(x, i).mean() for i in range(30)])
    d = left_out.mean() - left_out
    expected = (d**3).sum() / (6 * (d**2).sum() ** 1.5)
    assert resampling.acceleration(lambda w: mean_of(x, w))[0] == pytest.approx(expected, rel=1e-4)


def test_acceleration_of_many_units_by_groups_is_close():
    x = np.random.default_rng(4).exponential(size=4000)
    resampling = Resampling.of(None, n_cases=4000, n_replicates=10)
    skewness = ((x - x.mean()) ** 3).mean() / x.std() ** 3
    assert resampling.acceleration(lambda w: mean_of(x, w))[0] == pytest.approx(
        skewness / (6 * np.sqrt(4000)), rel=0.35
    )


def test_weights_and_indices_draw_alike():
    """The vectorised statistic and the plain one see the same draws."""
    data = ratings()
    fast = bootstrap(roc_auc_weighted, data, unit=None, vectorized=True, n_replicates=300, seed=5)
    slow = bootstrap(roc_auc, data, unit=None, n_replicates=300, seed=5)
    assert (fast.low, fast.high) == pytest.approx((slow.low, slow.high), abs=1e-12)


def test_strata_keep_their_size_and_patients_stay_together():
    patient, label = np.array([0, 0, 1, 2, 2, 3, 4]), np.array([1, 1, 0, 0, 0, 1, 0])
    resampling = Resampling.of(patient, n_cases=7, strata=label, n_replicates=200)
    weights = np.concatenate(list(resampling.blocks()))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 5]].sum(axis=1) == 2).all()  # two positive patients
    assert (weights[:, [2, 3, 6]].sum(axis=1) == 3).all()
    assert resampling.n_units == 5


def test_a_patient_with_both_kinds_of_cases_is_a_stratum_with_its_like():
    resampling = Resampling.of([0, 0, 1, 2, 3, 3], n_cases=6, strata=[0, 1, 0, 1, 0, 1], n_replicates=100)
    weights = np.concatenate(list(resampling.blocks()))
    assert (weights[:, [0, 4]].sum(axis=1) == 2).all()


@given(st.integers(1, 5))
def test_copies_of_a_patients_images_do_not_narrow_the_interval(copies):
    data = ratings()
    one = bootstrap(roc_auc_weighted, data, unit=np.arange(60), vectorized=True, n_replicates=400)
    many = bootstrap(
        roc_auc_weighted, {name: np.tile(values, copies) for name, values in data.items()},
        unit=np.tile(np.arange(60), copies), vectorized=True, n_replicates=400,
    )  # fmt: skip
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=1e-9)


def test_the_same_seed_gives_the_same_interval_and_blocks_do_not_matter(monkeypatch):
    import importlib

    module = importlib.import_module("medseg.evaluation.resampling")
    data = ratings()
    first = bootstrap(roc_auc_weighted, data, unit=None, vectorized=True, n_replicates=500, seed=9)
    assert bootstrap(roc_auc_weighted, data, unit=None, vectorized=True, n_replicates=500, seed=9) == first
    assert bootstrap(roc_auc_weighted, data, unit=None, vectorized=True, n_replicates=500, seed=8) != first
    assert (first.n_units, first.seed, first.method, first.n_replicates) == (60, 9, "percentile", 500)
    options = {"unit": None, "vectorized": True, "n_replicates": 500, "strata": data["y_true"]}
    whole = bootstrap(roc_auc_weighted, data, **options)
    monkeypatch.setattr(module, "BLOCK", 60 * 7)
    assert bootstrap(roc_auc_weighted, data, **options) == whole


def test_undefined_replicates_are_counted_and_said():
    data = {"y_true": np.array([1, 0, 0, 0, 0, 0]), "y_score": np.arange(6.0)}
    with pytest.warns(EvaluationWarning, match="undefined in"):
        interval = bootstrap(roc_auc, data, unit=None, n_replicates=200)
    assert 100 < interval.n_replicates < 180
    whole = bootstrap(roc_auc, data, unit=None, n_replicates=200, strata=data["y_true"])
    assert whole.n_replicates == 200


def test_bca_of_a_figure_with_two_values_is_not_shifted():
    replicates = np.repeat([0.0, 1.0, 0.5], [25, 25, 50])
    assert bca_interval(0.5, replicates, 0.0, 0.9) == pytest.approx(tuple(np.percentile(replicates, [5, 95])))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": "normal"}, "allowed are percentile and bca"),
        ({"n_replicates": 0}, "at least one replicate"),
        ({"confidence": 1.0}, "confidence"),
        ({"unit": [1, 2]}, "one unit"),
        ({"strata": [1, 2]}, "one stratum"),
        ({"data": {"y_true": [0, 1], "y_score": [1.0]}}, "one length"),
        ({"data": {"y_true": [], "y_score": []}}, "one length above 0"),
    ],
)
def test_wrong_options_are_named(change, says):
    options = {"data": ratings(), "unit": None, **change}
    with pytest.raises(TableError, match=says):
        bootstrap(roc_auc, options.pop("data"), **options)


def test_paired_bootstrap_sees_that_both_move_together():
    random = np.random.default_rng(2)
    shared = random.normal(size=50) * 5
    a, b = shared + 0.3 + random.normal(size=50) * 0.1, shared + random.normal(size=50) * 0.1
    result = paired_bootstrap(mean_weighted(a), mean_weighted(b), Resampling.of(None, n_cases=50))
    assert result.difference == pytest.approx((a - b).mean())
    assert 0.2 < result.low < result.difference < result.high < 0.4


def test_permutation_of_few_cases_by_counting():
    """Three cases, differences 1, 2, 3: of 8 sign patterns two are as extreme as the one seen."""
    a, b = np.array([1.0, 2.0, 3.0]), np.zeros(3)
    difference, p_value = permutation_test(
        mean_weighted(np.concatenate([a, b])), None, n_cases=3, n_permutations=20_000
    )
    assert difference == pytest.approx(2.0)
    assert p_value == pytest.approx(2 / 8, abs=0.01)


def test_permutation_never_gives_zero_and_equal_detectors_give_one():
    a, b = np.arange(30.0) + 10, np.zeros(30)
    _, p_value = permutation_test(mean_weighted(np.concatenate([a, b])), None, n_cases=30, n_permutations=99)
    assert p_value == 1 / 100
    _, p_value = permutation_test(mean_weighted(np.concatenate([a, a])), None, n_cases=30, n_permutations=99)
    assert p_value == 1.0


def test_permutation_exchanges_whole_patients():
    """One patient with all the difference cannot be significant, however many images there are."""
    a, b = np.ones(40), np.zeros(40)
    _, p_value = permutation_test(mean_weighted(np.concatenate([a, b])), np.zeros(40), n_cases=40, n_permutations=500)
    assert p_value == 1.0


def test_shared_ranks_do_not_depend_on_the_scale_of_a_model():
    a, b = np.array([0.1, 0.4, 0.2]), np.array([0.3, 0.1, 0.9])
    first, second = shared_ranks(a, 100 * b + 7)
    assert first.tolist() == shared_ranks(np.exp(a), b)[0].tolist()
    assert second.tolist() == shared_ranks(a, b)[1].tolist()
    assert shared_ranks(np.array([-np.inf, 1.0]), a)[0].tolist() == [-np.inf, 0.5]


def test_holm_by_hand():
    assert holm([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.06, 0.06, 0.5])
    assert holm([0.04, 0.9, float("nan")])[:2] == pytest.approx([0.08, 0.9])
    assert holm([0.9, 0.8])[0] == 1.0
    assert len(holm([])) == 0


def test_cross_validation_averages_folds_and_pooling_warns():
    folds = [ratings(30, seed) for seed in range(4)]
    folds[1] = {**folds[1], "y_score": folds[1]["y_score"] + 100}  # a model on another scale
    values = [roc_auc(**fold) for fold in folds]
    result = cross_validated(roc_auc_weighted, folds, strata="y_true", n_replicates=200)
    assert result.value == pytest.approx(np.mean(values))
    assert result.low < result.value < result.high
    assert result.n_units == 120
    with pytest.warns(EvaluationWarning, match="Airola"):
        pooled = cross_validated(roc_auc_weighted, folds, strata="y_true", n_replicates=50, pool=True)
    assert pooled.value < result.value - 0.05
    with pytest.raises(TableError, match="in another fold"):
        cross_validated(roc_auc_weighted, folds, units=[np.arange(30)] * 4)
    with pytest.raises(TableError, match="no fold"):
        cross_validated(roc_auc_weighted, [])
