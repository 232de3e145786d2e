"""Losses with labels that are not known, weights, and maps, against numbers counted by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from medseg.detectors.classification import ClassificationDetector, balanced_weights
from medseg.detectors.settings import ClassificationSettings

CLASSES = ("mass", "effusion", "nodule")
SEVERAL = ClassificationSettings(multi_label=True)


def test_loss_of_several_labels_is_the_mean_over_those_that_are_known():
    logits = torch.tensor([[0.0, 2.0, -1.0], [1.0, -3.0, 0.5]])
    target = torch.tensor([[1, -1, 0], [-1, -1, 1]], dtype=torch.int8)
    # -log sigmoid(0), -log(1 - sigmoid(-1)), -log sigmoid(0.5)
    by_hand = (np.log(2) + np.log1p(np.exp(-1)) + np.log1p(np.exp(-0.5))) / 3
    detector = ClassificationDetector(SEVERAL, CLASSES)
    assert float(detector.loss(logits, target)) == pytest.approx(by_hand, abs=1e-6)
    known = target >= 0
    expected = log_loss(target[known].numpy(), logits[known].sigmoid().numpy())
    assert float(detector.loss(logits, target)) == pytest.approx(expected, abs=1e-6)


def test_what_is_not_known_has_no_gradient_and_nothing_known_no_loss():
    detector = ClassificationDetector(SEVERAL, CLASSES)
    logits = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([[1, -1, 0]] * 4, dtype=torch.int8)
    detector.loss(logits, target).backward()
    assert (logits.grad[:, 1] == 0).all()
    assert (logits.grad[:, (0, 2)] != 0).all()
    nothing = detector.loss(logits, torch.full((4, 3), -1, dtype=torch.int8))
    assert float(nothing.detach()) == 0


def test_weight_of_positive_cases_by_hand():
    detector = ClassificationDetector(SEVERAL, CLASSES, class_weights=(3.0, 1.0, 1.0))
    target = torch.tensor([[1, 0, -1]], dtype=torch.int8)
    assert float(detector.loss(torch.zeros(1, 3), target)) == pytest.approx((3 * np.log(2) + np.log(2)) / 2)


def test_label_smoothing_by_hand():
    detector = ClassificationDetector(ClassificationSettings(multi_label=True, label_smoothing=0.2), ("mass",))
    loss = float(detector.loss(torch.tensor([[2.0]]), torch.tensor([[1]], dtype=torch.int8)))
    assert loss == pytest.approx(0.9 * np.log1p(np.exp(-2)) + 0.1 * np.log1p(np.exp(2)), abs=1e-6)


def test_balanced_weights_of_one_label_are_those_of_scikit_learn():
    label = np.array([0, 0, 0, 0, 0, 1, 1, 2])
    one_hot = (label[:, None] == np.arange(3)).astype(int)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=label)
    np.testing.assert_allclose(balanced_weights(one_hot, multi_label=False), expected)
    detector = ClassificationDetector(ClassificationSettings(), CLASSES, class_weights=expected.tolist())
    logits = torch.randn(8, 3)
    weighted = log_loss(label, logits.softmax(1).numpy(), sample_weight=expected[label])
    assert float(detector.loss(logits, torch.from_numpy(label))) == pytest.approx(weighted, abs=1e-6)


def test_balanced_weights_of_several_labels_leave_out_what_is_not_known():
    labels = np.array([[1, 0, -1], [0, 0, 1], [0, -1, 1], [0, 0, -1]])
    # mass 1 of 4: 3 negative / 1 positive; effusion has no positive; nodule has no negative
    assert balanced_weights(labels, multi_label=True) == [3.0, 1.0, 1.0]


def test_one_label_is_as_before():
    detector = ClassificationDetector(ClassificationSettings(), CLASSES)
    logits, label = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    assert float(detector.loss(logits, label)) == pytest.approx(float(functional.cross_entropy(logits, label)))
    assert detector.encode(np.zeros((2, 2), int), np.array([0]), 2) == 2


def test_labels_of_an_image_are_its_target():
    detector = ClassificationDetector(SEVERAL, CLASSES)
    target = detector.encode(np.zeros((2, 2), int), np.array([0]), -1, labels=np.array([1, -1, 0]))
    assert target.tolist() == [1, -1, 0]
    assert detector.validation_metric == "mean_auc"


def test_evidence_of_one_label_is_against_the_first_class():
    maps = torch.randn(1, 3, 4, 5)
    detector = ClassificationDetector(ClassificationSettings(), CLASSES)
    evidence = detector.evidence(maps)
    assert (evidence[:, 0] == 0).all()
    torch.testing.assert_close(evidence, detector.evidence(maps + torch.randn(1, 1, 4, 5)))  # added to all logits
    torch.testing.assert_close(evidence.sum((2, 3)), maps.mean((2, 3)) - maps.mean((2, 3))[:, :1])


def test_map_is_the_fall_of_the_odds_times_the_probability():
    evidence = np.log(np.array([1.0, 2.0, 4.0, 0.5], np.float32)).reshape(1, 1, 1, 4)
    probability = np.array([0.8]).reshape(1, 1, 1, 1)
    found = ClassificationDetector.localise(probability, evidence).ravel()
    np.testing.assert_allclose(found, [0, 0.8 * 0.5, 0.8 * 0.75, 0], atol=1e-6)  # odds divided by 1, 2, 4; or doubled


def test_candidates_of_classes():
    detector = ClassificationDetector(SEVERAL, CLASSES)
    maps = np.zeros((3, 1, 20, 20), np.float32)
    maps[0, 0, 2:6, 3:9] = 0.4
    maps[2, 0, 10:15, 10:13] = 0.7
    nodule, mass = detector.decode(maps, min_score=0.1, max_candidates=5)
    assert (nodule.class_index, nodule.score, nodule.centre) == (2, pytest.approx(0.7), (11.0, 12.0, 0.0))
    assert (mass.class_index, mass.low, mass.high) == (0, (3.0, 2.0, 0.0), (9.0, 6.0, 1.0))
