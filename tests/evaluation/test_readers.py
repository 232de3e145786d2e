"""Reader studies: by hand, against the definitions in loops, and against simulation."""

import importlib.util
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, f, norm, t, ttest_rel

import medseg
from medseg.errors import TableError
from medseg.evaluation import match_marks, partial_auc, reader_covariance, roc_auc, wafroc_auc
from medseg.evaluation.dorfman_berbaum_metz import dorfman_berbaum_metz, pseudovalue_mean_squares, pseudovalues
from medseg.evaluation.obuchowski_rockette import obuchowski_rockette
from medseg.evaluation.reader_covariance import (
    delong_covariance,
    error_covariance,
    jackknife_covariance,
    leave_one_out,
)
from medseg.evaluation.readers import mark_study, rating_study

SCRIPT = Path(medseg.__file__).parents[1] / "scripts" / "validate_readers.py"


def ratings(n_modalities=2, n_readers=4, n_cases=60, seed=1):
    """Whole-number scores with ties: a difficulty shared by all, one of each reader, and noise."""
    random = np.random.default_rng(seed)
    truth = np.arange(n_cases) % 5 < 2
    scores = truth * 1.3 + random.normal(size=n_cases)
    scores = scores + random.normal(size=(n_readers, n_cases)) * 0.5 + random.normal(size=(n_modalities, 1, n_cases))
    return truth.astype(int), np.round(scores + random.normal(size=(n_modalities, n_readers, n_cases)) * 0.5, 0)


@pytest.fixture(scope="module")
def jackknifed():
    truth, scores = ratings(n_modalities=3)
    values = np.array([[roc_auc(truth, s) for s in modality] for modality in scores])
    without = np.array([
        [[roc_auc(np.delete(truth, k), np.delete(s, k)) for k in range(len(truth))] for s in modality]
        for modality in scores
    ])  # fmt: skip
    return values, without


# Two modalities, two readers: means 0.7 and 0.85 of the modalities, 0.85 and 0.7 of the readers, 0.775 of all.
# MS(T) = 2 * (0.075^2 + 0.075^2) = 0.0225 = MS(R); what is left is 0.025 everywhere: MS(TR) = 4 * 0.025^2 = 0.0025
VALUES = np.array([[0.8, 0.6], [0.9, 0.8]])


def by_hand(var=0.004, cov1=0.002, cov2=0.0015, cov3=0.0005):
    matrix = np.full((2, 2, 2, 2), cov3)
    for i, j in itertools.product(range(2), range(2)):
        matrix[i, :, i, :], matrix[:, j, :, j] = cov2, cov1
    for i, j in itertools.product(range(2), range(2)):
        matrix[i, j, i, j] = var
    return obuchowski_rockette(VALUES, covariance=matrix, n_units=50)


def test_both_random_by_hand():
    test = by_hand().random_both  # error term 0.0025 + 2 * (0.0015 - 0.0005) = 0.0045
    assert test.f == pytest.approx(5)
    assert test.df_denominator == pytest.approx((0.0045 / 0.0025) ** 2)
    assert test.p_value == pytest.approx(f.sf(5, 1, 3.24))
    (difference,) = test.differences
    assert (difference.first, difference.second) == ("1", "2")
    assert difference.value == pytest.approx(-0.15)
    assert difference.standard_error == pytest.approx(math.sqrt(0.0045))  # 2 / 2 readers
    assert difference.p_value == pytest.approx(test.p_value)
    assert difference.low == pytest.approx(-0.15 - t.ppf(0.975, 3.24) * math.sqrt(0.0045))
    # modality 1: MS(R) 0.02, error term 0.02 + 2 * 0.0015 = 0.023
    assert test.means[0].value == pytest.approx(0.7)
    assert test.means[0].standard_error == pytest.approx(math.sqrt(0.023 / 2))
    assert test.means[0].df == pytest.approx(1.15**2)


def test_fixed_readers_by_hand():
    test = by_hand().fixed_readers  # error term 0.004 - 0.002 + 0.001 = 0.003
    assert test.f == pytest.approx(7.5)
    assert test.df_denominator == math.inf
    assert test.p_value == pytest.approx(chi2.sf(7.5, 1))
    assert test.differences[0].high == pytest.approx(-0.15 + norm.ppf(0.975) * math.sqrt(0.003))
    assert test.means[1].standard_error == pytest.approx(math.sqrt((0.004 + 0.0015) / 2))
    assert [d.reader for d in test.reader_differences] == ["1", "2"]
    assert test.reader_differences[1].value == pytest.approx(-0.2)
    assert test.reader_differences[1].standard_error == pytest.approx(math.sqrt(2 * (0.004 - 0.002)))


def test_fixed_cases_by_hand():
    test = by_hand().fixed_cases
    assert test.f == pytest.approx(9)
    assert test.df_denominator == 1
    assert test.p_value == pytest.approx(1 - 2 / math.pi * math.atan(3))  # one degree of freedom: Cauchy
    assert test.means[0].standard_error == pytest.approx(0.1)  # readers 0.8 and 0.6
    assert not test.undefined


def test_components_by_hand():
    parts = by_hand().components
    assert parts.modality_reader == pytest.approx(0.0025 - 0.004 + 0.002 + 0.001)
    assert parts.reader == pytest.approx((0.0225 - 0.0025) / 2 - 0.002 + 0.0005)
    assert (parts.cov1, parts.cov2, parts.cov3) == pytest.approx((0.002, 0.0015, 0.0005))
    assert parts.n_units == 50


def test_a_covariance_that_is_larger_between_modalities_counts_as_none():
    study = by_hand(cov2=0.0005, cov3=0.0015)
    assert study.random_both.f == pytest.approx(9)
    assert study.random_both.df_denominator == pytest.approx(1)
    assert study.fixed_readers.f == pytest.approx(0.0225 / 0.002)


def test_fixed_cases_are_a_paired_t_test(jackknifed):
    values, without = jackknifed
    study = obuchowski_rockette(values[:2], without[:2])
    expected = ttest_rel(values[0], values[1])
    assert study.fixed_cases.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    found = study.fixed_cases.differences[0]
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_covariances_in_loops(jackknifed):
    _, without = jackknifed
    n = without.shape[2]
    groups = {"variance": [], "cov1": [], "cov2": [], "cov3": []}
    cells = list(itertools.product(range(3), range(4)))
    for (i, j), (a, b) in itertools.product(cells, cells):
        products = [
            (without[i, j, k] - without[i, j].mean()) * (without[a, b, k] - without[a, b].mean()) for k in range(n)
        ]
        name = {(True, True): "variance", (False, True): "cov1", (True, False): "cov2", (False, False): "cov3"}
        groups[name[i == a, j == b]].append((n - 1) / n * sum(products))
    error = error_covariance(jackknife_covariance(without))
    for name, found in groups.items():
        assert getattr(error, name) == pytest.approx(np.mean(found))
    assert error.cov2_of_modality.mean() == pytest.approx(error.cov2)
    assert error.cov1_of_reader.mean() == pytest.approx(error.cov1)


def test_pseudovalue_mean_squares_in_loops(jackknifed):
    values, without = jackknifed
    y = pseudovalues(values, without)
    assert y.mean(axis=2) == pytest.approx(values)
    n_i, n_j, n_k = y.shape
    sums = dict.fromkeys(
        ["modality", "reader", "case", "modality_reader", "modality_case", "reader_case", "modality_reader_case"], 0.0
    )
    m = y.mean()
    for i, j, k in itertools.product(range(n_i), range(n_j), range(n_k)):
        a, b, c = y[i].mean(), y[:, j].mean(), y[:, :, k].mean()
        ab, ac, bc = y[i, j].mean(), y[i, :, k].mean(), y[:, j, k].mean()
        sums["modality"] += (a - m) ** 2 / (n_i - 1)
        sums["reader"] += (b - m) ** 2 / (n_j - 1)
        sums["case"] += (c - m) ** 2 / (n_k - 1)
        sums["modality_reader"] += (ab - a - b + m) ** 2 / ((n_i - 1) * (n_j - 1))
        sums["modality_case"] += (ac - a - c + m) ** 2 / ((n_i - 1) * (n_k - 1))
        sums["reader_case"] += (bc - b - c + m) ** 2 / ((n_j - 1) * (n_k - 1))
        rest = y[i, j, k] - ab - ac - bc + a + b + c - m
        sums["modality_reader_case"] += rest**2 / ((n_i - 1) * (n_j - 1) * (n_k - 1))
    found = pseudovalue_mean_squares(y)
    for name, expected in sums.items():
        assert getattr(found, name) == pytest.approx(expected)
    # and Hillis et al. 2005: the F of these mean squares is the one of the figures
    study = dorfman_berbaum_metz(values, without)
    assert study.mean_squares == found
    error = found.modality_reader + max(found.modality_case - found.modality_reader_case, 0)
    assert study.random_both.f == pytest.approx(found.modality / error)
    assert study.random_both.df_denominator == pytest.approx(6 * (error / found.modality_reader) ** 2)
    assert study.fixed_readers.f == pytest.approx(found.modality / found.modality_case)
    assert study.fixed_readers.df_denominator == 2 * 59
    assert study.fixed_cases.f == pytest.approx(found.modality / found.modality_reader)


@pytest.mark.parametrize("seed", range(4))
def test_both_methods_agree(seed):
    truth, scores = ratings(n_modalities=3, seed=seed)
    first, second = (rating_study(truth, scores, method=m) for m in ("obuchowski_rockette", "dorfman_berbaum_metz"))
    for design in ("random_both", "fixed_cases"):
        a, b = getattr(first, design), getattr(second, design)
        assert (a.f, a.df_numerator, a.df_denominator, a.p_value) == pytest.approx(
            (b.f, b.df_numerator, b.df_denominator, b.p_value)
        )
        for one, other in zip(a.differences + a.means, b.differences + b.means):
            assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert first.components == second.components
    a, b = first.fixed_readers, second.fixed_readers
    if first.components.cov2 > first.components.cov3:
        assert a.f == pytest.approx(b.f)
    assert a.p_value < b.p_value  # a chi-square has no cases to estimate its error term from
    assert [d.standard_error for d in a.reader_differences] == pytest.approx(
        [d.standard_error for d in b.reader_differences]
    )


def test_both_methods_agree_where_readers_share_no_error():
    """Independent leave-one-out figures: covariances around 0, of which those below count as 0 in both."""
    random = np.random.default_rng(2)
    negative = 0
    for _ in range(20):
        values, without = random.random((2, 3)), random.random((2, 3, 12))
        first, second = obuchowski_rockette(values, without), dorfman_berbaum_metz(values, without)
        negative += (error_covariance(jackknife_covariance(without)).cov2_of_modality < 0).sum()
        for one, other in zip(first.random_both.means, second.random_both.means):
            assert (one.df, one.low, one.high) == pytest.approx((other.df, other.low, other.high))
        assert first.random_both.p_value == pytest.approx(second.random_both.p_value)
    assert negative > 5


def test_identical_modalities_do_not_differ():
    truth, scores = ratings(n_modalities=1)
    for n in (2, 3):
        for method in ("obuchowski_rockette", "dorfman_berbaum_metz"):
            study = rating_study(truth, np.repeat(scores, n, axis=0), method=method)
            for test in (study.random_both, study.fixed_readers, study.fixed_cases):
                assert (test.f, test.p_value) == (0, 1)
                for difference in test.differences:
                    assert (difference.value, difference.p_value) == (0, 1)
                    assert (difference.low, difference.high) == pytest.approx((0, 0), abs=1e-7)


def test_the_same_gain_of_every_reader_is_certain_for_these_cases():
    """No reader departs from the gain: nothing is left that could explain it by chance."""
    values = np.array([[0.75, 0.5], [0.875, 0.625]])
    without = np.repeat(values[..., None], 5, axis=2)
    study = obuchowski_rockette(values, without)
    assert (study.fixed_cases.f, study.fixed_cases.p_value) == (math.inf, 0)


def test_order_does_not_matter():
    truth, scores = ratings()
    study, turned = rating_study(truth, scores), rating_study(truth[::-1], scores[::-1, ::-1, ::-1])
    assert turned.random_both.p_value == pytest.approx(study.random_both.p_value)
    assert turned.random_both.differences[0].value == pytest.approx(-study.random_both.differences[0].value)
    rescaled = rating_study(truth, np.exp(scores) * 7)  # ranks only
    assert rescaled.random_both == study.random_both


def test_leaving_out_cases_and_patients():
    truth, scores = ratings(n_readers=2, n_cases=30)
    patient = np.arange(30) // 3  # with diseased and healthy images
    for unit in (None, patient):
        groups = np.arange(30) if unit is None else patient
        without = [
            [[roc_auc(truth[groups != k], s[groups != k]) for k in range(groups.max() + 1)] for s in modality]
            for modality in scores
        ]
        values = [[roc_auc(truth, s) for s in modality] for modality in scores]
        study = rating_study(truth, scores, unit=None if unit is None else [f"p{number}" for number in unit])
        expected = obuchowski_rockette(values, without)
        assert study.components.n_units == groups.max() + 1
        assert study.random_both.p_value == pytest.approx(expected.random_both.p_value)
        assert study.components.variance == pytest.approx(expected.components.variance)


def test_leaving_out_in_blocks(monkeypatch):
    truth, scores = ratings()
    whole = rating_study(truth, scores)
    monkeypatch.setattr(reader_covariance, "BLOCK", 7 * 60)
    assert rating_study(truth, scores).random_both == whole.random_both
    seen = []
    leave_one_out(lambda weights: seen.append(weights.shape) or weights.sum(axis=1), np.arange(60))
    assert max(shape[0] for shape in seen) == 7


def test_delong_in_loops():
    truth, scores = ratings(n_readers=2, n_cases=25)
    auc, covariance = delong_covariance(truth, scores)
    cells = [scores[i, j] for i in range(2) for j in range(2)]

    def win(diseased, healthy):
        return 1.0 if diseased > healthy else 0.5 if diseased == healthy else 0.0

    sick, well = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    v10 = np.array([[np.mean([win(s[a], s[b]) for b in well]) for a in sick] for s in cells])
    v01 = np.array([[np.mean([win(s[a], s[b]) for a in sick]) for b in well] for s in cells])
    expected = np.zeros((4, 4))
    for r, c in itertools.product(range(4), range(4)):
        expected[r, c] = np.sum((v10[r] - v10[r].mean()) * (v10[c] - v10[c].mean())) / (len(sick) * (len(sick) - 1))
        expected[r, c] += np.sum((v01[r] - v01[r].mean()) * (v01[c] - v01[c].mean())) / (len(well) * (len(well) - 1))
    assert auc.ravel() == pytest.approx([roc_auc(truth, s) for s in cells])
    assert covariance.reshape(4, 4) == pytest.approx(expected)


def test_delong_and_jackknife_are_close():
    truth, scores = ratings(n_cases=200)
    by_cases, delong = rating_study(truth, scores), rating_study(truth, scores, covariance="delong")
    assert delong.values == pytest.approx(by_cases.values)
    for name in ("variance", "cov1", "cov2", "cov3"):
        assert getattr(delong.components, name) == pytest.approx(getattr(by_cases.components, name), rel=0.02)
    assert delong.random_both.p_value == pytest.approx(by_cases.random_both.p_value, abs=0.01)


def test_partial_area_is_standardised():
    truth, scores = ratings(n_cases=120)
    study = rating_study(truth, scores, figure="partial_auc", fpr_range=(0, 0.2))
    assert study.values[1, 2] == pytest.approx(partial_auc(truth, scores[1, 2], fpr_range=(0, 0.2)).mcclish)
    whole = rating_study(truth, scores, figure="partial_auc", fpr_range=(0, 1))
    assert whole.random_both.p_value == pytest.approx(rating_study(truth, scores).random_both.p_value)


@pytest.mark.parametrize("method", ["obuchowski_rockette", "dorfman_berbaum_metz"])
def test_one_reader(method):
    truth, scores = ratings(n_readers=1)
    study = rating_study(truth, scores, method=method)
    for test in (study.random_both, study.fixed_cases):
        assert math.isnan(test.p_value)
        assert math.isnan(test.differences[0].low)
        assert math.isnan(test.means[0].low)
        assert test.means[0].value == pytest.approx(roc_auc(truth, scores[0, 0]))
        assert "one reader" in test.undefined
    test = study.fixed_readers
    assert not test.undefined
    assert test.differences[0].p_value == pytest.approx(test.p_value)
    assert test.means[0].low < test.means[0].value < test.means[0].high


def test_one_reader_with_delong_is_delongs_test():
    truth, scores = ratings(n_readers=1)
    auc, covariance = delong_covariance(truth, scores)
    c = covariance.reshape(2, 2)
    z = (auc[0, 0] - auc[1, 0]) / math.sqrt(c[0, 0] + c[1, 1] - 2 * c[0, 1])
    study = rating_study(truth, scores, covariance="delong")
    assert study.fixed_readers.p_value == pytest.approx(2 * norm.sf(abs(z)))


@pytest.mark.parametrize("method", ["obuchowski_rockette", "dorfman_berbaum_metz"])
def test_one_modality(method):
    truth, scores = ratings(n_modalities=2)
    both, alone = (rating_study(truth, s, method=method) for s in (scores, scores[:1]))
    for design in ("random_both", "fixed_readers", "fixed_cases"):
        test = getattr(alone, design)
        assert math.isnan(test.p_value)
        assert test.differences == test.reader_differences == ()
        assert "one modality" in test.undefined
        # a modality's mean comes from its own data
        assert (test.means[0].low, test.means[0].high) == pytest.approx(
            (getattr(both, design).means[0].low, getattr(both, design).means[0].high)
        )


def test_a_single_reader_and_modality():
    truth, scores = ratings(n_modalities=1, n_readers=1)
    study = rating_study(truth, scores)
    assert math.isnan(study.fixed_readers.p_value)
    assert study.fixed_readers.means[0].standard_error == pytest.approx(math.sqrt(study.components.variance))


def test_every_pair_and_name():
    truth, scores = ratings(n_modalities=3)
    study = rating_study(truth, scores, modalities=["CT", "MR", "US"], readers="ABCD", confidence=0.9)
    test = study.random_both
    assert [(d.first, d.second) for d in test.differences] == [("CT", "MR"), ("CT", "US"), ("MR", "US")]
    assert [m.modality for m in test.means] == ["CT", "MR", "US"]
    assert len(study.fixed_readers.reader_differences) == 3 * 4
    (narrow, wide) = test.differences[0], rating_study(truth, scores).random_both.differences[0]
    assert wide.low < narrow.low < narrow.high < wide.high


def test_wrong_ratings():
    truth, scores = ratings()
    broken = scores.copy()
    broken[1, 2, 17] = np.nan
    with pytest.raises(TableError, match="reader C in modality 2 for case number 17"):
        rating_study(truth, broken, readers="ABCD")
    broken[1, 2, 17] = np.inf
    with pytest.raises(TableError, match="reader 3 in modality 2 for case number 17"):
        rating_study(truth, broken)
    with pytest.raises(TableError, match="shape \\(modality, reader, case\\)"):
        rating_study(truth, scores[0])
    with pytest.raises(TableError, match="one label a case"):
        rating_study(truth[1:], scores)
    with pytest.raises(TableError, match="numbers of shape"):
        rating_study(truth, [[[1, 2], [1]]])
    with pytest.raises(TableError, match="one kind only"):
        rating_study(np.ones(60), scores)
    with pytest.raises(TableError, match="0 or 1"):
        rating_study(truth + 1, scores)
    with pytest.raises(TableError, match="not defined without case or patient number 3"):
        rating_study(np.arange(60) == 3, scores)
    with pytest.raises(TableError, match="4 readers have figures, but 2"):
        rating_study(truth, scores, readers="AB")
    with pytest.raises(TableError, match="must differ"):
        rating_study(truth, scores, readers="AABC")


def test_wrong_options():
    truth, scores = ratings()
    for options in (
        {"figure": "kappa"},
        {"method": "anova"},
        {"covariance": "bootstrap"},
        {"covariance": "delong", "figure": "partial_auc"},
        {"covariance": "delong", "unit": np.arange(60)},
        {"covariance": "delong", "method": "dorfman_berbaum_metz"},
        {"figure": "partial_auc", "fpr_range": (0.2, 0.1)},
        {"unit": np.arange(3)},
        {"unit": [None, *range(59)]},
        {"confidence": 95},
    ):
        with pytest.raises(TableError):
            rating_study(truth, scores, **options)


def test_wrong_figures():
    for values, without in (
        ([0.5, 0.6], None),
        (VALUES, None),
        (VALUES, np.zeros((2, 2, 1))),
        (VALUES, np.zeros((2, 3, 5))),
        (VALUES * np.nan, np.zeros((2, 2, 5))),
    ):
        with pytest.raises(TableError):
            obuchowski_rockette(values, without)
    with pytest.raises(TableError, match="n_units"):
        obuchowski_rockette(VALUES, covariance=np.zeros((2, 2, 2, 2)))
    with pytest.raises(TableError, match="must be finite numbers of shape"):
        obuchowski_rockette(VALUES, covariance=np.zeros((4, 4)), n_units=9)


CASES = {"case_id": list("abcdefgh")}  # a to d: a lesion; a has two
LESIONS = {"case_id": list("aabcd"), "x": [0, 50, 0, 0, 0], "y": [0] * 5, "z": [0] * 5, "diameter_mm": [10] * 5}


def search_marks(seed=0):
    """Both readers in both modalities: each lesion is hit with a score, four cases get a false mark."""
    random, rows = np.random.default_rng(seed), []
    for modality, reader in itertools.product(("film", "screen"), ("ann", "bob")):
        for case_id, x in zip(LESIONS["case_id"], LESIONS["x"]):
            if random.random() < 0.8:
                rows.append((modality, reader, case_id, x, random.random() + 0.5))
        rows += [(modality, reader, case_id, 200, random.random()) for case_id in "aefg"]
    columns = dict(zip(("modality", "reader", "case_id", "x", "score"), map(list, zip(*rows))))
    return {**columns, "y": [0] * len(rows), "z": [0] * len(rows)}


def of_reader(marks, modality, reader):
    rows = [i for i, pair in enumerate(zip(marks["modality"], marks["reader"])) if pair == (modality, reader)]
    return {name: [values[i] for i in rows] for name, values in marks.items()}


def without_cases(table, dropped):
    rows = [i for i, case_id in enumerate(table["case_id"]) if case_id not in dropped]
    return {name: [values[i] for i in rows] for name, values in table.items()}


@pytest.mark.parametrize("patients", [list("abcdefgh"), list("abcdaefg")])
def test_marks_are_those_of_each_reader(patients):
    """The figures and leave-one-patient-out figures of tables from which the rows were taken away."""
    marks, cases = search_marks(), {**CASES, "patient_id": patients}
    study = mark_study(cases, marks, LESIONS)
    assert (study.modalities, study.readers) == (("film", "screen"), ("ann", "bob"))

    def figures(dropped):
        tables = [without_cases(table, dropped) for table in (cases, marks, LESIONS)]
        return np.array([
            [wafroc_auc(match_marks(tables[0], of_reader(tables[1], m, r), tables[2])) for r in study.readers]
            for m in study.modalities
        ])  # fmt: skip

    assert study.values == pytest.approx(figures(()))
    names = sorted(set(patients))
    left_out = [figures([c for c, p in zip(cases["case_id"], patients) if p == name]) for name in names]
    expected = obuchowski_rockette(figures(()), np.stack(left_out, axis=-1))
    assert study.components.n_units == len(names)
    assert study.random_both.p_value == pytest.approx(expected.random_both.p_value)
    assert study.fixed_readers.p_value == pytest.approx(expected.fixed_readers.p_value)
    other = mark_study(cases, marks, LESIONS, method="dorfman_berbaum_metz")
    assert other.random_both.p_value == pytest.approx(study.random_both.p_value)


def test_marks_from_files(tmp_path):
    marks = search_marks()
    for name, table in (("cases", CASES), ("marks", marks), ("lesions", LESIONS)):
        lines = [",".join(table), *(",".join(map(str, row)) for row in zip(*table.values()))]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    study = mark_study(*(tmp_path / f"{name}.csv" for name in ("cases", "marks", "lesions")))
    assert study.random_both == mark_study(CASES, marks, LESIONS).random_both


def test_a_reader_who_marked_nothing():
    marks = search_marks()
    rows = [i for i, pair in enumerate(zip(marks["modality"], marks["reader"])) if pair != ("screen", "bob")]
    marks = {name: [values[i] for i in rows] for name, values in marks.items()}
    with pytest.raises(TableError, match="reader bob has no mark in modality screen"):
        mark_study(CASES, marks, LESIONS)
    study = mark_study(CASES, marks, LESIONS, readers=["bob", "ann"], modalities=["film", "screen"])
    assert study.values[1, 0] == 0.5  # every lesion ties with every lesion-free case
    assert study.readers == ("bob", "ann")


def test_cases_whose_lesions_have_no_place_do_not_enter():
    cases = {"case_id": [*CASES["case_id"], "i"], "label": [1] * 4 + [0] * 4 + [1], "localised": [1] * 8 + [0]}
    study, expected = (mark_study(table, search_marks(), LESIONS) for table in (cases, CASES))
    assert study.random_both == expected.random_both
    assert study.components.n_units == 8


def test_wrong_marks():
    marks = search_marks()
    with pytest.raises(TableError, match="marks of reader bob, but those given are ann"):
        mark_study(CASES, marks, LESIONS, readers=["ann"])
    with pytest.raises(TableError, match="the column reader is missing"):
        mark_study(CASES, {k: v for k, v in marks.items() if k != "reader"}, LESIONS)
    with pytest.raises(TableError, match="row 3 has no modality"):
        mark_study(CASES, {**marks, "modality": ["film", "film", "", *marks["modality"][3:]]}, LESIONS)
    with pytest.raises(TableError, match="reader ann, modality film: .*case z is not in the table of cases"):
        mark_study(CASES, {**marks, "case_id": ["z", *marks["case_id"][1:]]}, LESIONS)
    with pytest.raises(TableError, match="one kind only"):
        mark_study(CASES, marks, {name: [] for name in LESIONS})
    with pytest.raises(TableError, match="not defined without case or patient number 0"):
        mark_study({**CASES, "patient_id": list("aaaabcde")}, marks, LESIONS)
    with pytest.raises(TableError, match="rule"):
        mark_study(CASES, marks, LESIONS, rule="near")
    with pytest.raises(TableError, match="figure 'auc'"):
        mark_study(CASES, marks, LESIONS, figure="auc")
    with pytest.raises(TableError, match="differ in length"):
        mark_study(CASES, {**marks, "reader": marks["reader"][1:]}, LESIONS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "design", ["random_readers_random_cases", "fixed_readers_random_cases", "random_readers_fixed_cases"]
)
@pytest.mark.parametrize("structure", ["AUC 0.70, readers alike", "AUC 0.86, readers unlike"])
def test_studies_without_a_difference_are_rarely_called_different(design, structure):
    """At 0.05, of 400 studies: 0.011 is the standard error of the rate, and the limits are four of them away."""
    specification = importlib.util.spec_from_file_location("validate_readers", SCRIPT)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    rates = script.rejection_rates(script.STRUCTURES[structure], design, simulations=400, seed=5)
    assert (rates > 0.006).all()
    assert (rates < 0.094).all()
