"""Which candidates lie on a lesion, counted by hand."""

import numpy as np
import pytest

from medseg.evaluation.report import evidence_of_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.experiment.probabilities import calibration_of, marks_on_lesions

QUICK = EvaluationSettings(n_replicates=20)


@pytest.fixture
def tables():
    cases = {"case_id": ["a", "b", "c"], "score": [0.9, 0.5, ""], "status": ["ok", "ok", "failed"]}
    marks = {"case_id": ["a", "a", "a", "b", "b"], "x": [0, 1, 50, 0, 20], "y": [0] * 5, "z": [0] * 5}
    marks["score"] = [0.9, 0.8, 0.3, 0.5, 0.4]
    lesions = {"case_id": ["a", "b", "c"], "x": [0, 0, 0], "y": [0] * 3, "z": [0] * 3, "diameter_mm": [10] * 3}
    lesions["ignore"] = [0, 1, 0]
    return cases, marks, lesions


def test_a_second_mark_on_a_lesion_is_on_it_too_and_one_on_an_ignored_lesion_is_not_known(tables):
    cases, marks, lesions = tables
    evidence = evidence_of_tables(cases, marks, lesions, settings=QUICK)
    expected = [1, 1, 0, np.nan, 0]
    np.testing.assert_array_equal(marks_on_lesions(evidence, marks, lesions, "distance", None), expected)
    pairs = [(0, 0), (1, 0), (3, 1)]
    np.testing.assert_array_equal(marks_on_lesions(evidence, marks, lesions, "inside", pairs), expected)
    np.testing.assert_array_equal(marks_on_lesions(evidence, marks, lesions, "inside", []), np.zeros(5))


def test_failed_cases_and_empty_cells_have_no_probability(tables):
    cases, marks, lesions = tables
    evidence = evidence_of_tables(cases, marks, lesions, settings=QUICK)
    truth = np.array([1, 1, 0, np.nan, 0])
    case_rows = [{"case_id": "a", "probability": "0.75"}, {"case_id": "b", "probability": "0.5"}, {"case_id": "c"}]
    mark_rows = [{"case_id": name, "probability": p} for name, p in zip("aaabb", ("0.5", "", "0.5", "0.9", "0"))]
    found = calibration_of(evidence, case_rows, QUICK, mark_rows, truth)["calibration"]
    # cases: a has a lesion, b has none that counts; marks: the second has no probability, the fourth is neither
    assert (found["case"]["n"], found["case"]["brier"]["value"]) == (2, pytest.approx((0.25**2 + 0.5**2) / 2))
    assert (found["candidate"]["n"], found["candidate"]["n_positive"]) == (3, 1)
    assert found["candidate"]["brier"]["value"] == pytest.approx((0.25 + 0.25 + 0) / 3)
    assert calibration_of(evidence, [{"case_id": name} for name in "abc"], QUICK) == {}
