"""From places on the working grid to findings in the world."""

from dataclasses import dataclass

import numpy as np

from medseg.lesion import Box, Finding, equivalent_diameter
from medseg.volume import Grid

__all__ = ["Candidate", "to_finding"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place on the working grid where a detector sees something.

    Parameters
    ----------
    centre : tuple of float
        Index (x, y, z).
    low, high : tuple of float
        Half-open box in the index (x, y, z), edges between voxels being at ``n - 0.5``.
    voxels : float
        Size in voxels.
    score : float
        Between 0 and 1.
    class_index : int
        Index into the class names.
    peak : tuple of int or None
        Index (z, y, x) of the highest voxel, where it is known.
    """

    centre: tuple[float, float, float]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    voxels: float
    score: float
    class_index: int = 0
    peak: tuple[int, int, int] | None = None


def to_finding(candidate: Candidate, *, working: Grid, source: Grid, classes: tuple[str, ...]) -> Finding:
    """Express a candidate of the working grid in world coordinates, its box in voxels of the source image."""
    x, y, z = working.to_world(np.array([candidate.centre]))[0].tolist()
    size = candidate.voxels * working.voxel_size
    flat = working.unit == "px" or working.shape[0] == 1
    if flat:  # an area: the slice's thickness does not enter it
        size /= working.spacing[0]
    return Finding(
        x=x, y=y, z=z, unit=working.unit, size=float(size),
        diameter=float(equivalent_diameter(size, dimensions=2 if flat else 3)),
        score=float(candidate.score), name=classes[candidate.class_index],
        box=_source_box(candidate, working, source),
    )  # fmt: skip


def _source_box(candidate: Candidate, working: Grid, source: Grid) -> Box:
    edges = np.array([candidate.low, candidate.high]) - 0.5  # half-open voxel range -> positions of its edges
    corners = np.array([[edges[i][0], edges[j][1], edges[k][2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    index = source.to_index(working.to_world(corners)) + 0.5
    limit = np.array(source.shape[::-1], dtype=float)
    low = np.clip(np.floor(index.min(axis=0) + 1e-6), 0, limit - 1)
    high = np.clip(np.ceil(index.max(axis=0) - 1e-6), low + 1, limit)
    return (*map(float, low), *map(float, high))  # type: ignore[return-value]
