"""What a model says of one image."""

from dataclasses import dataclass

import numpy as np

from medseg.inference.result_map import ResultMap
from medseg.lesion import Finding

__all__ = ["Prediction"]


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """What a model says of one image.

    Parameters
    ----------
    findings : list of Finding
        Every candidate down to the low `min_score`, the best first.
    score : float
        Of the case: that of its best candidate (0 without one), or of a classifier the probability of class 1.
    class_index : int or None
        Predicted class, for classification with one label an image.
    operating_point : float
        Score from which a finding is reported.
    map : ResultMap or None
        Largest probability (or heat) over the classes; gives slabs in the geometry of the input.
    mask_threshold : float or None
        Probability from which a voxel belongs to the mask, for segmentation.
    case_probability : float or None
        That the case has a lesion, as validation calibrated the score; None where it could not.
    score_sd : float or None
        Standard deviation of the score over the image and its mirror images; None without mirror images.
    uncertainty : ResultMap or None
        That of the map, the largest over the classes; None without mirror images.
    """

    findings: list[Finding]
    score: float
    operating_point: float
    class_index: int | None = None
    class_probabilities: tuple[float, ...] = ()
    map: ResultMap | None = None
    mask_threshold: float | None = None
    case_probability: float | None = None
    score_sd: float | None = None
    uncertainty: ResultMap | None = None

    @property
    def probability(self) -> np.ndarray | None:
        """The map in the geometry of the input, float32 of shape (z, y, x), made anew each time."""
        return None if self.map is None else self.map.rows(0, self.map.source.shape[0])

    @property
    def mask(self) -> np.ndarray | None:
        """The mask in the geometry of the input, uint8 of shape (z, y, x), made anew each time; for segmentation."""
        return None if self.mask_threshold is None else self.mask_rows(0, self.map.source.shape[0])  # type: ignore[union-attr]

    def mask_rows(self, start: int, stop: int) -> np.ndarray:
        """Return rows `start` to `stop` of the mask, uint8 of shape (stop - start, y, x)."""
        assert self.map is not None
        assert self.mask_threshold is not None
        return self.map.rows(start, stop, threshold=self.mask_threshold)

    @property
    def reported(self) -> list[Finding]:
        """The findings at or above the operating point."""
        return [finding for finding in self.findings if finding.score >= self.operating_point]
