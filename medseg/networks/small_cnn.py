"""A small convolutional classifier."""

import torch
from torch import nn

from medseg.errors import ConfigError
from medseg.networks.settings import SmallCnnSettings

__all__ = ["SmallCnn"]


class SmallCnn(nn.Module):
    """Convolutions with ReLU and pooling, then dense layers.

    Parameters
    ----------
    settings : SmallCnnSettings
        Channels, kernel, pooling, hidden layers.
    in_channels, out_channels : int
        Channels of the image, number of classes.
    image_size : tuple of int
        (y, x) in pixels.
    """

    def __init__(
        self, settings: SmallCnnSettings, *, in_channels: int, out_channels: int, image_size: tuple[int, ...]
    ) -> None:
        super().__init__()
        if settings.kernel_size % 2 == 0:
            raise ConfigError(f"network.kernel_size must be odd, found {settings.kernel_size}")
        layers: list[nn.Module] = []
        channels, size = in_channels, image_size
        for index, filters in enumerate(settings.filters, start=1):
            layers.append(nn.Conv2d(channels, filters, settings.kernel_size, padding="same"))
            if settings.norm:
                layers.append(nn.BatchNorm2d(filters))
            layers.append(nn.ReLU())
            if index % settings.pool_every == 0:
                layers.append(nn.MaxPool2d(2))
                size = tuple(side // 2 for side in size)
            channels = filters
        if min(size) < 1:
            raise ConfigError(f"network.pool_every={settings.pool_every} pools images of {image_size} to nothing")
        self.features = nn.Sequential(*layers)
        units = channels * size[0] * size[1]
        head: list[nn.Module] = [nn.Flatten()]
        for hidden in settings.hidden:
            head += [nn.Dropout(settings.dropout), nn.Linear(units, hidden), nn.ReLU()]
            units = hidden
        head += [nn.Dropout(settings.dropout), nn.Linear(units, out_channels)]
        self.head = nn.Sequential(*head)

    @property
    def first_layer_weights(self) -> torch.Tensor:
        """Kernels of the first convolution, shape (filters, in_channels, y, x)."""
        layer = self.features[0]
        assert isinstance(layer, nn.Conv2d)
        return layer.weight.detach()

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # (batch, channel, y, x) -> (batch, class)
        """Return the logits of each class."""
        return self.head(self.features(image))
