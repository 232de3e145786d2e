"""A network over a whole image: sliding windows and mirror images."""

from typing import cast

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from torch import nn

from medseg.detectors.base import Detector
from medseg.inference.settings import InferenceSettings

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
) -> np.ndarray:
    """Run `network` over `image`, shape (channel, z, y, x).

    Windows overlap and are blended with Gaussian weights; every slice is an image of its own for a
    two-dimensional network.

    Returns
    -------
    ndarray of float32, shape (map, z, y, x)
        The activated maps of the detector.
    """
    device = next(network.parameters()).device
    flat = len(patch_size) == 2
    batch = torch.from_numpy(np.array(image.swapaxes(0, 1) if flat else image[None]))
    fill = float(image.min())
    axes = {"z": -3, "y": -2, "x": -1}
    flips: list[list[int]] = [[], *([axes[name]] for name in settings.flip_axes if not (flat and name == "z"))]

    def run(windows: torch.Tensor) -> torch.Tensor:
        if autocast is None:
            return detector.activate(network(windows))
        with autocast:
            output = network(windows)
        return detector.activate(output)

    total: torch.Tensor | None = None
    for flip in flips:
        maps = sliding_window_inference(
            batch.flip(flip) if flip else batch,
            roi_size=patch_size,
            sw_batch_size=settings.window_batch,
            predictor=run,
            overlap=settings.overlap,
            mode="gaussian",
            cval=fill,
            sw_device=device,
            device=torch.device("cpu"),
        )
        maps = cast(torch.Tensor, maps).flip(flip) if flip else cast(torch.Tensor, maps)
        total = maps if total is None else total + maps
    assert total is not None
    mean = (total / len(flips)).numpy()
    return mean.swapaxes(0, 1) if flat else mean[0]
