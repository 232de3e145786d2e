"""Deep supervision: the loss of a network's lower levels beside that of its output."""

from collections.abc import Callable

import torch
from torch.nn import functional

__all__ = ["over_levels"]

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
LARGEST = {2: functional.max_pool2d, 3: functional.max_pool3d}
MEAN = {2: functional.avg_pool2d, 3: functional.avg_pool3d}


def over_levels(
    loss: Loss, output: torch.Tensor | tuple[torch.Tensor, ...], target: torch.Tensor, *, averaged: int = 0
) -> torch.Tensor:
    """Weighted sum of the losses of all outputs: level `k` counts ``2^-k``, over the sum of these weights.

    So nnU-Net weighs them (Isensee 2021, doi:10.1038/s41592-020-01008-z). The target of a lower level is the maximum
    over the voxels that one of its own covers: the nearest voxel's value, which nnU-Net takes, would lose lesions that
    are smaller than a voxel of that level.

    Parameters
    ----------
    output : Tensor or tuple of Tensor
        (batch, channel, *spatial); of several the first is the network's output and the next ones those of lower
        levels, each of whose sides divides that of the one above.
    target : Tensor, shape (batch, channel, *spatial)
    averaged : int
        So many of the target's last channels are weights, of which a lower level takes the mean.
    """
    if isinstance(output, torch.Tensor):
        return loss(output, target)
    outputs = list(output)
    target = target.float() if len(outputs) > 1 else target
    shares = [0.5**level for level in range(len(outputs))]
    total = loss(outputs[0], target) * (shares[0] / sum(shares))
    for own, share in zip(outputs[1:], shares[1:]):
        target = _coarser(target, own.shape[2:], averaged)
        total = total + loss(own, target) * (share / sum(shares))
    return total


def _coarser(target: torch.Tensor, size: torch.Size, averaged: int) -> torch.Tensor:
    if target.shape[2:] == size:
        return target
    steps = tuple(before // after for before, after in zip(target.shape[2:], size))
    n = target.shape[1] - averaged
    largest = LARGEST[len(size)](target[:, :n], steps, steps)
    return torch.cat([largest, MEAN[len(size)](target[:, n:], steps, steps)], dim=1) if averaged else largest
