"""Random changes of a training sample, by MONAI transforms with a seed of their own."""

from collections.abc import Sequence

import numpy as np
import torch
from monai import transforms

from medseg.data.settings import AugmentationSettings

__all__ = ["Augmentation"]


class Augmentation:
    """Apply the random changes that `settings` describe.

    Parameters
    ----------
    settings : AugmentationSettings
    patch_size : tuple of int
        (y, x) or (z, y, x); the shift is a share of it.
    """

    def __init__(self, settings: AugmentationSettings, patch_size: tuple[int, ...]) -> None:
        self._spatial: list[transforms.RandomizableTransform] = []
        self._grey: list[transforms.RandomizableTransform] = []
        if not settings.enabled:
            return
        both = ["image", "instances"]
        axes = {"z": 0, "y": 1, "x": 2} if len(patch_size) == 3 else {"y": 0, "x": 1}
        for name in settings.flip_axes:
            if name in axes:
                self._spatial.append(transforms.RandFlipd(both, prob=0.5, spatial_axis=axes[name]))
        if settings.affine_probability:
            self._spatial.append(_affine(settings, patch_size))
        p, blur = settings.intensity_probability, (0.25, max(settings.blur, 0.25))
        if p:
            self._grey = [
                transforms.RandGaussianNoised(["image"], prob=p, mean=0.0, std=settings.noise),
                transforms.RandGaussianSmoothd(["image"], blur, blur, blur, prob=p / 2),
                transforms.RandScaleIntensityd(["image"], factors=settings.brightness, prob=p),
                transforms.RandShiftIntensityd(["image"], offsets=settings.brightness, prob=p),
                transforms.RandAdjustContrastd(["image"], prob=p, gamma=settings.gamma, retain_stats=True),
            ]

    def __call__(self, image: np.ndarray, instances: np.ndarray, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Change a sample; `image` has the shape (channel, *spatial), `instances` (*spatial).

        The same seed gives the same change.
        """
        if not self._spatial and not self._grey:
            return image, instances
        sample = {
            "image": torch.from_numpy(np.ascontiguousarray(image)),
            "instances": torch.from_numpy(np.ascontiguousarray(instances[None]).astype(np.float32)),
        }
        state = np.random.RandomState(seed % 2**32)
        for transform in (*self._spatial, *self._grey):
            transform.set_random_state(state=state)
            sample = transform(sample)
        changed, numbers = np.asarray(sample["image"]), np.asarray(sample["instances"])
        return changed.astype(np.float32, copy=False), np.rint(numbers[0]).astype(np.int16)


def _affine(settings: AugmentationSettings, patch_size: tuple[int, ...]) -> transforms.RandomizableTransform:
    turn = float(np.deg2rad(settings.rotation_degrees))
    rotation: Sequence[float] = (turn, 0.0, 0.0) if len(patch_size) == 3 else (turn,)  # in the plane (y, x)
    return transforms.RandAffined(
        ["image", "instances"],
        prob=settings.affine_probability,
        rotate_range=rotation,
        scale_range=(settings.scale,) * len(patch_size),
        translate_range=tuple(settings.shift * side for side in patch_size),
        mode=("bilinear", "nearest"),
        padding_mode="border",
    )
