"""A small convolutional network that judges crops of two or three dimensions."""

from collections.abc import Sequence

import torch
from torch import nn

from medseg.networks.crop_cnn_settings import CropCnnSettings
from medseg.networks.settings import DenseNetSettings

__all__ = ["CropCnn", "build_crop_network"]


class CropCnn(nn.Module):
    """Two 3x3 (x3) convolutions with batch normalisation a level, pooling between levels, mean, one dense layer.

    Parameters
    ----------
    dimensions : int
        2 or 3.
    filters : sequence of int
        Channels of each level.
    """

    def __init__(
        self, dimensions: int, in_channels: int, out_channels: int, *, filters: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        convolution, norm, pool = (
            (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
        )
        layers: list[nn.Module] = []
        channels = in_channels
        for level, width in enumerate(filters):
            if level:
                layers.append(pool(2))
            for _ in range(2):
                layers += [convolution(channels, width, 3, padding=1, bias=False), norm(width), nn.ReLU()]
                channels = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, out_channels))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:  # (batch, channel, [z,] y, x) -> (batch, out)
        """Return the logits."""
        return self.head(self.features(crops).flatten(2).mean(dim=2))


def build_crop_network(
    settings: CropCnnSettings | DenseNetSettings, *, in_channels: int, dimensions: int, n_voxels: int
) -> nn.Module:
    """Build the network that gives one logit for each crop of `n_voxels` a side."""
    if isinstance(settings, CropCnnSettings):
        return CropCnn(dimensions, in_channels, 1, filters=settings.filters, dropout=settings.dropout)
    from medseg.networks.factory import build_network

    return build_network(settings, in_channels=in_channels, out_channels=1, patch_size=(n_voxels,) * dimensions)
