"""Settings of the detectors: target, loss and decoding of each kind of task. Free of torch."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat

from medseg.config_base import Settings

__all__ = ["ClassificationSettings", "DetectorSettings", "HeatmapSettings", "SegmentationSettings"]


class SegmentationSettings(Settings):
    """Lesions from masks: a probability for every voxel, components of it as candidates."""

    kind: Literal["segmentation"] = Field("segmentation", description="the detector")
    loss: Literal["dice_ce", "dice_focal", "focal", "tversky_focal", "dice_topk", "dice_balanced"] = Field(
        "dice_ce",
        description="sum of the named losses; topk: cross-entropy of the hardest voxels; balanced: cross-entropy in "
        "which each lesion counts the same whatever its size; tversky_focal: for small lesions that are missed",
    )
    dice_over: Literal["batch", "sample"] = Field(
        "batch",
        description="Dice (or Tversky index) over the whole batch (steadier where many samples have no lesion) or "
        "each sample",
    )
    focal_gamma: float = Field(2.0, ge=0, description="exponent of the focal loss")
    tversky_alpha: float = Field(0.7, ge=0, le=1, description="weight of missed voxels, 1 - it: of false ones")
    tversky_gamma: float = Field(4 / 3, gt=0, description="tversky_focal: (1 - Tversky index)^(1 / gamma)")
    topk_fraction: float = Field(0.1, gt=0, le=1, description="dice_topk: share of the voxels, those most wrong")
    positive_weight: float = Field(1.0, gt=0, description="weight of lesion voxels in the cross-entropy")
    exclusive: bool = Field(
        False, description="a voxel has one class at most (softmax with the background); else a sigmoid a class"
    )
    mask_threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a voxel belongs to the mask")
    mask_min_voxels: int = Field(
        0, ge=0, description="components of the mask smaller than this, in working voxels, are taken out of it"
    )
    mask_largest: bool = Field(False, description="keep only the largest component of the mask")
    candidate_fraction: float = Field(
        0.4, gt=0, lt=1, description="a candidate is the component around a peak above this share of the peak"
    )
    candidate_score: Literal["peak", "mean", "top"] = Field(
        "top", description="score of a candidate: its peak, its mean, or the mean of its `top_voxels` highest voxels"
    )
    top_voxels: int = Field(20, ge=1, description="for candidate_score top")
    min_voxels: int = Field(3, ge=1, description="candidates smaller than this, in working voxels, are left out")


class HeatmapSettings(Settings):
    """Lesions from boxes, points or masks: a peak at each centre, extents regressed beside it.

    The target is a Gaussian at each centre, ``exp(-sum_d (u_d - c_d)^2 / (2 s_d^2))``, whose standard
    deviation along each axis is ``s_d = max(min_sigma, sigma_fraction * extent_d)`` voxels
    (Zhou 2019, Objects as Points, arXiv:1904.07850).
    """

    kind: Literal["heatmap"] = Field("heatmap", description="the detector")
    sigma_fraction: float = Field(1 / 6, gt=0, description="kernel width as a share of the lesion's extent")
    min_sigma: float = Field(1.5, gt=0, description="smallest kernel width in working voxels")
    loss: Literal["focal", "mse"] = Field("focal", description="penalty-reduced focal loss or mean squared error")
    focal_alpha: float = Field(2.0, ge=0, description="exponent on the error")
    focal_beta: float = Field(4.0, ge=0, description="exponent that spares voxels near a centre")
    size_weight: float = Field(0.3, ge=0, description="weight of the extent's L1 loss (log voxels)")
    peak_radius: int = Field(2, ge=1, description="a candidate is the highest voxel within this many voxels")
    suppression: float = Field(
        1.0,
        ge=0,
        description="a peak inside a better candidate's box, scaled by this, is dropped: one lesion, one candidate; "
        "0: none is",
    )


class ClassificationSettings(Settings):
    """What an image shows, and where that is seen.

    One label an image: softmax over `classes`, the first of which is 'nothing found' where there are maps; with two
    classes the score is that of class 1. Several (`multi_label`): a sigmoid a class, the score is the highest.
    """

    kind: Literal["classification"] = Field("classification", description="the detector")
    multi_label: bool = Field(
        False, description="any number of classes an image, uncertain and missing labels masked; else exactly one"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: Literal["none", "balanced"] | tuple[PositiveFloat, ...] = Field(
        "none",
        description="weight in the loss of each class's cases (multi_label: of its positive cases); balanced: so that "
        "all classes (positive and negative cases) count the same in training",
    )
    activation_map: Literal["none", "cam", "grad_cam"] = Field(
        "none", description="map of where a class is seen, from which findings are listed; cam is for densenet"
    )
    candidate_fraction: float = Field(
        0.4, gt=0, lt=1, description="a candidate is the component around a peak above this share of the peak"
    )
    min_voxels: int = Field(3, ge=1, description="candidates smaller than this, in working voxels, are left out")


DetectorSettings = Annotated[
    SegmentationSettings | HeatmapSettings | ClassificationSettings, Field(discriminator="kind")
]
