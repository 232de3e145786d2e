"""Build a detector from its settings."""

from collections.abc import Sequence

from medseg.detectors.base import Detector
from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.heatmap import HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import ClassificationSettings, HeatmapSettings, SegmentationSettings

__all__ = ["build_detector"]


def build_detector(
    settings: SegmentationSettings | HeatmapSettings | ClassificationSettings,
    classes: tuple[str, ...],
    *,
    class_weights: Sequence[float] | None = None,
) -> Detector:
    """Build the detector that `settings` describe for `classes`.

    Parameters
    ----------
    class_weights : sequence of float, optional
        Of the loss of a classifier, as planned.
    """
    if isinstance(settings, SegmentationSettings):
        return SegmentationDetector(settings, classes)
    if isinstance(settings, HeatmapSettings):
        return HeatmapDetector(settings, classes)
    return ClassificationDetector(settings, classes, class_weights=class_weights)
