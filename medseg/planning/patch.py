"""The patch of a network whose levels are planned: near the proportions of the typical image, as large as fits."""

import math
from collections.abc import Sequence

import numpy as np

from medseg.config import Pipeline
from medseg.networks.topology import SMALLEST_SIDE, plan_topology
from medseg.planning.budget import Budget
from medseg.planning.network import FIRST_FILTERS, steps_of

__all__ = ["automatic_patch", "cascade_reason", "shortened", "starting_patch"]

LARGEST = {2: 2048**2, 3: 256**3}  # voxels of a patch, however much memory there is (nnU-Net)
ENOUGH = {2: 64**2, 3: 32**3}  # voxels, below which narrower networks are tried
COVERED = 4  # parts of the median volume, of which the patch must cover one (nnU-Net, doi:10.1038/s41592-020-01008-z)

Sizes = tuple[int, ...]


def automatic_patch(
    pipeline: Pipeline, shapes: np.ndarray, spacing_mm: Sequence[float] | None, budget: Budget, limit: float
) -> tuple[Sizes, str]:
    """Choose the patch, and with it the filters that `budget` counts with; say why.

    Parameters
    ----------
    shapes : ndarray, shape (n, 3)
        Working shapes of the training cases, (z, y, x).
    limit : float
        Most voxels.
    """
    dimensions = pipeline.input.n_dimensions
    every = np.median(shapes, axis=0) if dimensions == 3 else np.percentile(shapes, 95, axis=0)[-2:]
    typical = [float(side) for side in every]
    steps = steps_of(spacing_mm, dimensions)
    enough = min(math.prod(typical), ENOUGH[dimensions], limit) / 2
    for first in FIRST_FILTERS:
        budget.first_filters = first
        patch, reason, fits = _largest(typical, steps, budget, limit)
        if fits and math.prod(patch) >= enough:
            break
    return patch, reason


def _largest(typical: Sequence[float], steps: Sequence[float], budget: Budget, limit: float) -> tuple[Sizes, str, bool]:
    """Largest patch for the filters that `budget` counts with, why, and whether its step fits."""
    shown = "x".join(f"{side:.0f}" for side in typical)
    what = "median volume" if len(typical) == 3 else "95th percentile of the images"
    patch = starting_patch(typical, steps)
    reason = f"the {what}, {shown} voxels, rounded up to what the network's levels halve"
    if math.prod(patch) > limit:
        patch = shortened(patch, typical, steps, limit)
        reason = (
            f"near the proportions of the {what}, {shown}, within sampling.max_patch_voxels for each part: {limit:g}"
        )
    while (room := budget.voxels(patch)) < math.prod(patch):
        smaller = shortened(patch, typical, steps, room)
        if smaller == patch:
            return patch, reason, False
        patch = smaller
        reason = f"near the proportions of the {what}, {shown}, made smaller until {budget.fewest_said} fit into memory"
    return patch, reason, True


def starting_patch(typical: Sequence[float], steps: Sequence[float]) -> Sizes:
    """Return the typical image, or of a larger one a part that is as long in mm along each axis, of `LARGEST` voxels.

    Examples
    --------
    >>> starting_patch((40, 250, 250), (5, 1, 1))
    (40, 256, 256)
    """
    edge = (LARGEST[len(steps)] * math.prod(steps)) ** (1 / len(steps))
    return _rounded([min(round(edge / step), math.ceil(side)) for side, step in zip(typical, steps)], steps)


def shortened(patch: Sequence[int], typical: Sequence[float], steps: Sequence[float], limit: float) -> Sizes:
    """Shorten the axis that covers the largest share of the typical image, again and again, to at most `limit` voxels.

    Returns
    -------
    tuple of int
        More than `limit` where no axis can be shortened any more.
    """
    size, seen = tuple(patch), set()
    while math.prod(size) > limit and size not in seen:
        seen.add(size)
        divisor = plan_topology(size, steps).divisor
        for axis in sorted(range(len(size)), key=lambda a: -size[a] / typical[a]):
            if size[axis] - divisor[axis] >= SMALLEST_SIDE:
                shorter = [side - divisor[axis] if a == axis else side for a, side in enumerate(size)]
                size = _rounded(shorter, steps)
                break
    return size


def _rounded(size: Sequence[int], steps: Sequence[float]) -> Sizes:
    divisor = plan_topology(size, steps).divisor
    return tuple(math.ceil(side / d) * d for side, d in zip(size, divisor))


def cascade_reason(patch: Sequence[int], shapes: np.ndarray) -> str | None:
    """Advise a first stage at low resolution where the patch sees little of a volume; None where it sees enough."""
    median = np.median(shapes, axis=0)
    share = math.prod(min(side, whole) for side, whole in zip(patch, median)) / float(np.prod(median))
    if len(patch) != 3 or share * COVERED >= 1:
        return None
    return (
        f"advised: the patch covers {share:.0%} of the median volume, less than a quarter, so a first stage at a "
        "coarser spacing (input.spacing_mm) would see what surrounds a lesion; no such stage is planned here"
    )
