"""Build a network from its settings. Networks hold no parallelism: they are written as for one device."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.networks.nets import DenseNet121, DenseNet169, DenseNet201, DenseNet264

from medseg.errors import ConfigError
from medseg.networks.densenet import with_stride
from medseg.networks.settings import DenseNetSettings, SmallCnnSettings, UNetSettings
from medseg.networks.small_cnn import SmallCnn
from medseg.networks.topology import SMALLEST_SIDE, Topology
from medseg.networks.unet_kinds import unet_kind

__all__ = ["build_network", "level_strides"]

DENSENETS = {121: DenseNet121, 169: DenseNet169, 201: DenseNet201, 264: DenseNet264}


def level_strides(patch_size: Sequence[int], levels: int) -> list[tuple[int, ...]]:
    """Stride of each level of a U-Net, the first being 1.

    An axis is halved as long as it is even and at least `SMALLEST_SIDE` voxels remain, so flat patches of
    anisotropic volumes stop shrinking along z first.

    Examples
    --------
    >>> level_strides((8, 32, 32), 4)
    [(1, 1, 1), (2, 2, 2), (1, 2, 2), (1, 2, 2)]
    """
    size = list(patch_size)
    strides = [(1,) * len(size)]
    for _ in range(levels - 1):
        stride = tuple(2 if side % 2 == 0 and side // 2 >= SMALLEST_SIDE else 1 for side in size)
        size = [side // step for side, step in zip(size, stride)]
        strides.append(stride)
    return strides


def build_network(
    settings: UNetSettings | DenseNetSettings | SmallCnnSettings,
    *,
    in_channels: int,
    out_channels: int,
    patch_size: Sequence[int],
    quiet_head: bool = False,
    topology: Topology | None = None,
) -> torch.nn.Module:
    """Build the network that `settings` describe, for patches of `patch_size` (its length is 2 or 3).

    A U-Net has the strides and kernels of `topology`; without one it follows `level_strides`, with kernels of side 3.
    With `quiet_head` a fresh U-Net answers almost 0 everywhere, for losses that add a prior of their own.

    Raises
    ------
    ConfigError
        When the network cannot take such a patch.
    """
    dimensions = len(patch_size)
    if isinstance(settings, UNetSettings):
        strides, kernels, filters = _levels(settings, patch_size, topology)
        network = unet_kind(settings)(
            spatial_dims=dimensions,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernels,
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=filters,
            norm_name="instance" if settings.norm == "instance" else "batch",
            dropout=settings.dropout or None,
            res_block=settings.block == "residual",
        )
        if quiet_head:
            _quieten(cast(torch.nn.Module, network.output_block))
        return network
    if isinstance(settings, DenseNetSettings):
        if min(patch_size) < 32:
            raise ConfigError(f"network.name=densenet needs images of at least 32 voxels a side, found {patch_size}")
        densenet = DENSENETS[settings.depth](dimensions, in_channels, out_channels, dropout_prob=settings.dropout)
        return with_stride(densenet, settings.stride)
    if dimensions != 2:
        raise ConfigError("network.name=small_cnn takes two-dimensional images: set input.dimensions=2")
    return SmallCnn(settings, in_channels=in_channels, out_channels=out_channels, image_size=tuple(patch_size))


def _levels(
    settings: UNetSettings, patch_size: Sequence[int], topology: Topology | None
) -> tuple[list[tuple[int, ...]], list[Any], tuple[int, ...]]:
    """Strides, kernels and filters of a U-Net."""
    if settings.filters == "auto":
        raise ConfigError("network.filters=auto: the filters of a plan must be put in its place")
    if topology is None:
        return level_strides(patch_size, len(settings.filters)), [3] * len(settings.filters), settings.filters
    if len(topology.strides) != len(settings.filters):
        raise ConfigError(
            f"the plan has {len(topology.strides)} levels, network.filters has {len(settings.filters)} filters: give "
            "both, or auto"
        )
    return list(topology.strides), list(topology.kernel_sizes), settings.filters


def _quieten(head: torch.nn.Module) -> None:
    """Small weights, so that the first steps learn and do not unlearn (Lin 2017, arXiv:1708.02002, section 4.1)."""
    for module in head.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            torch.nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
