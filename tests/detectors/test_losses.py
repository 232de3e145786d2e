"""Losses of masks against MONAI, NumPy, torch.topk and numbers counted by hand, and their gradients."""

import numpy as np
import pytest
import torch
from monai.losses import FocalLoss, TverskyLoss
from torch.nn import functional

from medseg.detectors.levels import over_levels
from medseg.detectors.losses import dice_loss, entropies, focal_factor, focal_tversky_loss, hardest_mean, probabilities
from medseg.detectors.segmentation import SegmentationDetector, component_weights
from medseg.detectors.settings import SegmentationSettings

LOSSES = ("dice_ce", "dice_focal", "focal", "tversky_focal", "dice_topk", "dice_balanced")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def masks(*shape, seed=1, share=0.3):
    """One class a voxel at most."""
    random = np.random.default_rng(seed)
    number = random.integers(0, shape[1], (shape[0], *shape[2:]))
    lesion = random.random(number.shape) < share
    return torch.from_numpy(np.stack([lesion & (number == c) for c in range(shape[1])], axis=1)).double()


@pytest.mark.parametrize("over", ["batch", "sample"])
@pytest.mark.parametrize("shape", [(3, 1, 8, 9), (2, 3, 4, 5, 6)])
def test_focal_tversky_is_monais_tversky_loss_raised_to_a_power(over, shape):
    probability, target = draw(*shape).sigmoid(), masks(*shape)
    monai = TverskyLoss(alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1, batch=over == "batch", reduction="none")
    expected = (monai(probability, target) ** 0.75).mean()
    found = focal_tversky_loss(probability, target, over=over, alpha=0.7, gamma=4 / 3)
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_focal_tversky_by_hand():
    """2 of 5 voxels found, 1 false: TI = 3 / (3 + 0.7 * 3 + 0.3 * 1) = 5 / 9; (4 / 9)^(3 / 4)."""
    target, found = torch.zeros(1, 1, 10), torch.zeros(1, 1, 10)
    target[..., :5] = 1
    found[..., 3:6] = 1
    value = focal_tversky_loss(found, target, over="sample", alpha=0.7, gamma=4 / 3)
    assert float(value) == pytest.approx((4 / 9) ** 0.75, rel=1e-6)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.37, 1.0])
def test_hardest_mean_is_that_of_topk_and_so_is_its_gradient(fraction):
    values = draw(2, 3, 11, 7).abs().requires_grad_()
    k = max(1, round(fraction * values.numel()))
    expected, found = values.flatten().topk(k).values.mean(), hardest_mean(values, fraction)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-9)
    wanted, got = (torch.autograd.grad(loss, values)[0] for loss in (expected, found))
    assert torch.allclose(wanted, got, rtol=0, atol=1e-12)


def test_hardest_mean_counts_ties_once():
    """The 2 highest of 3, 1, 1, 0 are 3 and one 1; of equal values the mean is their value."""
    values = torch.tensor([1.0, 3, 0, 1], requires_grad=True)
    found = hardest_mean(values, 0.5)
    found.backward()
    assert float(found.detach()) == pytest.approx(2)
    assert values.grad.tolist() == pytest.approx([0.25, 0.5, 0, 0.25])
    assert float(hardest_mean(torch.full((8,), 5.0), 0.25)) == pytest.approx(5)


def test_every_component_and_the_background_count_the_same():
    """9 voxels: 6 background, lesions of 2 and 1: weights 9 / (3 * 6), 9 / (3 * 2), 9 / (3 * 1)."""
    instances = np.array([[0, 0, 0], [1, 1, 0], [0, 0, 2]])
    weights = component_weights(instances, np.bincount(instances.ravel()))
    assert weights[0, 0] == pytest.approx(0.5)
    assert weights[1, 0] == pytest.approx(1.5)
    assert weights[2, 2] == pytest.approx(3)
    assert [weights[instances == number].sum() for number in range(3)] == pytest.approx([3, 3, 3])
    assert component_weights(np.zeros((4, 4), int), np.array([16])) == pytest.approx(np.ones((4, 4)))
    # numbers of the case that are not in the sample do not count
    absent = component_weights(instances, np.array([6, 2, 1, 0, 0]))
    assert absent == pytest.approx(weights)


def test_a_missed_small_lesion_costs_as_much_as_a_missed_large_one():
    """Probability 0.5 everywhere but in one lesion, which is answered with 0.01: whichever of them it is."""
    detector = SegmentationDetector(SegmentationSettings(loss="dice_balanced"), ("a",))
    instances = np.zeros((20, 20), np.int16)
    instances[2:10, 2:10], instances[15, 15] = 1, 2
    target = torch.from_numpy(detector.encode(instances, np.array([0, 0, 0]), -1))[None]
    assert target.shape == (1, 2, 20, 20)

    def entropy(missed):
        logits = torch.where(torch.from_numpy(instances == missed), float(np.log(0.01 / 0.99)), 0.0)[None, None]
        return float(detector.loss(logits, target) - dice_loss(logits.sigmoid(), target[:, :1], over="batch"))

    # (log 2 + log 2 - log 0.01) / 3
    assert entropy(1) == pytest.approx((2 * np.log(2) - np.log(0.01)) / 3, rel=1e-4)
    assert entropy(2) == pytest.approx(entropy(1), rel=1e-4)


def test_exclusive_classes_have_torchs_cross_entropy_of_a_softmax():
    logits, target = draw(2, 4, 5, 6), masks(2, 3, 5, 6)
    index = torch.where(target.sum(1) > 0, target.argmax(1), 3)  # the background is last
    expected = functional.cross_entropy(logits, index, reduction="none")
    found = entropies(logits, target, positive_weight=1, exclusive=True)
    assert torch.allclose(found[:, 0], expected)
    weighted = entropies(logits, target, positive_weight=2.5, exclusive=True)[:, 0]
    assert torch.allclose(weighted, torch.where(index < 3, 2.5, 1.0) * expected)
    probability = probabilities(logits, exclusive=True)
    assert torch.allclose(probability, functional.softmax(logits, 1)[:, :3])
    focal = found * focal_factor(probability, target, 2.0, exclusive=True)
    assert torch.allclose(focal[:, 0], (1 - torch.exp(-expected)) ** 2 * expected)


def test_focal_loss_of_each_class_is_monais():
    logits, target = draw(2, 3, 5, 6), masks(2, 3, 5, 6)
    entropy = entropies(logits, target, positive_weight=1, exclusive=False)
    found = (entropy * focal_factor(logits.sigmoid(), target, 2.0, exclusive=False)).mean()
    assert float(found) == pytest.approx(float(FocalLoss(gamma=2.0)(logits, target)), rel=1e-6)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("name", ["focal", "tversky", "topk", "balanced"])
def test_gradients_are_those_of_finite_differences(name, exclusive):
    target = masks(2, 2, 3, 4)
    weights = draw(2, 1, 3, 4, seed=5).abs()

    def loss(logits):
        probability = probabilities(logits, exclusive=exclusive)
        entropy = entropies(logits, target, positive_weight=1.5, exclusive=exclusive)
        if name == "tversky":
            return focal_tversky_loss(probability, target, over="sample", alpha=0.7, gamma=4 / 3)
        if name == "focal":
            return (entropy * focal_factor(probability, target, 2.0, exclusive=exclusive)).mean()
        return hardest_mean(entropy, 0.3) if name == "topk" else (entropy * weights).mean()

    assert torch.autograd.gradcheck(loss, draw(2, 2 + exclusive, 3, 4).requires_grad_())


def example(detector, *, empty=False):
    """Logits and targets of two samples of 16 x 16 with lesions of two classes."""
    targets = []
    for shift in (0, 3):
        instances = np.zeros((16, 16), np.int16)
        if not empty:
            instances[2 : 6 + shift, 3:7], instances[12, 11 + shift] = 1, 2
        targets.append(detector.encode(instances, np.array([0, 0, 1]), -1))
    target = torch.from_numpy(np.stack(targets))
    return draw(2, detector.output_channels(2), 16, 16, dtype=torch.float32), target


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_prefers_the_truth_and_is_finite_without_lesions(loss, exclusive):
    detector = SegmentationDetector(SegmentationSettings(loss=loss, exclusive=exclusive), ("a", "b"))
    logits, target = example(detector)
    maps = target[:, :2].float()
    truth = torch.cat([maps, 1 - maps.sum(1, keepdim=True)], 1) if exclusive else maps
    assert float(detector.loss(30 * truth - 15, target)) < 0.1 * float(detector.loss(logits, target))
    logits, target = example(detector, empty=True)
    for nothing in (logits, torch.full_like(logits, -40.0), torch.full_like(logits, 40.0)):
        nothing.requires_grad_()
        value = detector.loss(nothing, target)
        assert torch.isfinite(value)
        assert torch.isfinite(torch.autograd.grad(value, nothing)[0]).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_losses_of_levels_are_weighed_and_their_targets_keep_small_lesions(loss):
    detector = SegmentationDetector(SegmentationSettings(loss=loss), ("a", "b"))
    logits, target = example(detector)
    lower = draw(2, 2, 4, 8, dtype=torch.float32, seed=2)
    coarse = target[:, :2].reshape(2, 2, 4, 4, 8, 2).amax((3, 5)).float()
    assert coarse[0, 1].sum() == 1  # the lesion of one voxel
    if loss == "dice_balanced":
        coarse = torch.cat([coarse, target[:, 2:].reshape(2, 1, 4, 4, 8, 2).mean((3, 5))], dim=1)
    expected = (detector.loss(logits, target) * 2 + detector.loss(lower, coarse)) / 3
    assert float(detector.loss((logits, lower), target)) == pytest.approx(float(expected), rel=1e-5)


def test_weights_of_three_levels():
    values = iter((7.0, 70.0, 700.0))
    outputs = tuple(torch.zeros(1, 1, side, side) for side in (8, 4, 4))
    found = over_levels(lambda o, t: torch.tensor(next(values)), outputs, torch.zeros(1, 1, 8, 8))
    assert float(found) == pytest.approx(4 + 20 + 100)  # 4 / 7, 2 / 7, 1 / 7
