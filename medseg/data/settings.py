"""Settings of how images become training samples. Free of torch."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveInt, field_validator, model_validator

from medseg.config_base import Settings
from medseg.data.channel_settings import ChannelRule, MissingChannel, Registration, check_rules, with_fallbacks

__all__ = ["AugmentationSettings", "InputSettings", "IntensitySettings", "SamplingSettings"]


class IntensitySettings(Settings):
    """How grey values are brought to a common scale."""

    method: Literal["zscore", "percentile", "window", "range", "ct", "auto"] = Field(
        "zscore",
        description="zscore: mean 0, standard deviation 1 over the foreground; percentile: the given percentiles of "
        "the foreground become 0 and 1; window: `low` and `high` become 0 and 1 and the rest is clipped (CT); "
        "range: `low` and `high` become 0 and 1 without clipping; ct: clipped to `low` and `high`, then minus `mean`, "
        "divided by `deviation`; auto: planned from the modality and the grey values of the training cases",
    )
    low: float = Field(-1000.0, description="lower end for window, range and ct, in units of the image (HU for CT)")
    high: float = Field(400.0, description="upper end for window, range and ct, in units of the image")
    mean: float = Field(0.0, description="for ct: what becomes 0, in units of the image")
    deviation: float = Field(1.0, gt=0, description="for ct: the difference that becomes 1, in units of the image")
    percentiles: tuple[float, float] = Field((0.5, 99.5), description="for method percentile, in percent")
    foreground: Literal["all", "above_zero", "otsu"] = Field(
        "all",
        description="which voxels the statistics are taken over; above_zero for skull-stripped brains; otsu: above "
        "Otsu's threshold of each image, for a body among noise",
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

    dimensions: Literal[2, 3, "auto"] = Field(
        2, description="2: single images or each slice of a volume; 3: volumes; auto: planned from the training images"
    )
    channels: int = Field(1, ge=1, description="images of one case that are stacked (image, image_2, ...)")
    series: tuple[ChannelRule, ...] = Field(
        (), description="which series of a DICOM study is which channel, one rule a channel; empty: one series a case"
    )
    missing_channel: MissingChannel = Field(
        "refuse",
        description="a further channel that a case lacks, where its rule has no fallback of its own. refuse: the case "
        "fails; zero: the network is given 0 after normalisation (of zscore the mean, else the lower end of the "
        "scale), which it learns with augmentation.channel_dropout",
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
        None,
        description="3D: voxel spacing (z, y, x) that volumes are resampled to; null: the median of the data, along an "
        "axis that is much coarser than the others their 10th percentile",
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
    def channel_rules(self) -> tuple[ChannelRule, ...]:
        """The rules of `series`, each with what stands for its channel where that is missing."""
        return with_fallbacks(self.series, self.missing_channel)

    @property
    def n_dimensions(self) -> int:
        """2 or 3, once that is settled."""
        if self.dimensions == "auto":
            raise ValueError("input.dimensions=auto: the plan's dimensions must be put in its place")
        return self.dimensions

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
    max_patch_voxels: int | None = Field(
        48**3 * 2,
        ge=1024,
        description="upper limit when the patch is planned: the memory of a step grows with it; null: what fits into "
        "training.memory_mb, or with training.batch_size auto into the device",
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
    hard_negative_fraction: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of samples placed on what the network has last taken for a lesion in training cases; of "
        "whole images: drawn from cases without lesion, those with high scores more often. 0: none",
    )
    hard_negative_every_epochs: float = Field(
        2.0, gt=0, description="epochs between searches for hard negatives; the first comes after as many"
    )
    hard_negative_cases: int = Field(50, ge=1, description="training cases looked through in each search, at most")
    hard_negative_score: float = Field(0.1, gt=0, lt=1, description="lowest score of a hard negative")


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
    channel_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability with which each channel but the first is replaced by 0, as one that is missing "
        "(input.missing_channel); above 0, channels that a training case lacks stay exactly 0 too",
    )
    rotation_degrees_other: float = Field(
        0.0, ge=0, le=180, description="3D: largest rotation about the other two axes (in the planes z, x and z, y)"
    )
    low_resolution: float = Field(
        1.0, gt=0, le=1, description="coarsest resolution that is simulated, as a share of the image's; 1: none"
    )
    inverted_gamma_probability: float = Field(
        0.0, ge=0, le=1, description="probability of a gamma curve of the inverted grey values"
    )

    @field_validator("gamma")
    @classmethod
    def _positive(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 < value[0] <= value[1]:
            raise ValueError("the range must be above 0 and rise")
        return value
