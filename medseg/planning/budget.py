"""The memory a training may take, and the batch and patch that it holds."""

import logging
import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from medseg.config import Pipeline
from medseg.detectors.factory import build_detector
from medseg.errors import LESS_MEMORY, ConfigError
from medseg.networks.factory import build_network
from medseg.networks.topology import Topology
from medseg.planning.memory import MemoryEstimate, estimate_memory
from medseg.planning.network import FIRST_FILTERS, planned_network
from medseg.training.optimisation import build_optimizer

__all__ = ["Budget", "largest_batch", "pipeline_memory"]

FILLED = (
    0.8  # share of the limit that the planner fills; kernels' workspaces took up to a quarter more (docs/memory.md)
)
CPU_SHARE = 0.5  # of the host's memory; images, caches and worker processes need the rest
SPREAD_EXCESS = 1.1  # a part of a volume takes at most this share more than 1 / parts (docs/parallel.md)
ENOUGH = 0.95  # of the limit: a batch that fills so much is not searched further
FEWEST = 2  # samples a step when the batch is planned: patches are made smaller before it falls to one
CASE_SHARE = 0.05  # of the training voxels in a batch, at most (nnU-Net, Isensee 2021, doi:10.1038/s41592-020-01008-z)

logger = logging.getLogger(__name__)


class Budget:
    """What a step of `pipeline` may take on one device, and what fits into it.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
        Kind of device that trains.
    spacing_mm : tuple of float, optional
        Of the working grid, (z, y, x), on which a planned network depends.

    Attributes
    ----------
    first_filters : int
        Channels at full resolution of a network whose filters are planned.
    """

    def __init__(self, pipeline: Pipeline, device: str, spacing_mm: tuple[float, float, float] | None = None) -> None:
        self._pipeline, self._device, self._spacing = pipeline, device, spacing_mm
        self.first_filters = FIRST_FILTERS[0]
        self._estimates: dict[tuple[tuple[int, ...], int, int], MemoryEstimate] = {}
        self._given = pipeline.training.batch_size
        self.is_stated = pipeline.training.memory_mb is not None
        self._limit, self._limit_said = 0.0, ""
        if self.is_stated:
            self._limit = (pipeline.training.memory_mb or 0) * 1e6
            self._limit_said = f"training.memory_mb={pipeline.training.memory_mb:g}"
        elif self._given == "auto":
            self._limit, self._limit_said = _default_limit(device, pipeline.layout.ranks)

    @property
    def _fewest(self) -> int:
        return FEWEST * self._pipeline.layout.data if self._given == "auto" else self._given

    @property
    def fewest_said(self) -> str:
        """What a planned patch has to leave room for."""
        return f"{self._fewest} samples a step"

    @property
    def is_limited(self) -> bool:
        """Whether memory bounds what is planned."""
        return self._limit > 0

    def network(self, patch: tuple[int, ...]) -> tuple[Pipeline, Topology | None]:
        """Return the pipeline with its network settled for `patch`, and the topology of a planned one."""
        return planned_network(self._pipeline, patch, self._spacing, self.first_filters)

    def _needed(self, patch: tuple[int, ...], batch: int) -> MemoryEstimate:
        key = (patch, batch, self.first_filters)
        if key not in self._estimates:
            pipeline, topology = self.network(patch)
            self._estimates[key] = pipeline_memory(pipeline, patch, batch, device=self._device, topology=topology)
        return self._estimates[key]

    def voxels(self, patch: tuple[int, ...]) -> float:
        """About how many voxels a patch like `patch` may have; infinite where no choice depends on memory."""
        if not self._limit:
            return math.inf
        needs = self._needed(patch, self._fewest)
        if needs.training_bytes <= FILLED * self._limit:
            return math.inf
        room = max(FILLED * self._limit - needs.state_bytes, 0.0)
        return math.prod(patch) * min(room / (needs.training_bytes - needs.state_bytes), 0.99)

    def batch(self, patch: tuple[int, ...], training_voxels: int) -> tuple[int, str]:
        """Samples a step, and why so many."""
        if self._given != "auto":
            return self._given, "given in the pipeline"
        step = self._pipeline.layout.data
        most = max(self._fewest, int(CASE_SHARE * training_voxels / math.prod(patch)))
        batch = largest_batch(
            lambda batch: self._needed(patch, batch).training_bytes, FILLED * self._limit, step=step, most=most
        )
        limit = f"{FILLED:.0%} of {self._limit / 1e6:.0f} MB ({self._limit_said})"
        if not batch:
            logger.warning("a step of %d samples of %s is estimated to need more than %s", step, patch, limit)
            return step, f"the smallest: even this is estimated to need more than {limit}"
        if batch + step > most:
            return batch, f"{CASE_SHARE:.0%} of the training voxels, at least {self._fewest}; {limit} would hold more"
        return batch, f"what {limit} hold"

    def checked(self, patch: tuple[int, ...], batch: int) -> tuple[MemoryEstimate, str]:
        """Estimate a step, and say what it is made of.

        Raises
        ------
        ConfigError
            When it is more than a limit that was given.
        """
        needs = self._needed(patch, batch)
        layout = self._pipeline.layout
        passing = needs.training_bytes - needs.state_bytes
        parts = (
            f"weights {needs.weights_bytes / 1e6:.1f} MB, gradients {needs.gradient_bytes / 1e6:.1f} MB, optimiser "
            f"{needs.optimizer_bytes / 1e6:.1f} MB, images and activations {passing / 1e6:.1f} MB"
        )
        if self.is_stated and needs.training_bytes > self._limit:
            raise ConfigError(
                f"{self._limit_said}: a step of {batch} samples of {list(patch)} voxels is estimated to need "
                f"{needs.training_bytes / 1e6:.0f} MB ({parts}); {LESS_MEMORY}"
            )
        spread = f" in each of {layout.space * layout.slabs} parts" if layout.space * layout.slabs > 1 else ""
        reason = f"estimated{spread}: {parts}; a prediction's windows {needs.inference_bytes / 1e6:.1f} MB"
        return needs, reason


def pipeline_memory(
    pipeline: Pipeline,
    patch: tuple[int, ...],
    batch: int,
    *,
    device: str,
    precision: str | None = None,
    topology: Topology | None = None,
) -> MemoryEstimate:
    """Estimate a training step of `pipeline` and a prediction's batch of windows, on one device.

    Parameters
    ----------
    patch : tuple of int
        (y, x) or (z, y, x) in voxels.
    batch : int
        Samples a step, over all data groups.
    device : {'cpu', 'cuda'}
        Optimisers need more on a GPU.
    precision : str, optional
        By default the pipeline's; where that is measured later, the one that needs more.
    topology : Topology, optional
        Of a U-Net that is planned.
    """
    settings, layout = pipeline.training, pipeline.layout
    precision = precision or ("float32" if settings.deterministic else settings.precision)
    if precision == "auto":
        both = [
            pipeline_memory(pipeline, patch, batch, device=device, precision=one, topology=topology)
            for one in ("float32", "bfloat16")
        ]
        return max(both, key=lambda estimate: estimate.training_bytes)
    detector = build_detector(pipeline.detector, pipeline.classes)
    dimensions, channels = len(patch), pipeline.input.network_channels
    small = detector.encode(np.zeros((4,) * dimensions, int), np.zeros(1, int), 0)
    group = batch // layout.data
    whole = estimate_memory(
        partial(
            build_network, pipeline.network, in_channels=channels, out_channels=detector.output_channels(dimensions),
            patch_size=patch, topology=topology,
        ),
        detector.loss,
        image_shape=(group, channels, *patch),
        target_shape=(group, *small.shape[:1], *patch) if small.ndim else (group,),
        target_dtype=torch.from_numpy(small).dtype,
        window_shape=(pipeline.inference.window_batch, channels, *patch),
        activate=detector.activate,
        precision=precision,
        optimizer=partial(build_optimizer, settings=settings),
        averaged=settings.ema_decay is not None,
        foreach=device == "cuda",
    )  # fmt: skip
    return _part(whole, layout.space * layout.slabs)


def _part(whole: MemoryEstimate, parts: int) -> MemoryEstimate:
    """What one of the processes (or slabs in turn) that share a volume needs."""
    if parts == 1:
        return whole

    def share(total: int, stays: int) -> int:
        return stays + math.ceil((total - stays) * min(1.0, SPREAD_EXCESS / parts))

    return replace(
        whole,
        training_bytes=share(whole.training_bytes, whole.state_bytes),
        inference_bytes=share(whole.inference_bytes, min(whole.weights_bytes, whole.inference_bytes)),
    )


def largest_batch(needed: Callable[[int], int], limit: float, *, step: int, most: int) -> int:
    """Largest multiple of `step`, at most about `most`, whose `needed` bytes are within `limit`; 0: none is.

    What a step needs grows almost linearly with the batch, so two or three tries are enough; one that fills 95 % of the
    limit is taken.

    Examples
    --------
    >>> largest_batch(lambda batch: 100 + 10 * batch, 153, step=2, most=64)
    4
    """
    low, low_bytes = 1, needed(step)  # counted in steps
    if low_bytes > limit:
        return 0
    high = most // step + 1  # does not fit, or is more than wanted
    slope = math.inf  # unknown: the next guess is the next batch
    while high - low > 1 and low_bytes < ENOUGH * limit:
        guess = min(max(low + int((limit - low_bytes) / max(slope, 1.0)), low + 1), high - 1)
        guess_bytes = needed(guess * step)
        slope = (guess_bytes - low_bytes) / (guess - low)
        if guess_bytes > limit:
            high = guess
        else:
            low, low_bytes = guess, guess_bytes
    return low * step


def _default_limit(device: str, processes: int) -> tuple[int, str]:
    """Bytes that a process may take where no limit is given, and what they are."""
    if device == "cuda":
        return torch.cuda.get_device_properties(0).total_memory, "the GPU's memory"
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    group = Path("/sys/fs/cgroup/memory.max")  # of a container or a Slurm job
    if group.is_file() and (text := group.read_text().strip()).isdecimal():
        total = min(total, int(text))
    each = f", shared by {processes} processes" if processes > 1 else ""
    return int(total * CPU_SHARE / processes), f"half of the host's memory{each}"
