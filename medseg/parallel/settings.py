"""Settings of how a volume is spread over processes or over time. Free of torch."""

from typing import Literal

from pydantic import Field, model_validator

from medseg.config_base import Settings

__all__ = ["LayoutSettings"]


class LayoutSettings(Settings):
    """Volumes larger than one device: cut along the first spatial axis (z of a volume, y of an image)."""

    space: int = Field(1, ge=1, le=1024, description="processes (one a device) that share each volume")
    data: int = Field(1, ge=1, le=1024, description="groups of such processes, each with samples of its own")
    slabs: int = Field(
        1, ge=1, le=4096, description="out of core: slabs that one device works on in turn (instead of `space`)"
    )
    keep: Literal["host", "disk"] = Field(
        "host", description="out of core: where the other slabs wait; host memory helps a GPU, files help a CPU"
    )
    hang_seconds: float = Field(
        600.0, ge=10, description="end the job when a process has made no step for so long (validation excepted)"
    )

    @model_validator(mode="after")
    def _one_way(self) -> "LayoutSettings":
        if self.slabs > 1 and self.space > 1:
            raise ValueError(f"space={self.space} and slabs={self.slabs}: spread a volume over processes, or over time")
        return self

    @property
    def ranks(self) -> int:
        """Number of processes."""
        return self.space * self.data
