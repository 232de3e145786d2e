"""The published analysis of a reader study: Van Dyke 1993, spin-echo against cine MR in aortic dissection.

114 patients, 45 with a dissection, 5 readers, ratings 1 to 5 (Van Dyke CW et al., Cine MRI in the diagnosis of thoracic
aortic dissection, 79th RSNA Meetings 1993). The data and the expected answers are those that the software of Hillis,
Obuchowski and Berbaum (OR-DBM MRMC 2.51) is distributed and described with.
"""

import numpy as np
import pytest

from medseg.evaluation import rating_study, reader_study_power, reader_study_sample_size

# a line a reader, a pair a patient: rating in spin-echo, rating in cine MR
WITHOUT = (
    "13 23 23 12 52 12 12 12 13 12 11 13 41 12 12 12 12 12 12 11 11 11 31 11 34 12 11 23 11 42 12 11 14 13 12 33 "
    "11 22 13 21 12 12 22 33 33 11 31 11 13 33 33 11 11 13 14 11 12 24 22 11 12 14 11 34 34 22 11 11 11",
    "23 32 22 22 22 22 22 22 23 32 22 22 52 22 22 21 32 22 22 22 21 22 22 22 43 22 22 22 22 32 22 21 22 22 21 22 "
    "22 22 22 22 23 21 22 22 23 22 22 22 22 22 22 22 22 22 23 22 22 43 32 22 22 32 22 22 22 22 21 22 22",
    "22 24 22 22 32 52 13 12 22 22 41 21 41 23 22 22 32 22 21 22 11 21 32 21 44 11 11 35 21 22 11 11 22 21 22 42 "
    "12 21 12 42 12 21 11 13 22 21 21 21 22 23 33 21 11 13 22 12 11 22 23 12 13 54 11 42 24 12 21 12 21",
    "12 12 11 11 11 11 33 11 12 11 11 11 11 12 12 11 11 11 12 11 21 11 11 11 23 12 11 12 11 22 11 11 11 11 12 12 "
    "11 11 12 11 11 11 11 11 12 11 12 11 32 31 12 12 11 11 11 11 11 12 11 12 11 11 11 33 12 13 12 11 11",
    "32 52 13 21 12 12 12 12 21 22 22 12 21 11 11 12 22 22 11 12 32 22 21 12 13 12 12 23 12 11 22 11 12 22 32 12 "
    "21 21 12 11 12 31 31 33 22 11 12 12 23 13 12 11 12 12 12 12 11 32 42 12 22 33 11 22 13 23 11 11 31",
)
WITH = (
    "55 53 55 55 45 55 55 55 44 55 55 55 45 34 44 23 43 55 55 55 55 55 55 55 13 55 45 43 55 45 55 55 34 54 55 55 "
    "15 13 55 55 55 45 45 55 11",
    "55 33 55 55 55 55 55 45 22 55 55 55 43 44 24 22 24 55 54 55 55 55 54 55 22 45 32 33 55 45 55 53 22 44 22 55 "
    "25 22 55 55 55 55 35 55 22",
    "55 42 55 55 55 55 55 55 55 55 55 55 53 45 24 31 54 55 55 55 55 55 55 55 22 55 23 23 55 55 55 54 23 55 55 55 "
    "25 23 54 55 55 55 55 55 21",
    "55 54 55 55 55 55 55 55 54 55 55 55 54 55 55 15 55 55 55 55 55 55 55 55 54 55 45 54 44 45 55 55 35 55 55 55 "
    "15 23 55 55 55 55 55 55 55",
    "55 22 55 24 55 55 55 55 15 54 45 55 43 54 23 23 33 55 55 55 55 55 55 45 12 45 41 33 23 22 15 53 12 55 14 55 "
    "15 13 53 55 55 35 55 55 23",
)


@pytest.fixture(scope="module")
def ratings():
    def numbers(rows):
        return np.array([[[int(first), int(second)] for first, second in row.split()] for row in rows])

    without, dissected = numbers(WITHOUT), numbers(WITH)
    truth = np.repeat([0, 1], [without.shape[1], dissected.shape[1]])
    return truth, np.concatenate([without, dissected], axis=1).transpose(2, 0, 1).astype(float)


@pytest.mark.parametrize("method", ["obuchowski_rockette", "dorfman_berbaum_metz"])
def test_readers_and_cases_random(ratings, method):
    test = rating_study(*ratings, method=method).random_both
    assert test.f == pytest.approx(4.456319, abs=1e-6)
    assert test.df_denominator == pytest.approx(15.25967, abs=1e-5)
    assert test.p_value == pytest.approx(0.0516657, abs=1e-7)
    assert [test.differences[0].low, test.differences[0].high] == pytest.approx([-0.08796, 0.00036], abs=1e-5)


def test_fixed_readers_and_fixed_cases(ratings):
    study = rating_study(*ratings)
    assert study.fixed_readers.f == pytest.approx(5.475953, abs=1e-6)
    assert study.fixed_readers.p_value == pytest.approx(0.0192798, abs=1e-7)
    assert study.fixed_cases.f == pytest.approx(8.7040, abs=1e-4)
    assert study.fixed_cases.p_value == pytest.approx(0.0419588, abs=1e-7)
    pseudovalues = rating_study(*ratings, method="dorfman_berbaum_metz")
    assert pseudovalues.fixed_readers.p_value == pytest.approx(0.0210350, abs=1e-7)


def test_covariances(ratings):
    study = rating_study(*ratings)
    parts = study.components
    assert [parts.variance, parts.cov1, parts.cov2, parts.cov3] == pytest.approx(
        [0.00080229, 0.00034661, 0.00034407, 0.00023903], abs=1e-8
    )
    assert [parts.reader, parts.modality_reader] == pytest.approx([0.00153500, 0.00020040], abs=1e-8)
    delong = rating_study(*ratings, covariance="delong").random_both
    assert [delong.f, delong.p_value] == pytest.approx([4.484854, 0.0512330], abs=1e-6)


def test_power_and_sample_size(ratings):
    study = rating_study(*ratings)
    power = reader_study_power(study, n_readers=10, n_cases=165, difference=0.043800322)
    assert power.power == pytest.approx(0.80541995, abs=1e-6)
    difference = study.random_both.differences[0].value
    assert reader_study_sample_size(study, n_readers=6, difference=difference).n_cases == 251
