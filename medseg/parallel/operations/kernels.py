"""Convolutions of thin slabs, by the fast library of CPUs also where torch would not take it.

On a CPU torch computes float32 convolutions either with oneDNN or by a copy of the input in which each value stands once
for each weight of the kernel (`slow_conv3d`). For one image, without groups, and with kernels of up to 3 voxels it takes
oneDNN only if ``channels * size(2) * size(3) > 20480`` (`use_mkldnn` of aten/src/ATen/native/Convolution.cpp). The last
dimension does not count, so that a slab cut along dimension 2 gets the copy, of up to hundreds of MiB, where the whole
volume would not. oneDNN is always taken for tensors that lie in its own format, which is what is made use of here.
"""

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["convolve", "gradient_of_weight"]

MOST_OF_THE_COPY = 20480  # channels * size(2) * size(3) up to which torch copies
# Where oneDNN was measured to be faster. It is slower for 1x1x1, for strides, whose copy is small, for a few channels
# (it works on 16 at a time), and where few voxels share a kernel, which it brings into its own format at each call.
SMALLEST_COPY = 1 << 20  # elements
FEWEST_TAPS = 9
FEWEST_CHANNELS = 8
FEWEST_VOXELS = 128


def convolve(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> torch.Tensor:
    """Do what `torch.ops.aten.convolution` does, to rounding, outside of autograd.

    Parameters
    ----------
    x : Tensor
        With batch and channel dimensions.
    weight, bias, stride, padding, dilation, transposed, output_padding, groups
        As of `torch.ops.aten.convolution`.

    Returns
    -------
    Tensor
        The convolution.
    """
    geometry = (stride, padding, dilation, transposed, output_padding, groups)
    if not _is_thin(x, weight, stride, groups):
        return torch.ops.aten.convolution(x, weight, bias, *geometry)
    return torch.ops.aten.convolution(x.to_mkldnn(), weight, bias, *geometry).to_dense()


def gradient_of_weight(
    gradient: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, stride: Sequence[int], *geometry: Any
) -> torch.Tensor:
    """Do what `torch.ops.aten.convolution_backward` does for the weight, to rounding.

    Parameters
    ----------
    gradient : Tensor
        Of the output.
    x, weight : Tensor
        As of the convolution.
    stride, *geometry
        As of `convolve`: padding, dilation, transposed, output_padding and groups.

    Returns
    -------
    Tensor
        Of the shape of `weight`.
    """
    x = x.to_mkldnn() if _is_thin(x, weight, stride, geometry[-1]) else x
    mask = [False, True, False]
    return torch.ops.aten.convolution_backward(gradient, x, weight, None, stride, *geometry, mask)[1]


def _is_thin(x: torch.Tensor, weight: torch.Tensor, stride: Sequence[int], groups: int) -> bool:
    """Whether torch would not take oneDNN, which is faster and needs less memory."""
    if weight.ndim != 5 or x.dtype != torch.float32 or x.device.type != "cpu" or x.shape[0] != 1 or groups != 1:
        return False
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    taps, voxels = weight.shape[2:].numel(), x.shape[2:].numel()
    return (
        x.shape[1] * x.shape[2] * x.shape[3] <= MOST_OF_THE_COPY
        and min(weight.shape[-2:]) <= 3
        and max(stride) == 1
        and taps >= FEWEST_TAPS
        and min(weight.shape[:2]) >= FEWEST_CHANNELS
        and voxels >= FEWEST_VOXELS
        and weight.shape[1] * taps * voxels >= SMALLEST_COPY
    )
