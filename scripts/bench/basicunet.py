"""MONAI's BasicUNet in plain code: what a medseg run is compared with (see brain_infarct_baselines.py)."""

import time

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import BasicUNet
from PIL import Image

SIZE = (192, 160)


def padded(values, fill):
    canvas = np.full(SIZE, fill, np.float32)
    canvas[: values.shape[0], : values.shape[1]] = values
    return canvas


def load(path):
    image = np.asarray(Image.open(path), np.float32)
    inside = image[image > 0]
    return padded(np.where(image > 0, (image - inside.mean()) / inside.std(), -3), -3)


def train(image_paths, mask_paths, minutes, seed=0):
    torch.manual_seed(seed)
    images = torch.from_numpy(np.stack([load(path) for path in image_paths]))[:, None]
    masks = torch.from_numpy(np.stack([padded(np.asarray(Image.open(path)) > 0, 0) for path in mask_paths]))[:, None]
    network = BasicUNet(spatial_dims=2, in_channels=1, out_channels=1)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    began, step = time.monotonic(), 0
    while time.monotonic() - began < minutes * 60:
        chosen = torch.randint(len(images), (12,))
        image, mask = images[chosen], masks[chosen]
        if torch.rand(()) < 0.5:
            image, mask = image.flip(-1), mask.flip(-1)
        loss = loss_of(network(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    print(f"{step} steps")
    return network.eval()


@torch.inference_mode()
def probability_of(network, path):
    height, width = np.asarray(Image.open(path)).shape
    output = network(torch.from_numpy(load(path))[None, None])
    return output.sigmoid()[0, :, :height, :width].numpy()
