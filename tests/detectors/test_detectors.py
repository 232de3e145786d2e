"""Targets, losses and decoding, on arrays whose answers can be counted."""

import numpy as np
import pytest
import torch

from medseg.detectors.heatmap import EXTENT_PRIOR, HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import HeatmapSettings, SegmentationSettings


def two_boxes():
    instances = np.zeros((20, 30), np.int16)  # (y, x)
    instances[4:9, 6:13] = 1  # centre y 6, x 9; extents 5 and 7
    instances[12:15, 20:23] = 2  # centre y 13, x 21; extents 3 and 3
    return instances


def test_heatmap_kernel_is_the_stated_gaussian():
    detector = HeatmapDetector(HeatmapSettings(sigma_fraction=0.5, min_sigma=1.0), ("a",))
    heat = detector.encode(two_boxes(), np.array([0, 0, 0]), -1)[0]
    assert heat[6, 9] == 1
    assert heat[13, 21] == 1
    # two voxels right of the first centre: sigma_x = 0.5 * 7
    assert heat[6, 11] == pytest.approx(np.exp(-(2**2) / (2 * 3.5**2)))
    assert heat[8, 9] == pytest.approx(np.exp(-(2**2) / (2 * 2.5**2)))


def test_heatmap_of_a_perfect_network_decodes_to_the_lesions():
    detector = HeatmapDetector(HeatmapSettings(), ("a", "b"))
    target = detector.encode(two_boxes(), np.array([0, 1, 0]), -1)
    maps = np.concatenate([target[:2], np.exp(target[2:4])])[:, None]  # (map, z, y, x)
    found = detector.decode(maps, min_score=0.5, max_candidates=10)
    assert [(c.class_index, c.centre, c.score) for c in found] == [
        (0, (21.0, 13.0, 0.0), 1.0),
        (1, (9.0, 6.0, 0.0), 1.0),
    ]
    box = next(c for c in found if c.class_index == 1)
    # half-open ranges: x 6 to 13, y 4 to 9, z 0 to 1
    assert box.low == pytest.approx((6.0, 4.0, 0.0), abs=1e-5)
    assert box.high == pytest.approx((13.0, 9.0, 1.0), abs=1e-5)


def test_heatmap_loss_prefers_the_truth_and_is_finite_without_lesions():
    detector = HeatmapDetector(HeatmapSettings(), ("a",))
    target = torch.from_numpy(detector.encode(two_boxes(), np.array([0, 0, 0]), -1))[None]
    extents = target[:, 1:3] - float(np.log(EXTENT_PRIOR))
    good = torch.cat([torch.where(target[:, :1] == 1, 12.0, -4.0), extents], dim=1)
    assert detector.loss(good, target) < 0.1 * detector.loss(torch.zeros_like(good), target)
    empty = torch.from_numpy(detector.encode(np.zeros((20, 30), np.int16), np.array([0]), -1))[None]
    assert torch.isfinite(detector.loss(torch.zeros_like(good), empty))


def test_loss_is_float32_under_autocast_output():
    target = torch.zeros(1, 4, 8, 8)
    target[0, :, 4, 4] = 1
    assert (
        HeatmapDetector(HeatmapSettings(), ("a",)).loss(torch.zeros(1, 3, 8, 8).bfloat16(), target).dtype
        == torch.float32
    )
    segmentation = SegmentationDetector(SegmentationSettings(), ("a",))
    assert segmentation.loss(torch.zeros(1, 1, 8, 8).bfloat16(), target[:, :1]).dtype == torch.float32


def test_segmentation_decodes_every_component_with_size_and_position():
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak", min_voxels=1), ("a",))
    probability = np.zeros((1, 1, 20, 30), np.float32)
    probability[0, 0][two_boxes() == 1] = 0.9
    probability[0, 0][two_boxes() == 2] = 0.2
    first, second = detector.decode(probability, min_score=0.1, max_candidates=10)
    assert (first.score, first.voxels, first.centre) == (pytest.approx(0.9), 35, (9.0, 6.0, 0.0))
    assert (second.score, second.voxels, second.centre) == (pytest.approx(0.2), 9, (21.0, 13.0, 0.0))
    assert first.low == (6.0, 4.0, 0.0)
    assert first.high == (13.0, 9.0, 1.0)
    assert detector.decode(probability, min_score=0.5, max_candidates=10) == [first]
    assert detector.decode(probability, min_score=0.1, max_candidates=1) == [first]


def test_dice_over_the_batch_by_hand():
    """Dice loss of half-overlapping areas, cross-entropy of saturated logits aside."""
    detector = SegmentationDetector(SegmentationSettings(loss="dice_ce"), ("a",))
    target = torch.zeros(1, 1, 4, 4)
    target[..., :2] = 1  # 8 voxels
    perfect = torch.where(target > 0, 30.0, -30.0)
    assert detector.loss(perfect, target) == pytest.approx(0, abs=1e-4)
    wrong = -perfect
    assert detector.loss(wrong, target) > 25


def test_a_peak_inside_a_better_candidates_box_is_dropped():
    maps = np.full((3, 1, 40, 40), 1e-4)  # heat, then extents along y and x
    maps[1:] = 10
    for (y, x), score in {(10, 10): 0.9, (14, 13): 0.8, (10, 16): 0.7, (30, 30): 0.6}.items():
        maps[0, 0, y, x] = score
    kept = HeatmapDetector(HeatmapSettings(), ("a",)).decode(maps, min_score=0.1, max_candidates=10)
    # (14, 13) is 4 and 3 pixels away from the best, inside its box of 10; (10, 16) is 6 away, outside
    assert [c.score for c in kept] == [0.9, 0.7, 0.6]
    everything = HeatmapDetector(HeatmapSettings(suppression=0), ("a",)).decode(maps, min_score=0.1, max_candidates=10)
    assert [c.score for c in everything] == [0.9, 0.8, 0.7, 0.6]


def bumps(*peaks, shape=(1, 60, 80)):
    """Sum of Gaussians: (z, y, x, height, sigma)."""
    z, y, x = np.mgrid[tuple(slice(n) for n in shape)].astype(float)
    total = np.zeros(shape)
    for cz, cy, cx, height, sigma in peaks:
        total += height * np.exp(-((z - cz) ** 2 + (y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
    return total.astype(np.float32)


def test_one_blob_is_one_candidate_and_its_skirt_is_none():
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak"), ("a",))
    for shape, z in (((1, 60, 80), 0), ((20, 60, 80), 9)):
        (only,) = detector.decode(bumps((z, 30, 40, 0.95, 6), shape=shape)[None], min_score=0.01, max_candidates=50)
        assert only.centre == pytest.approx((40, 30, z))
        # the region above 0.4 of the peak has radius sigma * sqrt(2 ln 2.5) = 8.1
        assert only.high[0] - only.low[0] == 17


def test_noise_on_a_blob_adds_no_candidates_above_its_floor():
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak"), ("a",))
    noisy = bumps((0, 30, 40, 0.9, 6)) * np.random.default_rng(0).uniform(0.8, 1, (1, 60, 80)).astype(np.float32)
    assert len(detector.decode(noisy[None], min_score=0.1, max_candidates=50)) == 1


def test_a_lower_lesion_beside_a_higher_one_keeps_its_own_region():
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak"), ("a",))
    high, low = detector.decode(
        bumps((0, 30, 25, 0.9, 5), (0, 30, 45, 0.3, 5))[None], min_score=0.05, max_candidates=50
    )
    assert high.centre[0] == pytest.approx(25, abs=0.5)
    assert low.centre[0] == pytest.approx(45, abs=1)
    assert low.score == pytest.approx(0.3, abs=0.01)
    assert low.low[0] > 34


def test_plateaus_have_one_peak():
    detector = SegmentationDetector(SegmentationSettings(candidate_score="peak"), ("a",))
    assert len(detector.decode(np.full((1, 4, 12, 12), 0.5, np.float32), min_score=0.01, max_candidates=50)) == 1
