"""Losses of detectors between ranks and one process; ranks that tests start import this."""

import itertools

import torch
import torch.distributed as dist
from rank_pool import Seat

from medseg.detectors.heatmap import HeatmapDetector
from medseg.detectors.segmentation import SegmentationDetector
from medseg.detectors.settings import HeatmapSettings, SegmentationSettings
from medseg.parallel import spatial_parallel

LOSSES = ("dice_ce", "dice_focal", "focal", "tversky_focal", "dice_topk", "dice_balanced")
CLASSES = ("a", "b")


def detectors():
    """Each loss, with its name."""
    yield "heatmap", HeatmapDetector(HeatmapSettings(), CLASSES)
    for loss, exclusive in itertools.product(LOSSES, (False, True)):
        settings = SegmentationSettings(loss=loss, exclusive=exclusive)
        yield f"{loss}{' exclusive' * exclusive}", SegmentationDetector(settings, CLASSES)


def apart(seat: Seat, bounds: tuple[int, ...]) -> dict[str, float]:
    """Relative difference of each loss, alone and with a supervised lower level, and of its gradients."""
    differences = {}
    first, last = bounds[seat.rank : seat.rank + 2]
    for (name, detector), levels in itertools.product(detectors(), (1, 2)):
        generator = torch.Generator().manual_seed(3)
        channels = detector.output_channels(2)
        logits = [torch.randn(2, channels, 32 // n, 32 // n, generator=generator) for n in (1, 4)[:levels]]
        extra = {"heatmap": 3}.get(name, 1 if "balanced" in name else 0)
        target = torch.rand(2, len(CLASSES) + extra, 32, 32, generator=generator)
        target[:, :2] = (target[:, :2] < 0.1) * torch.tensor([1.0, 0.0])[:, None, None]
        target[:, 1, :6] = 1 - target[:, 0, :6]
        wholes = [one.clone().requires_grad_() for one in logits]
        expected = detector.loss(tuple(wholes) if levels > 1 else wholes[0], target)
        expected.backward()
        steps = (1, 4)[:levels]
        parts = [one[:, :, first // n : last // n].clone().requires_grad_() for one, n in zip(logits, steps)]
        mine = target[:, :, first:last].clone()
        with spatial_parallel(seat.group):
            found = detector.loss(tuple(parts) if levels > 1 else parts[0], mine)
        (found / seat.size).backward()
        value = found.detach().clone()
        dist.all_reduce(value, group=seat.group)
        gaps = [abs(float(value) / seat.size - float(expected.detach())) / float(expected.detach())]
        for part, whole, n in zip(parts, wholes, steps):
            wanted = whole.grad[:, :, first // n : last // n]
            gaps.append(float((part.grad - wanted).abs().sum() / whole.grad.abs().sum()))
        differences[f"{name}, {levels} level(s)"] = max(gaps)
    return differences
