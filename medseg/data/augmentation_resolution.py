"""Lower resolution, simulated by rows. The rows of any division are the same bit for bit."""

import torch

from medseg.data.rows import Rows

__all__ = ["coarsened"]


def coarsened(rows: Rows, share: float) -> Rows:
    """Take every axis to `share` of its voxels, the nearest ones, and back by linear interpolation.

    nnU-Net's simulation of low resolution (Isensee 2021, doi:10.1038/s41592-020-01008-z), linear where that is cubic;
    MONAI's `RandSimulateLowResolution` with ``upsample_mode="trilinear"`` and voxels as areas. Rows of the result need
    those source rows that they are interpolated between.
    """
    between = [_between(side, max(1, round(side * share))) for side in rows.shape[1:]]

    def read(start: int, stop: int) -> torch.Tensor:
        before, behind, weight = (along[start:stop] for along in between[0])
        low, high = int(before[0]), int(behind[-1]) + 1
        image = _mixed(rows.read(low, high), 1, before - low, behind - low, weight)
        for axis, along in enumerate(between[1:], start=2):
            image = _mixed(image, axis, *along)
        return image

    return Rows(rows.shape, read)


def _between(side: int, coarse: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each voxel of an axis the two voxels that are kept around it, and the weight of the second."""
    kept = (torch.arange(coarse, dtype=torch.float64) * side / coarse).floor().long()
    place = ((torch.arange(side, dtype=torch.float64) + 0.5) * coarse / side - 0.5).clamp(0, coarse - 1)
    first = place.floor().long()
    return kept[first], kept[(first + 1).clamp(max=coarse - 1)], (place - first).float()


def _mixed(
    image: torch.Tensor, axis: int, before: torch.Tensor, behind: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    weight = weight.reshape([-1 if a == axis else 1 for a in range(image.ndim)])
    first = image.index_select(axis, before)
    return first + weight * (image.index_select(axis, behind) - first)
