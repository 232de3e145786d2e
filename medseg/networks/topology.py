"""Strides, kernels and channels of a U-Net, from the patch and the voxel spacing. Free of torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Topology", "auto_filters", "plan_topology"]

SMALLEST_SIDE = 4  # voxels at the deepest level: below this a 3x3 kernel sees mostly padding
FEWEST_LEVELS = 3  # that MONAI's DynUNet takes
NEAR = 2.0  # spacings whose ratio is less are alike
MOST_FILTERS = {2: 512, 3: 320}

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Topology:
    """What each level of a U-Net does, from full resolution down.

    Parameters
    ----------
    strides : tuple of tuple of int
        By which each level's first convolution shrinks its input, along (y, x) or (z, y, x); the first is 1.
    kernel_sizes : tuple of tuple of int
        Sides of each level's kernels.
    """

    strides: tuple[Sizes, ...]
    kernel_sizes: tuple[Sizes, ...]

    @property
    def divisor(self) -> Sizes:
        """What the sides of a patch must be multiples of."""
        return tuple(math.prod(steps) for steps in zip(*self.strides))


def plan_topology(patch_size: Sequence[int], spacing: Sequence[float]) -> Topology:
    """Plan the levels of a U-Net by the rules of nnU-Net (Isensee 2021, doi:10.1038/s41592-020-01008-z).

    An axis is halved while at least 4 voxels remain and its spacing is less than twice the finest of the axes that can
    still be halved. Its kernels have side 1 until its spacing is less than twice the finest of all, from then on 3: a
    convolution then spans about the same distance along each axis. The deepest level has side 3 everywhere.

    Parameters
    ----------
    patch_size : sequence of int
        (y, x) or (z, y, x); rounded up where it is no multiple of the result's `divisor`.
    spacing : sequence of float
        Along the same axes, in any unit.

    Examples
    --------
    >>> plan_topology((16, 64, 64), (5.0, 1.0, 1.0)).strides
    ((1, 1, 1), (1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2))
    >>> plan_topology((16, 64, 64), (5.0, 1.0, 1.0)).kernel_sizes
    ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    """
    size, space = list(patch_size), [float(step) for step in spacing]
    axes = range(len(size))
    strides, kernels = [(1,) * len(size)], []
    wide = [False] * len(size)
    while True:
        wide = [done or space[axis] < NEAR * min(space) for axis, done in zip(axes, wide)]
        kernels.append(tuple(3 if done else 1 for done in wide))
        open_axes = [axis for axis in axes if size[axis] >= 2 * SMALLEST_SIDE]
        if not open_axes:
            break
        finest = min(space[axis] for axis in open_axes)
        stride = tuple(2 if axis in open_axes and space[axis] < NEAR * finest else 1 for axis in axes)
        size = [math.ceil(side / step) for side, step in zip(size, stride)]
        space = [one * step for one, step in zip(space, stride)]
        strides.append(stride)
    missing = max(0, FEWEST_LEVELS - len(strides))
    strides += [(1,) * len(size)] * missing
    kernels += [(3,) * len(size)] * missing
    kernels[-1] = (3,) * len(size)
    return Topology(tuple(strides), tuple(kernels))


def auto_filters(levels: int, dimensions: int, first: int) -> Sizes:
    """Channels of each level: doubled from level to level, at most 320 in 3D and 512 in 2D, as nnU-Net has it.

    Examples
    --------
    >>> auto_filters(6, 3, 32)
    (32, 64, 128, 256, 320, 320)
    """
    return tuple(min(first * 2**level, MOST_FILTERS[dimensions]) for level in range(levels))
