"""Settings of the networks. Free of torch."""

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from medseg.config_base import Settings

__all__ = ["DenseNetSettings", "NetworkSettings", "SmallCnnSettings", "UNetSettings"]


class UNetSettings(Settings):
    """U-Net: MONAI's DynUNet with plain or residual blocks, or a U-Net of its blocks with more."""

    name: Literal["unet"] = Field("unet", description="the network")
    block: Literal["plain", "residual", "residual_encoder"] = Field(
        "plain",
        description="two convolutions a level, a residual pair, or several residual pairs a level of the encoder "
        "(`encoder_blocks`) and one convolution a level of the decoder, as nnU-Net's ResEnc",
    )
    encoder_blocks: tuple[PositiveInt, ...] = Field(
        (), description="residual_encoder: residual pairs a level; empty: 1, 3, 4, then 6 each, as nnU-Net"
    )
    filters: Annotated[tuple[PositiveInt, ...], Field(min_length=3)] | Literal["auto"] = Field(
        (16, 32, 64, 128, 192, 192),
        description="channels a level, from full resolution down; auto: levels, strides and kernels are planned from "
        "patch and spacing, channels double from 32, or from fewer where memory is short",
    )
    norm: Literal["instance", "batch"] = Field("instance", description="normalisation after each convolution")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout after each convolution")
    attention: bool = Field(False, description="attention gates on the skip connections")
    deep_supervision: int = Field(
        0, ge=0, description="so many lower levels are trained to answer too, each half as much as the one above"
    )

    @property
    def blocks(self) -> tuple[int, ...]:
        """Residual pairs of each level of a residual encoder."""
        levels = len(self.filters)
        return self.encoder_blocks or (1, 3, 4, *(6,) * levels)[:levels]

    @model_validator(mode="after")
    def _levels_fit(self) -> "UNetSettings":
        if self.filters == "auto":
            if self.encoder_blocks or self.deep_supervision > 1:
                raise ValueError(
                    "filters=auto: encoder_blocks, and deep_supervision above 1, need filters that are given"
                )
            return self
        levels = len(self.filters)
        if self.encoder_blocks and (self.block != "residual_encoder" or len(self.encoder_blocks) != levels):
            raise ValueError(
                f"encoder_blocks has {len(self.encoder_blocks)} numbers: it goes with block=residual_encoder and needs "
                f"one for each of the {levels} levels of filters"
            )
        if self.deep_supervision > levels - 2:
            raise ValueError(
                f"deep_supervision={self.deep_supervision}: of {levels} levels (filters) at most {levels - 2} lie "
                "between the finest and the deepest"
            )
        return self

    @field_validator("filters", mode="wrap")
    @classmethod
    def _numbers_or_auto(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise ValueError("at least three whole numbers greater than 0, or auto") from None


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
