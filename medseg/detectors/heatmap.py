"""Lesions from boxes, points or masks: a Gaussian at each centre and the extents beside it."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy import ndimage

from medseg.data.patches import lesion_boxes
from medseg.detectors.candidates import Candidate
from medseg.detectors.levels import over_levels
from medseg.detectors.settings import HeatmapSettings

__all__ = ["HeatmapDetector"]

EXTENT_PRIOR = 16.0  # voxels: a fresh head answers this, the middle of what lesions have on a logarithmic scale
PRIOR = 0.01  # expected share of centre voxels: the bias of a fresh head starts near it (Lin 2017)


class HeatmapDetector:
    """Detector of kind ``heatmap``; channels are one heat map a class, then log extents along the axes."""

    validation_metric = "froc_partial_area"
    quiet_start = True

    def __init__(self, settings: HeatmapSettings, classes: tuple[str, ...]) -> None:
        self.settings, self.classes = settings, classes

    def output_channels(self, dimensions: int) -> int:
        """Classes, then one extent an axis."""
        return len(self.classes) + dimensions

    def encode(
        self,
        instances: np.ndarray,
        class_of: np.ndarray,
        label: int,
        *,
        labels: Sequence[int] | np.ndarray = (),
        first_row: int = 0,
        boxes: Callable[[], np.ndarray] | None = None,
        sizes: Callable[[], np.ndarray] | None = None,
    ) -> np.ndarray:
        """Heat maps, log extents in voxels, and a map that is 1 at centres; float32 (class + axes + 1, *spatial)."""
        n_classes, axes = len(self.classes), instances.ndim
        found = lesion_boxes([(0, instances)], len(class_of) - 1) if boxes is None else boxes()
        target = np.zeros((n_classes + axes + 1, *instances.shape), np.float32)
        for number, box in enumerate(found, start=1):
            extent = (box[:, 1] - box[:, 0]).astype(float)
            if not extent.all():  # not in the sample
                continue
            centre = box[:, 0] + np.round((extent - 1) / 2).astype(int)
            centre[0] -= first_row
            heat = target[class_of[number]]
            np.maximum(heat, self._kernel(heat.shape, centre, extent), out=heat)
            if 0 <= centre[0] < len(instances):
                target[(slice(n_classes, n_classes + axes), *centre)] = np.log(extent)
                target[(-1, *centre)] = 1.0
        return target

    def _kernel(self, shape: tuple[int, ...], centre: np.ndarray, extent: np.ndarray) -> np.ndarray:
        """Gaussian around `centre`, which may lie outside `shape`."""
        sigma = np.maximum(self.settings.min_sigma, self.settings.sigma_fraction * extent)
        kernel = np.ones((), np.float32)
        for axis, side in enumerate(shape):
            line = np.exp(-((np.arange(side) - centre[axis]) ** 2) / (2 * sigma[axis] ** 2)).astype(np.float32)
            kernel = kernel[..., None] * line
        return kernel

    def loss(self, output: torch.Tensor | tuple[torch.Tensor, ...], target: torch.Tensor) -> torch.Tensor:
        """Loss of the heat maps plus the weighted L1 loss of log extents at centres, in float32.

        Of each level, where lower ones are supervised (see `over_levels`); extents are in voxels of the finest there.
        """
        return over_levels(self._loss, output, target)

    def _loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        n_classes = len(self.classes)
        output, target = output.float(), target.float()
        logits, heat = output[:, :n_classes], target[:, :n_classes]
        centres = target[:, -1:]
        n_centres = centres.sum().clamp(min=1)
        log_extents = output[:, n_classes:] + float(np.log(EXTENT_PRIOR))
        extents = ((log_extents - target[:, n_classes:-1]).abs() * centres).sum() / n_centres
        return self._heat_loss(logits, heat, n_centres) + self.settings.size_weight * extents

    def _heat_loss(self, logits: torch.Tensor, heat: torch.Tensor, n_centres: torch.Tensor) -> torch.Tensor:
        settings = self.settings
        logits = logits + float(np.log(PRIOR / (1 - PRIOR)))
        if settings.loss == "mse":
            return ((logits.sigmoid() - heat) ** 2).mean()
        # penalty-reduced focal loss, Law 2018 (CornerNet), arXiv:1808.01244, eq. 1
        log_p, log_q = torch.nn.functional.logsigmoid(logits), torch.nn.functional.logsigmoid(-logits)
        p = logits.sigmoid()
        at_centre = heat > 1 - 1e-6
        hit = torch.where(at_centre, (1 - p) ** settings.focal_alpha * log_p, 0)
        miss = torch.where(at_centre, 0, (1 - heat) ** settings.focal_beta * p**settings.focal_alpha * log_q)
        return -(hit.sum() + miss.sum()) / n_centres

    def activate(self, output: torch.Tensor) -> torch.Tensor:
        """Heat between 0 and 1, extents in voxels."""
        n_classes = len(self.classes)
        heat = (output[:, :n_classes].float() + float(np.log(PRIOR / (1 - PRIOR)))).sigmoid()
        log_extents = output[:, n_classes:].float() + float(np.log(EXTENT_PRIOR))
        return torch.cat([heat, log_extents.clamp(0, 8).exp()], dim=1)

    def decode(self, maps: np.ndarray, *, min_score: float, max_candidates: int) -> list[Candidate]:
        """List local maxima of each heat map, with the extents predicted there."""
        n_classes = len(self.classes)
        axes = maps.shape[0] - n_classes
        found: list[Candidate] = []
        for class_index in range(n_classes):
            heat = maps[class_index]  # (z, y, x)
            side = 2 * self.settings.peak_radius + 1
            size = (side if axes == 3 else 1, side, side)
            peaks = np.argwhere((heat == ndimage.maximum_filter(heat, size=size)) & (heat >= max(min_score, 1e-6)))
            peaks = peaks[np.argsort(-heat[tuple(peaks.T)], kind="stable")]
            found += self._without_repeats(maps, peaks, class_index, max_candidates)
        return sorted(found, key=lambda candidate: -candidate.score)[:max_candidates]

    def _without_repeats(self, maps: np.ndarray, peaks: np.ndarray, class_index: int, limit: int) -> list[Candidate]:
        """Go down the peaks, leaving out those in the box of a better one."""
        kept: list[Candidate] = []
        middles, halves = np.empty((0, 3)), np.empty((0, 3))
        for peak in peaks:
            xyz = peak[::-1].astype(float)
            if (np.abs(middles - xyz) < halves).all(axis=1).any():
                continue
            candidate = self._candidate(maps, peak, class_index)
            kept.append(candidate)
            if len(kept) >= limit:
                break
            extent = np.array(candidate.high) - np.array(candidate.low)
            middles = np.vstack([middles, xyz])
            halves = np.vstack([halves, self.settings.suppression * extent / 2])
        return kept

    def _candidate(self, maps: np.ndarray, peak: np.ndarray, class_index: int) -> Candidate:
        extent = maps[(slice(len(self.classes), None), *peak)]
        extent = np.minimum(np.concatenate([np.ones(3 - len(extent)), extent]), maps.shape[1:])
        low, high = peak - extent / 2 + 0.5, peak + extent / 2 + 0.5
        axes = maps.shape[0] - len(self.classes)
        return Candidate(
            centre=tuple(peak[::-1].astype(float).tolist()),
            low=tuple(low[::-1].tolist()),
            high=tuple(high[::-1].tolist()),
            # area of the ellipse, volume of the ellipsoid inside the box
            voxels=float(np.prod(extent) * (np.pi / 4 if axes == 2 else np.pi / 6)),
            score=float(maps[(class_index, *peak)]),
            class_index=class_index,
            peak=tuple(peak.tolist()),
        )
