"""What validation measures of a classifier, counted by hand."""

import math

import numpy as np
import pytest

from medseg.detectors.candidates import Candidate
from medseg.training.class_validation import class_aucs, weak_hits


def test_auc_of_classes_leaves_out_what_is_not_known():
    labels = np.array([[1, 1, 0], [0, -1, 0], [1, 0, -1], [0, -1, 0]])
    scores = np.array([[0.9, 0.1, 0.5], [0.4, 0.9, 0.2], [0.3, 0.6, 0.1], [0.2, 0.8, 0.9]])
    found = class_aucs(("mass", "effusion", "nodule"), labels, scores)
    # mass: of 4 pairs 0.3 < 0.4 is wrong; effusion: the one pair is wrong; nodule: no case with it
    assert found == {"mean_auc": pytest.approx(3 / 8), "auc_mass": 0.75, "auc_effusion": 0.0}
    nothing = class_aucs(("mass",), np.full((2, 1), -1), np.zeros((2, 1)))
    assert math.isnan(nothing.pop("mean_auc"))
    assert not nothing


def test_findings_where_only_the_classes_are_known():
    places = [Candidate((0, 0, 0), (0, 0, 0), (1, 1, 1), 1, 0.5, index) for index in (2, 0, 1, 2)]
    hits, neither, n_lesions = weak_hits(places, np.array([0, -1, 1]))
    assert hits == [(0, 0), (3, 0)]  # both of class 2, which the image shows
    assert neither == {2}  # of class 1 nothing is known; finding 1, of class 0, is false
    assert n_lesions == 1
