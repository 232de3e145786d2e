"""Settings of the evaluation. Free of torch."""

import re
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, field_validator

from medseg.config_base import Settings

__all__ = ["EvaluationSettings"]

Fraction = Annotated[float, Field(ge=0, le=1)]


class EvaluationSettings(Settings):
    """Which figures are reported, with which intervals."""

    fpr_range: tuple[float, float] = Field((0.0, 0.1), description="false-positive fractions of the partial AUC")
    tpr_range: tuple[Fraction, Fraction] | None = Field(
        None, description="also the partial AUC over these sensitivities, and within both limits; null: not"
    )
    fp_per_case: tuple[PositiveFloat, ...] = Field(
        (0.125, 0.25, 0.5, 1, 2, 4, 8),
        min_length=1,
        description="false positives a case at which FROC sensitivity is given",
    )
    froc_range: tuple[float, float] = Field((0.0, 8.0), description="false positives a case of the FROC partial area")
    rule: str | None = Field(
        None,
        description="hit criterion: distance, luna16, inside, iou:T or ior:T (0 to below 1); null: inside for masks "
        "and boxes without diameter, else distance",
    )
    assignment: Literal["best", "one_to_one"] = Field(
        "best", description="best: a lesion's best mark counts; one_to_one: a mark counts for one lesion at most"
    )
    duplicates: Literal["neither", "false"] = Field(
        "neither", description="further marks on a lesion that is found: neither hit nor false, or false positives"
    )
    class_aware: bool = Field(False, description="marks hit lesions of their own class only")
    specificities: tuple[Fraction, ...] = Field((0.9,), description="specificities at which sensitivity is given")
    sensitivities: tuple[Fraction, ...] = Field((0.9,), description="sensitivities at which specificity is given")
    threshold: float | None = Field(
        None, description="operating point, chosen on other cases; null: the model's own, which validation chose"
    )
    prevalence: Fraction | None = Field(
        None, description="share of cases with disease where the detector is used, for predictive values; null: none"
    )
    readers: tuple[str, ...] = Field(
        (), description="readers of a reader study; empty: those of the marks. Given, a reader may have no mark"
    )
    modalities: tuple[str, ...] = Field((), description="modalities of a reader study, in the order of differences")
    group_by: tuple[Literal["group", "view", "scanner", "sex", "age"], ...] = Field(
        ("group",), description="columns of the cases by which all figures are given again"
    )
    age_edges: tuple[PositiveFloat, ...] = Field((18, 40, 65), description="ages that bound the groups of age")
    size_edges: tuple[PositiveFloat, ...] = Field(
        (), description="diameters that bound the groups of lesion size; empty: thirds, from 30 lesions on"
    )
    surface_tolerance_mm: PositiveFloat = Field(2.0, description="tolerance of the surface Dice")
    pixel_region: Literal["all", "above_zero"] = Field(
        "all", description="above_zero: voxel figures leave out voxels whose image is 0, except lesion voxels (missed)"
    )
    n_replicates: int = Field(2000, ge=0, le=1_000_000, description="bootstrap replicates, drawn by patient")
    confidence: float = Field(0.95, ge=0.5, le=0.9999, description="confidence of the intervals")
    seed: int = Field(0, ge=0, description="seed of the bootstrap")

    @field_validator("duplicates", mode="before")
    @classmethod
    def _false(cls, value: object) -> object:
        return "false" if value is False else value  # YAML reads the word as a truth value

    @field_validator("fp_per_case")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("the rates must rise")
        return value

    @field_validator("readers", "modalities", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return tuple(str(name) for name in value) if isinstance(value, list | tuple) else value

    @field_validator("rule")
    @classmethod
    def _rule(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"distance|luna16|inside|io[ur]:0(\.[0-9]+)?", value):
            raise ValueError("distance, luna16, inside or iou:T or ior:T with T from 0 to below 1")
        return value

    @field_validator("age_edges", "size_edges")
    @classmethod
    def _edges(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("the edges must rise")
        return value

    @field_validator("froc_range")
    @classmethod
    def _rises(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] < value[1]:
            raise ValueError("the range must rise from 0 or more")
        return value

    @field_validator("fpr_range", "tpr_range")
    @classmethod
    def _range(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1] <= 1:
            raise ValueError("the range must rise within 0 to 1")
        return value
