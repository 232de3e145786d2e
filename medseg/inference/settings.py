"""Settings of prediction. Free of torch."""

from typing import Literal

from pydantic import Field

from medseg.config_base import Settings

__all__ = ["InferenceSettings"]


class InferenceSettings(Settings):
    """How a trained network is run over an image."""

    overlap: float = Field(0.5, ge=0, lt=1, description="overlap of neighbouring windows, as a share of the window")
    window_batch: int = Field(4, ge=1, description="windows computed at a time")
    flip_axes: tuple[Literal["z", "y", "x"], ...] = Field(
        (), description="test-time augmentation: the mean over the image and its mirror image along each axis"
    )
    min_score: float = Field(0.01, ge=0, lt=1, description="candidates below this score are not written")
    max_candidates: int = Field(50, ge=1, description="candidates written for a case at most, the best first")
    operating_point: float | None = Field(
        None, ge=0, le=1, description="score from which a finding is reported; null: chosen on validation"
    )
    operating_point_fp: float = Field(
        0.5, gt=0, description="false positives a case allowed when the operating point is chosen on validation"
    )
