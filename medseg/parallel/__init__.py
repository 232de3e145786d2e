"""Volumes larger than one device: exact spatial sharding, applied from outside to unchanged networks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.parallel.checkpointing import checkpoint_contexts
    from medseg.parallel.errors import RankError, UnsupportedOperation
    from medseg.parallel.gradients import arrange_gradients, reduce_gradients
    from medseg.parallel.layout import Cut, Layout
    from medseg.parallel.sharding import layout_of
    from medseg.parallel.slabwise import out_of_core
    from medseg.parallel.spatial import replicate, spatial_parallel

__all__ = [
    "Cut",
    "Layout",
    "RankError",
    "UnsupportedOperation",
    "arrange_gradients",
    "checkpoint_contexts",
    "layout_of",
    "out_of_core",
    "reduce_gradients",
    "replicate",
    "spatial_parallel",
]

_HOMES = {
    "Cut": "layout",
    "Layout": "layout",
    "RankError": "errors",
    "UnsupportedOperation": "errors",
    "arrange_gradients": "gradients",
    "checkpoint_contexts": "checkpointing",
    "layout_of": "sharding",
    "out_of_core": "slabwise",
    "reduce_gradients": "gradients",
    "replicate": "spatial",
    "spatial_parallel": "spatial",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"medseg.parallel.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'medseg.parallel' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
