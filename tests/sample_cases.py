"""Small cases and the samples that are made of them, for tests."""

import numpy as np

from medseg.data.cache import CachedCase
from medseg.data.samples import TrainingSamples
from medseg.data.settings import AugmentationSettings, SamplingSettings
from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.heatmap import HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import ClassificationSettings, HeatmapSettings, SegmentationSettings
from medseg.volume import Grid

CLASSES = ("a", "b")
DETECTORS = {
    "segmentation": SegmentationDetector(SegmentationSettings(), CLASSES),
    "balanced": SegmentationDetector(SegmentationSettings(loss="dice_balanced"), CLASSES),
    "heatmap": HeatmapDetector(HeatmapSettings(sigma_fraction=0.5), CLASSES),
    "classification": ClassificationDetector(ClassificationSettings(), CLASSES),
}
STRONG = AugmentationSettings(
    flip_axes=("z", "y", "x"), affine_probability=0.8, rotation_degrees=60, scale=0.4, shift=0.2,
    intensity_probability=0.7, noise=0.3, blur=1.5, rotation_degrees_other=40, low_resolution=0.4,
    inverted_gamma_probability=0.5,
)  # fmt: skip


class Store:
    """Cases by name, as a `CaseStore` gives them."""

    def __init__(self, cases):
        self._cases = {case.case_id: case for case in cases}

    @property
    def cases(self):
        return list(self._cases.values())

    def __getitem__(self, name):
        return self._cases[name]


def case(name, shape, *, channels=2, lesions=3):
    random = np.random.default_rng(len(name) + sum(shape))
    image = random.normal(size=(channels, *shape)).astype(np.float32)
    instances = np.zeros(shape, np.int16)
    for number in range(1, lesions + 1):
        low = [int(random.integers(max(1, side - 5))) for side in shape]
        instances[tuple(slice(first, first + int(random.integers(1, 6))) for first in low)] = number
    grid = Grid(shape, np.eye(4))
    return CachedCase(name, image, instances, np.array([0, *(n % 2 for n in range(lesions))]), 1, grid, grid)


def samples_of(cases, detector="segmentation", *, patch, augmentation=STRONG, seed=0, **sampling):
    return TrainingSamples(
        Store(cases), DETECTORS[detector], patch_size=patch, sampling=SamplingSettings(**sampling),
        augmentation=augmentation, positives=[case.has_lesion for case in cases], length=10_000, seed=seed,
    )  # fmt: skip


# one smaller than the patch along some axis, so that the patch is padded
CASES = {2: [case("c", (1, 30, 24)), case("cc", (1, 12, 40))], 3: [case("c", (14, 20, 16)), case("cc", (6, 10, 22))]}
PATCHES = {2: (20, 18), 3: (9, 12, 14)}
