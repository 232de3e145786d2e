"""Convolutions of thin slabs on a CPU, by the faster of its two ways also where torch would take the other one.

torch computes float32 convolutions on a CPU either with oneDNN or from a copy of the input in which each value stands
once for each weight of the kernel (`slow_conv3d`), of up to hundreds of MiB. For one image, without groups and with a
kernel of up to 3 voxels, it takes oneDNN only if ``channels * size(2) * size(3) > 20480`` (`use_mkldnn` in
aten/src/ATen/native/Convolution.cpp). The last size does not count, so that a slab cut along dimension 2 is copied
where the whole volume would not be. A tensor in oneDNN's own format goes to oneDNN whatever its size.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

__all__ = ["Geometry", "convolve", "gradient_of_weight"]

LARGEST_COPIED = 20480  # channels * size(2) * size(3) that torch copies
# Measured bounds. oneDNN is slower for 1x1x1 and for strides, where the copy is small, for very few channels (it works
# on 16 at a time), and for few voxels: it brings the weights into a format of its own in every call.
FEWEST_TAPS = 9
FEWEST_CHANNELS = 4
FEWEST_VOXELS = 256
SMALLEST_COPY = 1 << 20  # values


class Geometry(NamedTuple):
    """How the windows of a convolution lie, as `torch.ops.aten.convolution` is given it."""

    stride: Sequence[int]
    padding: Sequence[int]
    dilation: Sequence[int]
    transposed: bool
    output_padding: Sequence[int]
    groups: int


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, geometry: Geometry) -> torch.Tensor:
    """Do what `torch.ops.aten.convolution` does, to rounding, outside of autograd.

    Parameters
    ----------
    x : Tensor
        With batch and channel dimensions.
    weight, bias, geometry
        As of `torch.ops.aten.convolution`.

    Returns
    -------
    Tensor
        The convolution.
    """
    if not _is_thin(x, weight, geometry):
        return torch.ops.aten.convolution(x, weight, bias, *geometry)
    return torch.ops.aten.convolution(x.to_mkldnn(), weight, bias, *geometry).to_dense()


def gradient_of_weight(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, geometry: Geometry
) -> torch.Tensor:
    """Do what `torch.ops.aten.convolution_backward` does for the weight, to rounding.

    Parameters
    ----------
    gradient : Tensor
        Of the output.
    x, weight, geometry
        As of `convolve`.

    Returns
    -------
    Tensor
        Of the shape of `weight`.
    """
    if _is_thin(x, weight, geometry):
        x = x.to_mkldnn()
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, *geometry, [False, True, False])[1]


def _is_thin(x: torch.Tensor, weight: torch.Tensor, geometry: Geometry) -> bool:
    """Whether torch would copy, and oneDNN is better."""
    if (
        weight.ndim != 5
        or x.dtype != torch.float32
        or x.device.type != "cpu"
        or x.shape[0] != 1
        or geometry.groups != 1
    ):
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if max(geometry.stride) > 1 or any(geometry.output_padding):  # padding of a stride or more is none of oneDNN's
        return False
    taps, voxels = weight.shape[2:].numel(), x.shape[2:].numel()
    return (
        x.shape[1] * x.shape[2] * x.shape[3] <= LARGEST_COPIED
        and min(weight.shape[-2:]) <= 3
        and taps >= FEWEST_TAPS
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and voxels >= FEWEST_VOXELS
        and weight.shape[1] * taps * voxels >= SMALLEST_COPY
    )
