"""Settings of training, validation and test parts. Free of torch."""

from pydantic import Field, model_validator

from medseg.config_base import Settings

__all__ = ["SplitSettings"]


class SplitSettings(Settings):
    """How patients are divided; a manifest's own ``split`` column goes before it."""

    train: float = Field(0.6, gt=0, le=1, description="share of the patients for training")
    val: float = Field(0.2, ge=0, lt=1, description="share for validation: stopping, thresholds, tuning")
    test: float = Field(0.2, ge=0, lt=1, description="share that only `evaluate` opens")
    folds: int = Field(5, ge=2, description="folds of cross-validation inside the part that is not for testing")
    stratify: bool = Field(True, description="keep the share of patients with a lesion alike in all parts")

    @model_validator(mode="after")
    def _sum(self) -> "SplitSettings":
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(f"train + val + test must be 1, found {self.train + self.val + self.test:g}")
        return self
