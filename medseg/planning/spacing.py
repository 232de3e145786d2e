"""The voxel spacing that volumes are resampled to, from those of the training images."""

from collections.abc import Sequence

import numpy as np

__all__ = ["ANISOTROPY", "target_spacing"]

ANISOTROPY = 3.0  # ratio from which an axis counts as coarse (nnU-Net, Isensee 2021, doi:10.1038/s41592-020-01008-z)
COARSE_PERCENTILE = 10.0  # of the spacings of a coarse axis, from the same source
AXES = "zyx"

Triple = tuple[float, float, float]


def target_spacing(spacings_mm: Sequence[Triple], shapes: Sequence[tuple[int, int, int]]) -> tuple[Triple, str]:
    """Return the spacing, (z, y, x) in mm, and why.

    The median of each axis. Where the coarsest axis has more than 3 times the spacing of the finest and fewer than a
    third of the voxels of each other axis, the median would interpolate most images little and blur the fine ones
    much: that axis takes the 10th percentile of its spacings, but no less than the next coarser axis has (nnU-Net,
    Isensee 2021, doi:10.1038/s41592-020-01008-z, Supplementary Note 2).

    Parameters
    ----------
    spacings_mm : sequence of (z, y, x)
    shapes : sequence of (z, y, x)
        Voxels of the same images.

    Raises
    ------
    ValueError
        Without an image.

    Examples
    --------
    >>> target_spacing([(5, 1, 1), (4, 1, 1), (6, 1, 1)], [(20, 100, 100)] * 3)[0]
    (4.2, 1.0, 1.0)
    """
    if not len(spacings_mm):
        raise ValueError("a spacing cannot be planned without images")
    every = np.array(spacings_mm, float)
    spacing, size = np.median(every, axis=0), np.median(np.array(shapes, float), axis=0)
    coarse = int(spacing.argmax())
    others = [axis for axis in range(3) if axis != coarse]
    reason = f"median of {len(every)} training images"
    if spacing[coarse] > ANISOTROPY * spacing.min() and ANISOTROPY * size[coarse] < size[others].min():
        finer = max(float(np.percentile(every[:, coarse], COARSE_PERCENTILE)), float(spacing[others].max()))
        reason += (
            f"; {AXES[coarse]} is coarse (median {spacing[coarse]:.3g} mm against {spacing.min():.3g} mm) and has few "
            f"voxels (median {size[coarse]:.0f} against {size[others].min():.0f}): its 10th percentile"
        )
        spacing[coarse] = finer
    return (float(spacing[0]), float(spacing[1]), float(spacing[2])), reason
