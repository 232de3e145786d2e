"""Settings of how images become training samples. Free of torch."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from medseg.config_base import Settings
from medseg.data.channel_settings import ChannelRule, Registration, check_rules

__all__ = ["AugmentationSettings", "InputSettings", "IntensitySettings", "SamplingSettings"]


class IntensitySettings(Settings):
    """How grey values are brought to a common scale."""

    method: Literal["zscore", "percentile", "window", "range"] = Field(
        "zscore",
        description="zscore: mean 0, standard deviation 1 over the foreground; percentile: the given percentiles of "
        "the foreground become 0 and 1; window: `low` and `high` become 0 and 1 and the rest is clipped (CT); "
        "range: `low` and `high` become 0 and 1 without clipping",
    )
    low: float = Field(-1000.0, description="lower end for window and range, in units of the image (HU for CT)")
    high: float = Field(400.0, description="upper end for window and range, in units of the image")
    percentiles: tuple[float, float] = Field((0.5, 99.5), description="for method percentile, in percent")
    foreground: Literal["all", "above_zero"] = Field(
        "all", description="which voxels the statistics are taken over; above_zero for skull-stripped brains"
    )

    @model_validator(mode="after")
    def _rises(self) -> "IntensitySettings":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, given low={self.low:g} and high={self.high:g}")
        return self

    @field_validator("percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1] <= 100:
            raise ValueError("the percentiles must rise within 0 to 100")
        return value


class InputSettings(Settings):
    """What the network is given, and on which grid."""

    dimensions: Literal[2, 3] = Field(2, description="2: single images or each slice of a volume; 3: volumes")
    channels: int = Field(1, ge=1, description="images of one case that are stacked (image, image_2, ...)")
    series: tuple[ChannelRule, ...] = Field(
        (), description="which series of a DICOM study is which channel, one rule a channel; empty: one series a case"
    )
    registration: Registration = Field(
        "none",
        description="rigid: move each further channel onto the first (volumes only); none: trust the positions "
        "that the files state",
    )
    modality: tuple[str, ...] = Field((), description="modalities the model is for; empty: not stated")
    body_part: tuple[str, ...] = Field(
        (), description="body parts the model is for, such as CHEST; empty: not stated (docs/scores.md has the words)"
    )
    view: tuple[str, ...] = Field((), description="views the model is for, such as PA or LATERAL; empty: not stated")
    age: tuple[NonNegativeFloat, NonNegativeFloat] | None = Field(
        None, description="ages in years, from and to, both included, that the model is for; null: not stated"
    )
    size: int | None = Field(
        None, ge=16, description="2D: length in pixels that the longer side is resized to; null: as it is"
    )
    spacing_mm: tuple[float, float, float] | None = Field(
        None, description="3D: voxel spacing (z, y, x) that volumes are resampled to; null: the median of the data"
    )
    intensity: IntensitySettings = Field(default_factory=IntensitySettings, description="scale of the grey values")
    crop: Literal["none", "above_zero"] = Field(
        "none", description="above_zero: cut away the empty border of images that are 0 outside the body"
    )
    mirrored_channel: bool = Field(
        False,
        description="give the left-right mirrored image as a further channel, so that the network can compare "
        "both sides (for images aligned with the mid-plane, such as brains in MNI space)",
    )

    @field_validator("spacing_mm")
    @classmethod
    def _positive(cls, value: tuple[float, float, float] | None) -> tuple[float, float, float] | None:
        if value is not None and min(value) <= 0:
            raise ValueError("a spacing must be above 0 mm")
        return value

    @field_validator("age")
    @classmethod
    def _ages_rise(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("the ages must rise")
        return value

    @model_validator(mode="after")
    def _channels_fit(self) -> "InputSettings":
        check_rules(self.series, self.channels)
        if self.registration != "none" and self.channels == 1:
            raise ValueError(f"registration {self.registration} needs further channels, found one channel")
        return self

    @property
    def network_channels(self) -> int:
        """Channels that the network receives."""
        return self.channels * (2 if self.mirrored_channel else 1)


class SamplingSettings(Settings):
    """Which part of which case becomes a training sample."""

    patch_size: tuple[PositiveInt, ...] | None = Field(
        None,
        min_length=2,
        max_length=3,
        description="(y, x) or (z, y, x) in voxels of the working grid; null: planned from the data",
    )
    max_patch_voxels: int = Field(
        48**3 * 2, ge=1024, description="upper limit when the patch is planned: the memory of a step grows with it"
    )
    positive_fraction: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of samples drawn from cases with a lesion; null: every case once an epoch",
    )
    foreground_fraction: float = Field(
        0.5, ge=0, le=1, description="share of patches that are placed on a lesion, where the case has one"
    )


class AugmentationSettings(Settings):
    """Random changes of a sample (MONAI transforms), each applied with its own probability."""

    enabled: bool = Field(True, description="false: no augmentation at all")
    flip_axes: tuple[Literal["z", "y", "x"], ...] = Field(("x",), description="axes mirrored with probability 0.5")
    affine_probability: float = Field(0.5, ge=0, le=1, description="probability of rotation, scaling and shift")
    rotation_degrees: float = Field(15.0, ge=0, le=180, description="largest rotation (in the plane y, x)")
    scale: float = Field(0.15, ge=0, lt=1, description="largest relative change of size")
    shift: float = Field(0.05, ge=0, lt=1, description="largest shift as a share of the patch")
    intensity_probability: float = Field(0.3, ge=0, le=1, description="probability of each change of grey values")
    noise: float = Field(0.1, ge=0, description="largest standard deviation of added noise, in normalised units")
    brightness: float = Field(0.2, ge=0, description="largest relative change of brightness and contrast")
    gamma: tuple[float, float] = Field((0.7, 1.5), description="range of the gamma curve")
    blur: float = Field(1.0, ge=0, description="largest Gaussian blur, in voxels")

    @field_validator("gamma")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("the range must be above 0 and rise")
        return value
