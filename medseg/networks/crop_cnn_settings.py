"""Settings of the network that judges crops. Free of torch."""

from typing import Literal

from pydantic import Field, PositiveInt

from medseg.config_base import Settings

__all__ = ["CropCnnSettings"]


class CropCnnSettings(Settings):
    """A small convolutional network for crops of two or three dimensions."""

    name: Literal["crop_cnn"] = Field("crop_cnn", description="the network")
    filters: tuple[PositiveInt, ...] = Field(
        (16, 32, 64), min_length=1, description="channels of each level; each but the last is halved by pooling"
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the last layer")
