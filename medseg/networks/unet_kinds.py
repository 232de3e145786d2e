"""Which class builds the U-Net of some settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

from monai.networks.nets import DynUNet
from torch import nn

from medseg.networks.settings import UNetSettings
from medseg.networks.unet import LevelUNet

__all__ = ["unet_kind"]


def unet_kind(settings: UNetSettings) -> Callable[..., nn.Module]:
    """MONAI's DynUNet where it has what `settings` ask for, else `LevelUNet`, which takes the same arguments."""
    deep = settings.block == "residual_encoder"
    if not (deep or settings.attention or settings.deep_supervision):
        made: Callable[..., Any] = DynUNet
        return made
    return partial(
        LevelUNet,
        encoder_blocks=settings.blocks if deep else (),
        attention=settings.attention,
        supervised=settings.deep_supervision,
    )
