"""A network over a whole image: sliding windows and mirror images."""

from typing import cast

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import nn

from medseg.detectors.base import Detector
from medseg.inference.settings import InferenceSettings
from medseg.inference.spread_of_scores import MapSpread

__all__ = ["predict_maps"]


@torch.inference_mode()
def predict_maps(
    network: nn.Module,
    detector: Detector,
    image: np.ndarray,
    *,
    patch_size: tuple[int, ...],
    settings: InferenceSettings,
    autocast: torch.autocast | None = None,
    spread: MapSpread | None = None,
) -> np.ndarray:
    """Run `network` over `image`, shape (channel, z, y, x).

    Windows overlap and are blended with Gaussian weights; every slice is an image of its own for a
    two-dimensional network.

    Parameters
    ----------
    spread : MapSpread, optional
        Is given the maps of the image and of each mirror image, turned back.

    Returns
    -------
    ndarray of float32, shape (map, z, y, x)
        The activated maps of the detector.
    """
    device = next(network.parameters()).device
    flat = len(patch_size) == 2
    shape = image.shape[1:]
    image, inside = _at_least(image, patch_size)
    batch = torch.from_numpy(np.array(image.swapaxes(0, 1) if flat else image[None]))
    axes = {"z": -3, "y": -2, "x": -1}
    flips: list[list[int]] = [[], *([axes[name]] for name in settings.flip_axes if not (flat and name == "z"))]

    def run(windows: torch.Tensor) -> torch.Tensor:
        if autocast is None:
            return detector.activate(network(windows))
        with autocast:
            output = network(windows)
        return detector.activate(output)

    def own(maps: np.ndarray) -> np.ndarray:
        return (maps.swapaxes(0, 1) if flat else maps[0])[(slice(None), *inside)]

    total: torch.Tensor | None = None
    for flip in flips:
        maps = sliding_window_inference(
            batch.flip(flip) if flip else batch,
            roi_size=patch_size,
            sw_batch_size=settings.window_batch,
            predictor=run,
            overlap=settings.overlap,
            mode="gaussian",
            sw_device=device,
            device=torch.device("cpu"),
        )
        maps = cast(torch.Tensor, maps).flip(flip) if flip else cast(torch.Tensor, maps)
        if spread is not None:
            spread.add(own(maps.numpy()))
        total = maps if total is None else total + maps
    assert total is not None
    maps_zyx = own((total / len(flips)).numpy())
    assert maps_zyx.shape[1:] == shape
    return maps_zyx


def _at_least(image: np.ndarray, patch_size: tuple[int, ...]) -> tuple[np.ndarray, tuple[slice, ...]]:
    """Pad every channel with its minimum to the size of a patch, centred, as training does; also where it lies then."""
    sides = (*(1,) * (3 - len(patch_size)), *patch_size)
    missing = [max(0, side - n) for side, n in zip(sides, image.shape[1:])]
    before = [(number + 1) // 2 for number in missing]
    inside = tuple(slice(low, low + n) for low, n in zip(before, image.shape[1:]))
    if not any(missing):
        return image, inside
    size = tuple(n + more for n, more in zip(image.shape[1:], missing))
    padded = np.stack([np.full(size, channel.min(), channel.dtype) for channel in image])
    padded[(slice(None), *inside)] = image
    return padded, inside
