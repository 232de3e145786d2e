"""Targets by rows, against the target of the whole."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.data.patches import lesion_boxes, lesion_sizes
from medseg.detectors.heatmap import HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import HeatmapSettings, SegmentationSettings

DETECTORS = [
    SegmentationDetector(SegmentationSettings(), ("a", "b")),
    SegmentationDetector(SegmentationSettings(loss="dice_balanced"), ("a", "b")),
    HeatmapDetector(HeatmapSettings(), ("a", "b")),
    HeatmapDetector(HeatmapSettings(sigma_fraction=1.0, min_sigma=4.0), ("a", "b")),  # reaches far beyond the lesion
]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(DETECTORS),
    st.sampled_from([(12, 9), (8, 5, 6)]),
    st.integers(0, 1000),
    st.lists(st.integers(0, 8), max_size=4),
)
def test_targets_of_rows_are_the_target_of_the_whole(detector, shape, seed, cuts):
    random = np.random.default_rng(seed)
    instances = np.zeros(shape, np.int16)
    for number in range(1, 5):  # later ones may cover earlier ones, and one number may be absent
        low = [int(random.integers(side)) for side in shape]
        instances[tuple(slice(first, first + int(random.integers(0, 6))) for first in low)] = number
    class_of = np.array([0, 1, 0, 1, 0])
    whole = detector.encode(instances, class_of, -1)
    edges = [0, *sorted(cuts), shape[0]]
    parts = [
        detector.encode(
            instances[a:b],
            class_of,
            -1,
            first_row=a,
            boxes=lambda: lesion_boxes([(0, instances)], len(class_of) - 1),
            sizes=lambda: lesion_sizes([(0, instances)], len(class_of) - 1),
        )
        for a, b in itertools.pairwise(edges)
    ]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert all(part.dtype == whole.dtype for part in parts)


def test_a_lesion_outside_the_rows_reaches_in_with_the_size_of_the_whole():
    detector = HeatmapDetector(HeatmapSettings(sigma_fraction=0.5, min_sigma=1.0), ("a",))
    instances = np.zeros((20, 30), np.int16)
    instances[4:9, 6:13] = 1  # centre y 6, x 9; extents 5 and 7
    target = detector.encode(
        instances[8:], np.array([0, 0]), -1, first_row=8, boxes=lambda: np.array([[[4, 9], [6, 13]]])
    )
    assert target[0, 0, 9] == pytest.approx(np.exp(-(2**2) / (2 * 2.5**2)))
    assert not target[1:].any()  # the centre, where extents are stated, lies in other rows


def test_voxels_are_counted_block_by_block():
    """Numbers 0 to 3 in two blocks of rows; 3 is nowhere."""
    blocks = [(0, np.array([[0, 1, 1], [0, 0, 2]])), (2, np.array([[2, 2, 1]]))]
    assert lesion_sizes(blocks, 3).tolist() == [3, 3, 3, 0]


def test_a_detector_of_voxels_does_not_ask_for_boxes():
    def refuse():
        raise AssertionError("asked for what it does not need")

    instances = np.ones((2, 3), np.int16)
    assert DETECTORS[0].encode(instances, np.array([0, 1]), -1, first_row=4, boxes=refuse, sizes=refuse)[1].all()
