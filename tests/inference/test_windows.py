"""Sliding windows and mirror images against the whole image at once."""

import numpy as np
import pytest
import torch

from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import SegmentationSettings
from medseg.inference.settings import InferenceSettings
from medseg.inference.windows import predict_maps

DETECTOR = SegmentationDetector(SegmentationSettings(), ("a",))


class Pointwise(torch.nn.Module):
    """A network without a receptive field: windows must not change its answer."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, image):
        return image[:, :1] * self.scale


@pytest.mark.parametrize(
    ("patch", "shape"), [((16, 16), (5, 40, 37)), ((8, 16, 16), (20, 40, 37)), ((32, 32), (1, 20, 25))]
)
@pytest.mark.parametrize("flips", [(), ("x",), ("y", "x")])
def test_windows_give_what_the_whole_image_gives(patch, shape, flips):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    settings = InferenceSettings(overlap=0.5, flip_axes=flips)
    maps = predict_maps(Pointwise(), DETECTOR, image, patch_size=patch, settings=settings)
    assert maps.shape == (1, *shape)
    assert maps[0] == pytest.approx(1 / (1 + np.exp(-2 * image[0])), abs=1e-5)


def test_mirror_images_make_the_answer_symmetric():
    class Leaning(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, image):  # looks at the left neighbour
            return torch.roll(image[:, :1], 1, dims=-1) * self.scale

    image = np.random.default_rng(0).normal(size=(1, 1, 16, 16)).astype(np.float32)
    settings = InferenceSettings(flip_axes=("x",))
    there = predict_maps(Leaning(), DETECTOR, image, patch_size=(16, 16), settings=settings)
    back = predict_maps(Leaning(), DETECTOR, image[..., ::-1].copy(), patch_size=(16, 16), settings=settings)
    assert back[..., ::-1] == pytest.approx(there, abs=1e-6)
