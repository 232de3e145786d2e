"""Prediction with small networks that is spread, against the network over the whole, also in ranks that tests start."""

import os
import time

import numpy as np
import torch
from monai.networks.nets import DenseNet
from torch import nn

from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.heatmap import HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import ClassificationSettings, HeatmapSettings, SegmentationSettings
from medseg.inference import batch
from medseg.inference.class_maps import classify
from medseg.inference.predict import predict_here
from medseg.inference.settings import InferenceSettings
from medseg.inference.spread import SpreadMaps
from medseg.inference.spread_classes import SpreadClasses
from medseg.inference.windows import predict_maps
from medseg.parallel.ranks import process_group
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.team import Team

CPU = torch.device("cpu")
CLASSES = ("a", "b")
# patch (None: the whole image), shape of the image, mirror images, detector, rows of a part are multiples of
CASES = {
    "volume": ((8, 16, 16), (20, 24, 19), (), "segmentation", 1),
    "mirrored volume": ((8, 16, 16), (13, 24, 19), ("z", "x"), "segmentation", 2),
    "smaller than the patch": ((16, 16, 16), (9, 20, 11), ("z",), "segmentation", 4),
    "smaller by one": ((8, 16, 16), (7, 16, 15), ("z", "y"), "segmentation", 2),
    "one window": ((12, 16, 16), (12, 16, 16), ("y",), "segmentation", 1),
    "slices": ((16, 16), (3, 21, 26), ("z", "y", "x"), "segmentation", 2),
    "small slices": ((16, 16), (2, 10, 26), ("y",), "segmentation", 1),
    "heat": ((8, 16, 16), (12, 16, 20), ("x",), "heatmap", 1),
    "label of a volume": (None, (10, 16, 12), ("z", "x"), "classification", 2),
    "label of slices": (None, (2, 15, 12), ("y",), "classification", 2),
    "activation map of a volume": (None, (35, 20, 16), ("z",), "activation map", 1),
    "activation map of slices": (None, (2, 35, 20), ("y", "x"), "activation map", 2),
}
FLAT = ("slices", "small slices", "label of slices", "activation map of slices")


def detector_of(kind):
    if kind == "segmentation":
        return SegmentationDetector(SegmentationSettings(), CLASSES)
    if kind == "heatmap":
        return HeatmapDetector(HeatmapSettings(), CLASSES)
    method = "cam" if kind == "activation map" else "none"
    return ClassificationDetector(ClassificationSettings(multi_label=method == "cam", activation_map=method), CLASSES)


def network_of(channels, outputs, *, flat, pooled):
    """A convolutional network that looks around and goes one level down."""
    conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if flat else (nn.Conv3d, nn.InstanceNorm3d)
    torch.manual_seed(1)
    layers = [conv(channels, 4, 3, padding=1), norm(4, affine=True), nn.LeakyReLU(), conv(4, 6, 3, 2, padding=1)]
    if pooled:
        layers += [nn.AdaptiveAvgPool2d(1) if flat else nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, outputs)]
    else:
        layers += [nn.Upsample(scale_factor=2), conv(6, outputs, 1)]
    return nn.Sequential(*layers).eval()


def small_densenet(channels, outputs, *, dimensions):
    """A DenseNet of two blocks, whose features lie 8 voxels apart."""
    torch.manual_seed(1)
    return DenseNet(dimensions, channels, outputs, init_features=8, growth_rate=4, block_config=(2, 2)).eval()


def apart(team, name):
    """Largest difference of one case of `CASES` from the network over the whole, on the first process."""
    patch, shape, flips, kind, row_step = CASES[name]
    flat = name in FLAT
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    detector = detector_of(kind)
    classifies = isinstance(detector, ClassificationDetector)
    outputs = len(CLASSES) if classifies else detector.output_channels(2 if flat else 3)
    network = network_of(2, outputs, flat=flat, pooled=classifies)
    if kind == "activation map":
        network = small_densenet(2, outputs, dimensions=2 if flat else 3)
    settings = InferenceSettings(overlap=0.4, flip_axes=flips)
    how = {"dimensions": 2 if flat else 3, "row_step": row_step, "settings": settings, "autocast": None}
    if classifies:
        classes = SpreadClasses(team, network, detector, **how)
        output = team.led(lambda: classes.lead(image), classes.follow)
        found = output.probabilities if output.maps is None else output.maps
    else:
        spread = SpreadMaps(team, network, detector, patch_size=patch, **how)
        found = team.led(lambda: spread.lead(image), spread.follow)
    if kind == "activation map":
        whole = classify(network, detector, image, dimensions=how["dimensions"], settings=settings).maps
    else:
        whole = expected(network, detector, image, patch, settings, flat=flat)
    assert found.shape == whole.shape
    return float(np.abs(found - whole).max() / max(1, np.abs(whole).max()))


@torch.inference_mode()
def expected(network, detector, image, patch, settings, *, flat):
    """What the network says of the whole."""
    if patch is not None:
        return predict_maps(network, detector, image, patch_size=patch, settings=settings)
    batch = torch.from_numpy(image.swapaxes(0, 1) if flat else image[None])
    views = [batch, *(batch.flip({"z": -3, "y": -2, "x": -1}[axis]) for axis in settings.flip_axes)]
    return torch.cat([detector.activate(network(view)) for view in views]).mean(dim=0).numpy()


def all_apart(space):
    """Differences of all cases, with this process as one of several."""
    with process_group(CPU):
        team = Team(LayoutSettings(space=space), CPU)
        return {name: apart(team, name) for name in CASES}


def predict_with_fate(fate, **arguments):
    """Predict as a rank; the one that ``rank:what`` names meets an error, or hangs, at its third image."""
    rank, what = fate.split(":")
    maps, seen = SpreadMaps._over, []

    def doomed(self, image):
        seen.append(image)
        if len(seen) == 3 and os.environ["RANK"] == rank:
            if what == "error":
                raise ValueError("something unforeseen")
            time.sleep(1000)
        return maps(self, image)

    SpreadMaps._over = doomed
    return predict_here(**arguments)


def predict_slowly(seconds, **arguments):
    """Predict as a rank; the first one takes so long to write the results of a case."""
    save = batch.save_results

    def slowly(*given):
        time.sleep(seconds)
        return save(*given)

    batch.save_results = slowly
    return predict_here(**arguments)
