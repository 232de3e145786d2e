"""Settings of the networks. Free of torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from medseg.config_base import Settings

__all__ = ["DenseNetSettings", "NetworkSettings", "SmallCnnSettings", "UNetSettings"]


class UNetSettings(Settings):
    """U-Net: MONAI's DynUNet with plain or residual blocks."""

    name: Literal["unet"] = Field("unet", description="the network")
    block: Literal["plain", "residual"] = Field("plain", description="two convolutions a level, or a residual pair")
    filters: tuple[PositiveInt, ...] = Field(
        (16, 32, 64, 128, 192, 192), min_length=3, description="channels a level, from full resolution down"
    )
    norm: Literal["instance", "batch"] = Field("instance", description="normalisation after each convolution")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each convolution")


class DenseNetSettings(Settings):
    """DenseNet of MONAI for image classification."""

    name: Literal["densenet"] = Field("densenet", description="the network")
    depth: Literal[121, 169, 201, 264] = Field(121, description="number of layers")
    stride: Literal[32, 16, 8] = Field(
        32, description="voxels between places of the last features: less than 32 locates better and needs more memory"
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout in each dense layer")


class SmallCnnSettings(Settings):
    """Convolutions, then dense layers: for small images such as MNIST."""

    name: Literal["small_cnn"] = Field("small_cnn", description="the network")
    filters: tuple[PositiveInt, ...] = Field((32,), min_length=1, description="channels of each convolution")
    kernel_size: int = Field(5, ge=1, description="side of the convolution kernels in pixels (odd)")
    pool_every: int = Field(1, ge=1, description="2x2 max pooling after every so many convolutions")
    hidden: tuple[PositiveInt, ...] = Field((), description="units of each dense layer before the last one")
    norm: bool = Field(False, description="batch normalisation after each convolution")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout before each dense layer")


NetworkSettings = Annotated[UNetSettings | DenseNetSettings | SmallCnnSettings, Field(discriminator="name")]
