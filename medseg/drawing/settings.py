"""Settings of overlays. Free of torch."""

from typing import Literal

from pydantic import Field

from medseg.config_base import Settings

__all__ = ["DrawingSettings"]


class DrawingSettings(Settings):
    """How findings are drawn."""

    layout: Literal["stacked", "side_by_side"] = Field(
        "side_by_side", description="stacked: original above, result below; side_by_side: original left, result right"
    )
    mark: Literal["circle", "contour"] = Field("circle", description="circle each finding, or outline the mask")
    found_colour: str = Field("#ffd400", pattern="^#[0-9a-fA-F]{6}$", description="findings: yellow unless changed")
    reference_colour: str = Field("#00c853", pattern="^#[0-9a-fA-F]{6}$", description="reference: green unless changed")
    window: tuple[float, float] | None = Field(
        None, description="grey values that become black and white; null: 0.5 and 99.5 % of the image"
    )
    channel: int = Field(
        1, ge=1, description="image of the case that is shown, from 1; the first where that one is missing"
    )
    max_slices: int = Field(6, ge=1, description="slices of a volume that are drawn, those of the best findings first")
    min_size: int = Field(384, ge=64, description="smaller images are enlarged by a whole factor to about this width")
