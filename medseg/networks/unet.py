"""A U-Net of MONAI's blocks, with what its DynUNet has not: attention gates, a deeper encoder, lower levels apart."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetOutBlock, UnetResBlock, get_conv_layer
from monai.networks.layers.utils import get_norm_layer
from monai.networks.nets.attentionunet import AttentionBlock
from monai.networks.nets.dynunet import DynUNet
from torch import nn

__all__ = ["LevelUNet"]

Sizes = Sequence[int | Sequence[int]]
ACTIVATION = ("leakyrelu", {"inplace": True, "negative_slope": 0.01})


class LevelUNet(nn.Module):
    """U-Net that gives the outputs of its lower levels too, in training.

    With plain or residual blocks, without gates, it is MONAI's `DynUNet` with the same arguments.

    Parameters
    ----------
    spatial_dims, in_channels, out_channels, kernel_size, strides, upsample_kernel_size, filters, norm_name, dropout
        As of `DynUNet`; the first stride is 1.
    res_block : bool
        Residual pairs of convolutions in the encoder (and, as in `DynUNet`, plain ones in the decoder).
    encoder_blocks : sequence of int
        Residual pairs of each level of the encoder, behind a first convolution; then the decoder has one convolution a
        level: the residual encoder of nnU-Net (Isensee 2024, arXiv:2404.09556). Empty: one block, and pairs.
    attention : bool
        Gates on the skip connections (Oktay 2018, arXiv:1804.03999): see `_gate`.
    supervised : int
        So many levels below the finest one have outputs in training.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        strides: Sizes,
        upsample_kernel_size: Sizes,
        filters: Sequence[int],
        norm_name: str = "instance",
        dropout: float | None = None,
        res_block: bool = False,
        *,
        encoder_blocks: Sequence[int] = (),
        attention: bool = False,
        supervised: int = 0,
    ) -> None:
        super().__init__()
        how: dict[str, Any] = {"norm_name": norm_name, "act_name": ACTIVATION, "dropout": dropout}
        deep = bool(encoder_blocks)
        n = spatial_dims
        self.stem = _Convolution(n, in_channels, filters[0], kernel_size[0], **how) if deep else nn.Identity()
        block = UnetResBlock if deep or res_block else UnetBasicBlock
        repeats = encoder_blocks if deep else [1] * len(filters)
        before = [filters[0] if deep else in_channels, *filters]
        self.encoder = nn.ModuleList(
            nn.Sequential(
                block(n, before[level], own, kernel_size[level], strides[level], **how),
                *(block(n, own, own, kernel_size[level], 1, **how) for _ in range(repeats[level] - 1)),
            )
            for level, own in enumerate(filters[: len(strides)])
        )
        ups = list(enumerate(upsample_kernel_size))  # from the level below to this one
        self.ups = nn.ModuleList(_up(n, filters[level + 1], filters[level], size, dropout) for level, size in ups)
        self.gates = nn.ModuleList(
            _gate(n, filters[level], norm_name) if attention else nn.Identity() for level, _ in ups
        )
        merge = _Convolution if deep else UnetBasicBlock
        self.decoder = nn.ModuleList(
            merge(n, 2 * filters[level], filters[level], kernel_size[level + 1], 1, **how) for level, _ in ups
        )
        self.output_block = nn.ModuleList(
            UnetOutBlock(n, filters[level], out_channels, dropout=dropout) for level in range(supervised + 1)
        )
        self.attention = attention
        self.apply(DynUNet.initialize_weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Raw output, shape (batch, channel, *spatial); in training a tuple, from the finest level down, of several."""
        x = self.stem(image)
        skips = []
        for blocks in self.encoder:
            x = blocks(x)
            skips.append(x)
        outputs = []
        for level in reversed(range(len(self.decoder))):
            x, skip = self.ups[level](x), skips[level]
            skip = self.gates[level](g=x, x=skip) if self.attention else skip
            x = self.decoder[level](torch.cat((x, skip), dim=1))
            if level == 0 or (self.training and level < len(self.output_block)):
                outputs.append(self.output_block[level](x))
        return tuple(outputs[::-1]) if len(outputs) > 1 else cast(torch.Tensor, outputs[0])


class _Convolution(nn.Sequential):
    """Convolution, normalisation, activation."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int = 1,
        *,
        norm_name: str,
        act_name: tuple,
        dropout: float | None,
    ) -> None:
        convolution = get_conv_layer(
            spatial_dims, in_channels, out_channels, kernel_size, stride, act=act_name, norm=norm_name,
            dropout=dropout, conv_only=False,
        )  # fmt: skip
        super().__init__(convolution)


def _up(
    spatial_dims: int, in_channels: int, out_channels: int, size: int | Sequence[int], dropout: float | None
) -> nn.Module:
    up: nn.Module = get_conv_layer(
        spatial_dims, in_channels, out_channels, kernel_size=size, stride=size, dropout=dropout, act=None, norm=None,
        conv_only=False, is_transposed=True,
    )  # fmt: skip
    return up


def _gate(spatial_dims: int, channels: int, norm_name: str) -> nn.Module:
    """MONAI's attention gate: the skip connection times ``sigmoid(psi(relu(W_g g + W_x x)))``, one factor a voxel.

    Its batch normalisation is that of the network where that has it. With instance normalisation the sums are
    normalised so, and the factor, of one channel, not at all, as in the paper's equation 1: otherwise what a gate lets
    through would depend on the other images of a batch, or be the same share of every image.
    """
    gate = AttentionBlock(spatial_dims, f_int=max(1, channels // 2), f_g=channels, f_l=channels)
    if norm_name == "batch":
        return gate
    for branch in (gate.W_g, gate.W_x):
        branch[1] = get_norm_layer((norm_name, {"affine": True}), spatial_dims, max(1, channels // 2))
    gate.psi[1] = nn.Identity()
    return gate
