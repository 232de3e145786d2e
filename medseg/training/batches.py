"""The batches of a training, from any step on: whole, or the parts of each process or slab."""

import os
import signal
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from medseg.data.samples import TrainingSamples
from medseg.parallel.team import Team
from medseg.training.settings import TrainingSettings

__all__ = ["Batch", "batches"]

Batch = tuple[torch.Tensor, torch.Tensor]


class _Part(Dataset):
    """The rows of each sample that one process works on."""

    def __init__(self, samples: TrainingSamples, start: int, stop: int) -> None:
        self._samples, self._start, self._stop = samples, start, stop

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self._samples.rows(index, self._start, self._stop)


def batches(
    samples: TrainingSamples,
    settings: TrainingSettings,
    team: Team,
    context: Any,
    bounds: tuple[int, ...],
    *,
    batch_size: int,
    first_step: int,
) -> Iterator[Batch]:
    """Yield (image, target) of each step from `first_step` on, on the team's device.

    Sample numbers go on where a checkpoint stopped. Each data group takes its share of a batch, each process (or slab)
    its rows, `bounds`, of every sample.
    """
    numbers = _numbers(len(samples), batch_size, team, first_step)
    size = batch_size // team.layout.data
    if team.layout.slabs > 1:
        yield from _in_turn(samples, team, context, bounds, numbers, size)
        return
    own = bounds[team.space_rank : team.space_rank + 2]
    source: Dataset = _Part(samples, *own) if team.spreads else samples
    for batch in _loader(source, numbers, size, settings, team):
        yield team.spread(context, lambda start, stop, batch=batch: batch, bounds)  # type: ignore[misc]


def _numbers(length: int, batch_size: int, team: Team, first_step: int) -> Iterator[int] | range:
    """Numbers of the samples of this process's data group."""
    if team.layout.data == 1:
        return range(first_step * batch_size, length)
    size = batch_size // team.layout.data
    first = team.data_rank * size
    return (
        step * batch_size + first + place for step in range(first_step, length // batch_size) for place in range(size)
    )


def _in_turn(
    samples: TrainingSamples, team: Team, context: Any, bounds: tuple[int, ...], numbers: Any, size: int
) -> Iterator[Batch]:
    """Make one slab of a batch after another; none is ready before it is needed, so that memory stays bounded."""
    numbers = iter(numbers)
    while len(chosen := list(islice(numbers, size))) == size:

        def read(start: int, stop: int, chosen: list[int] = chosen) -> Batch:
            pairs = [samples.rows(number, start, stop) for number in chosen]
            return (
                torch.from_numpy(np.stack([image for image, _ in pairs])),
                torch.from_numpy(np.stack([target for _, target in pairs])),
            )

        image, target = team.spread(context, read, bounds)
        yield image, target


def _loader(source: Dataset, numbers: Any, size: int, settings: TrainingSettings, team: Team) -> DataLoader:
    workers = settings.workers
    if workers is None:
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if not team.is_alone else 1
        workers = max(1, (os.cpu_count() or 2) // 2 // here)
    return DataLoader(
        source,
        batch_size=size,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=team.device.type == "cuda",
        worker_init_fn=_quiet_worker,
        generator=torch.Generator().manual_seed(0),  # leaves the global state alone; samples have seeds of their own
    )


def _quiet_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides what Ctrl-C means
