"""The U-Net of a patch, where the pipeline leaves its filters to the plan."""

from collections.abc import Sequence

from medseg.config import Pipeline
from medseg.networks.settings import UNetSettings
from medseg.networks.topology import Topology, auto_filters, plan_topology

__all__ = ["FIRST_FILTERS", "is_automatic", "network_reasons", "planned_network", "steps_of"]

FIRST_FILTERS = (32, 16, 8)  # channels at full resolution: those of nnU-Net, and fewer where memory is short


def is_automatic(pipeline: Pipeline) -> bool:
    """Whether levels, strides, kernels and filters are planned."""
    return isinstance(pipeline.network, UNetSettings) and pipeline.network.filters == "auto"


def steps_of(spacing_mm: Sequence[float] | None, dimensions: int) -> tuple[float, ...]:
    """Spacing along the axes of a patch; pixels of images count as square."""
    return tuple(spacing_mm) if spacing_mm is not None and dimensions == 3 else (1.0,) * dimensions


def planned_network(
    pipeline: Pipeline, patch_size: Sequence[int], spacing_mm: Sequence[float] | None, first: int
) -> tuple[Pipeline, Topology | None]:
    """Return the pipeline with the filters for this patch, and the topology; as it is and None where filters are given.

    Parameters
    ----------
    first : int
        Channels at full resolution.
    """
    network = pipeline.network
    if not isinstance(network, UNetSettings) or network.filters != "auto":
        return pipeline, None
    topology = plan_topology(patch_size, steps_of(spacing_mm, len(patch_size)))
    filters = auto_filters(len(topology.strides), len(patch_size), first)
    settled = network.model_copy(update={"filters": filters})
    return pipeline.model_copy(update={"network": settled}), topology


def network_reasons(topology: Topology, first: int) -> dict[str, str]:
    """Say why the network is as it is."""
    start = f"doubled from {first}, up to a limit, one for each of the {len(topology.strides)} levels of the patch"
    if first < FIRST_FILTERS[0]:
        start += f"; from {first * 2} on only a tiny patch would fit into memory"
    return {
        "filters": start,
        "strides": "an axis is halved while 4 voxels remain and its spacing is less than twice the finest",
        "kernel_sizes": "1 along an axis until its spacing is less than twice the finest, then 3; 3 at the last level",
    }
