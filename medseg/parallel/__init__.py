"""Volumes larger than one device: exact spatial sharding, applied from outside to unchanged networks."""

from medseg.parallel.errors import UnsupportedOperation
from medseg.parallel.layout import Cut, Layout
from medseg.parallel.sharding import layout_of
from medseg.parallel.spatial import replicate, spatial_parallel

__all__ = ["Cut", "Layout", "UnsupportedOperation", "layout_of", "replicate", "spatial_parallel"]
