"""Settings of the evaluation. Free of torch."""

from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from medseg.config_base import Settings

__all__ = ["EvaluationSettings"]


class EvaluationSettings(Settings):
    """Which figures are reported, with which intervals."""

    fpr_range: tuple[float, float] = Field((0.0, 0.1), description="false-positive fractions of the partial AUC")
    fp_per_case: tuple[PositiveFloat, ...] = Field(
        (0.125, 0.25, 0.5, 1, 2, 4, 8),
        min_length=1,
        description="false positives a case at which FROC sensitivity is given",
    )
    froc_range: tuple[float, float] = Field((0.0, 8.0), description="false positives a case of the FROC partial area")
    rule: str | None = Field(
        None,
        pattern=r"^(distance|luna16|inside|iou:0(\.[0-9]+)?)$",
        description="hit criterion: distance, luna16, inside or iou:T (0 to below 1); null: inside for masks and "
        "boxes, distance for points",
    )
    pixel_region: Literal["all", "above_zero"] = Field(
        "all", description="above_zero: voxel figures leave out voxels whose image is 0, except lesion voxels (missed)"
    )
    n_replicates: int = Field(2000, ge=0, description="bootstrap replicates, drawn by patient")
    confidence: float = Field(0.95, gt=0, lt=1, description="confidence of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")

    @field_validator("froc_range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1]:
            raise ValueError("the range must rise from 0 or more")
        return value

    @field_validator("fpr_range")
    @classmethod
    def _range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 1:
            raise ValueError("the range must rise within 0 to 1")
        return value
