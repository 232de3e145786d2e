"""Settings of the second stage, which judges the candidates of the first. Free of torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from medseg.config_base import Settings
from medseg.networks.crop_cnn_settings import CropCnnSettings
from medseg.networks.settings import DenseNetSettings

__all__ = ["SecondStageSettings"]


class SecondStageSettings(Settings):
    """Crops around candidates, the network that judges them, and its training."""

    sizes: tuple[PositiveFloat, ...] = Field(
        (24.0, 48.0),
        min_length=1,
        description="sides of the crops around a candidate: mm, or pixels of the original image for projections",
    )
    n_voxels: int = Field(24, ge=8, description="voxels along each side of every crop")
    network: Annotated[CropCnnSettings | DenseNetSettings, Field(discriminator="name")] = Field(
        default_factory=CropCnnSettings, description="crop_cnn, or densenet (crops of 32 voxels or more)"
    )
    epochs: int | None = Field(20, ge=1, description="passes over the training candidates; null: by the clock alone")
    max_minutes: float | None = Field(None, gt=0, description="end after this much training time; null: by epochs")
    batch_size: int = Field(32, ge=2, description="crops a step")
    learning_rate: float = Field(1e-3, gt=0, description="highest learning rate, which falls as (1 - progress)^0.9")
    weight_decay: float = Field(1e-2, ge=0, description="decay of convolution and dense weights")
    positive_fraction: float = Field(0.5, gt=0, lt=1, description="share of positive candidates among those drawn")
    flip_axes: tuple[Literal["z", "y", "x"], ...] = Field(("z", "y", "x"), description="random mirror images")
    rotation_degrees: float = Field(180.0, ge=0, le=180, description="largest random turn in the plane of y and x")
    shift: float = Field(
        2.0, ge=0, description="largest random shift of the centre along each axis, in the unit of `sizes`"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of weights, draws and augmentation")

    @model_validator(mode="after")
    def _fits(self) -> "SecondStageSettings":
        if self.epochs is None and self.max_minutes is None:
            raise ValueError("one of epochs and max_minutes must be given")
        if self.network.name == "densenet" and self.n_voxels < 32:
            raise ValueError(f"network.name=densenet needs n_voxels of 32 or more, found {self.n_voxels}")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"sizes={list(self.sizes)}: a size stands twice")
        smallest = 2 ** len(getattr(self.network, "filters", ()))
        if self.n_voxels < smallest:
            raise ValueError(f"n_voxels={self.n_voxels} is too few for the levels of the network: at least {smallest}")
        return self
