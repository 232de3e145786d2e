"""Segmentations of random masks, and masks compared in the world."""

import numpy as np

from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.objects.segmentation import build_segmentation
from medseg.imaging.objects.settings import CodedTerm, ResultSettings

PROVENANCE = Provenance("ct_lung_nodule", "0.1.0", "ab" * 32)
LUNG = CodedTerm(value="39607008", scheme="SCT", meaning="Lung")
NODULE = CodedTerm(value="27925004", scheme="SCT", meaning="Nodule")


def random_mask(shape, n=2, seed=0):
    """Values 0 to n; the second slice, if there is one, stays empty."""
    rng = np.random.default_rng(seed)
    mask = (rng.random(shape) > 0.8).astype(np.uint8) * rng.integers(1, n + 1, shape, dtype=np.uint8)
    if shape[0] > 2:
        mask[1] = 0
    return mask


def build(mask, grid, source, kind="binary", **options):
    settings = ResultSettings(segmentation=kind, site=LUNG, class_terms={"nodule": NODULE})
    options = {"classes": ("nodule", "mass"), "provenance": PROVENANCE, **options}
    return build_segmentation(mask, grid, source, settings=settings, **options)


def world_points(array, grid):
    """Value and world position of every voxel that is not 0, in one order."""
    z, y, x = np.nonzero(array)
    points = np.round(grid.to_world(np.stack([x, y, z], axis=1)), 4) + 0.0
    return sorted((*point, value) for point, value in zip(points.tolist(), array[z, y, x].tolist()))
