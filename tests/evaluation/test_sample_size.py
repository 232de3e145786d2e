"""Planning reader studies."""

import importlib.util
import math
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, f, ncf, norm

import medseg
from medseg.errors import TableError
from medseg.evaluation.reader_study import VarianceComponents
from medseg.evaluation.readers import rating_study
from medseg.evaluation.sample_size import reader_study_power, reader_study_sample_size

SCRIPT = Path(medseg.__file__).parents[1] / "scripts" / "validate_readers.py"
PILOT = VarianceComponents(0.0010, 0.0004, 0.0003, 0.0001, 0.002, 0.0002, n_units=100)
DESIGNS = ("random_readers_random_cases", "fixed_readers_random_cases", "random_readers_fixed_cases")


def test_both_random_by_hand():
    # twice the pilot's cases: 0.0002 + (0.0006 + 3 * 0.0002) / 2 = 0.0008, of which MS(TR) is 0.0002 + 0.0004 / 2
    result = reader_study_power(PILOT, n_readers=4, n_cases=200, difference=0.04)
    assert result.noncentrality == pytest.approx(4 * 0.0016 / 2 / 0.0008)
    assert result.df_denominator == pytest.approx(3 * (0.0008 / 0.0004) ** 2)
    assert result.power == pytest.approx(ncf.sf(f.ppf(0.95, 1, 12), 1, 12, 4))


def test_power_is_the_integral_of_the_noncentral_t():
    """F with one numerator degree is the square of t: a normal over the root of a chi-square over its degrees."""
    result = reader_study_power(PILOT, n_readers=4, n_cases=200, difference=0.04)
    df, shift, limit = result.df_denominator, math.sqrt(result.noncentrality), math.sqrt(f.ppf(0.95, 1, 12))

    def beyond(x):
        edge = limit * math.sqrt(x / df)
        return chi2.pdf(x, df) * (norm.sf(edge - shift) + norm.cdf(-edge - shift))

    assert result.power == pytest.approx(quad(beyond, 0, 100)[0], abs=1e-6)


def test_fixed_readers_by_hand():
    result = reader_study_power(PILOT, n_readers=4, n_cases=200, difference=-0.04, design=DESIGNS[1])
    assert result.noncentrality == pytest.approx(4 * 0.0016 / 2 / 0.0006)
    assert result.df_denominator == math.inf
    shift = math.sqrt(result.noncentrality)
    assert result.power == pytest.approx(norm.sf(norm.ppf(0.975) - shift) + norm.cdf(norm.ppf(0.025) - shift))


def test_fixed_cases_by_hand():
    result = reader_study_power(PILOT, n_readers=4, n_cases=200, difference=0.04, design=DESIGNS[2])
    assert result.noncentrality == pytest.approx(4 * 0.0016 / 2 / 0.0004)
    assert result.df_denominator == 3


def test_negative_components_count_as_none():
    negative = replace(PILOT, modality_reader=-0.001, cov3=0.0004)
    floored = replace(PILOT, modality_reader=0.0, cov3=PILOT.cov2)
    for design in DESIGNS:
        first, second = (
            reader_study_power(pilot, n_readers=5, n_cases=150, difference=0.03, design=design)
            for pilot in (negative, floored)
        )
        assert first == second


def test_a_study_of_the_pilots_size_has_its_error_term():
    random = np.random.default_rng(3)
    truth = np.arange(80) % 2
    scores = truth + random.normal(size=80) + random.normal(size=(2, 1, 80)) + random.normal(size=(2, 5, 80))
    scores = scores + truth * random.normal(size=(2, 5, 1)) * 0.8  # readers react to the modality
    study = rating_study(truth, scores)
    assert study.components.modality_reader > 0
    for test in (study.random_both, study.fixed_readers, study.fixed_cases):
        difference = test.differences[0]
        result = reader_study_power(study, n_readers=5, n_cases=80, difference=difference.value, design=test.design)
        assert result.noncentrality == pytest.approx((difference.value / difference.standard_error) ** 2)
        assert result.noncentrality == pytest.approx(test.f)
        assert result.df_denominator == pytest.approx(test.df_denominator)


@pytest.mark.parametrize("design", DESIGNS)
def test_the_fewest_cases(design):
    found = reader_study_sample_size(PILOT, n_readers=6, difference=0.04, power=0.8, design=design)
    assert found.power >= 0.8
    assert found == reader_study_power(PILOT, n_readers=6, n_cases=found.n_cases, difference=0.04, design=design)
    fewer = reader_study_power(PILOT, n_readers=6, n_cases=found.n_cases - 1, difference=0.04, design=design)
    assert fewer.power < 0.8
    more_readers = reader_study_sample_size(PILOT, n_readers=9, difference=0.04, power=0.8, design=design)
    assert more_readers.n_cases < found.n_cases


def test_no_number_of_cases_replaces_readers():
    with pytest.raises(TableError, match="take more readers"):
        reader_study_sample_size(PILOT, n_readers=2, difference=0.02)


def test_one_reader():
    alone = replace(PILOT, cov2=math.nan, cov3=math.nan, reader=math.nan, modality_reader=math.nan)
    result = reader_study_power(alone, n_readers=1, n_cases=100, difference=0.05, design=DESIGNS[1])
    assert result.noncentrality == pytest.approx(0.0025 / 2 / 0.0006)
    for design, readers in ((DESIGNS[0], 5), (DESIGNS[2], 5), (DESIGNS[1], 5)):
        with pytest.raises(TableError, match="does not have what this design needs"):
            reader_study_power(alone, n_readers=readers, n_cases=100, difference=0.05, design=design)


@pytest.mark.parametrize(
    "wrong",
    [{"n_readers": 1}, {"difference": 0}, {"difference": math.nan}, {"significance": 1}, {"design": "all"},
     {"n_cases": 1}],
)  # fmt: skip
def test_impossible_plans(wrong):
    with pytest.raises(TableError):
        reader_study_power(PILOT, **{"n_readers": 5, "n_cases": 100, "difference": 0.05, **wrong})
    if "n_cases" not in wrong:
        with pytest.raises(TableError):
            reader_study_sample_size(PILOT, **{"n_readers": 5, "difference": 0.05, **wrong})
    with pytest.raises(TableError):
        reader_study_sample_size(PILOT, n_readers=5, difference=0.05, power=1.0)


@pytest.mark.slow
def test_simulated_studies_have_the_power_that_is_planned():
    """600 studies: 0.02 is the standard error of their power. Planned from the mean of their own components."""
    specification = importlib.util.spec_from_file_location("validate_readers", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    random, truth = np.random.default_rng(7), np.arange(100) < 50
    structure = script.STRUCTURES["AUC 0.70, readers alike"]
    found, components, differences = [], [], []
    for _ in range(600):
        distance = script.separations(random, structure, 5, same_mean=False)
        distance[1] += 0.45
        study, _ = script.analyses(truth, script.scores_of(random, structure, distance, truth))
        found.append(study.random_both.p_value < 0.05)
        components.append(astuple(study.components)[:-1])
        differences.append(study.random_both.differences[0].value)
    pilot = VarianceComponents(*np.mean(components, axis=0), n_units=100)
    planned = reader_study_power(pilot, n_readers=5, n_cases=100, difference=np.mean(differences))
    assert 0.4 < planned.power < 0.8
    assert np.mean(found) == pytest.approx(planned.power, abs=0.06)
