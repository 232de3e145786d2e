"""Training samples: which case, which patch, which augmentation, each a function of seed and number alone.

Because sample `i` is the same whoever makes it and whenever, a resumed training goes on exactly.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch.utils.data import Dataset

from medseg.data.augmentation import Augmentation
from medseg.data.cache import CachedCase
from medseg.data.settings import AugmentationSettings, SamplingSettings
from medseg.data.store import CaseStore
from medseg.seeds import child_seed

__all__ = ["Encoder", "TrainingSamples", "crop_or_pad"]


class Encoder(Protocol):
    """What turns lesion numbers into a target (a detector)."""

    def encode(self, instances: np.ndarray, class_of: np.ndarray, label: int) -> np.ndarray:
        """Make the target of one sample."""
        ...


@dataclass(frozen=True, slots=True)
class _Draw:
    case: CachedCase
    random: np.random.Generator


class TrainingSamples(Dataset):
    """An endless sequence of samples; item `i` is (image, target).

    Parameters
    ----------
    store : CaseStore
        Its cases are drawn from.
    patch_size : tuple of int
        (y, x) or (z, y, x) in working voxels.
    """

    def __init__(
        self,
        store: CaseStore,
        encoder: Encoder,
        *,
        patch_size: tuple[int, ...],
        sampling: SamplingSettings,
        augmentation: AugmentationSettings,
        positives: list[bool],
        length: int,
        seed: int,
    ) -> None:
        self._store, self._encoder, self._seed = store, encoder, seed
        self._names = [case.case_id for case in store.cases]
        self._patch_size, self._sampling = patch_size, sampling
        self._augmentation = Augmentation(augmentation, patch_size)
        flags = np.array(positives)
        self._with, self._without = np.flatnonzero(flags), np.flatnonzero(~flags)
        self._length = length
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(child_seed(self._seed, "sample", index))
        case = self._store[self._names[self._case_of(index, random)]]
        image, instances = self._patch(_Draw(case, random))
        image, instances = self._augmentation(image, instances, seed=int(random.integers(2**31)))
        return image, self._encoder.encode(instances, case.class_of, case.label)

    def _case_of(self, index: int, random: np.random.Generator) -> int:
        fraction = self._sampling.positive_fraction
        if fraction is not None and len(self._with) and len(self._without):
            group = self._with if random.random() < fraction else self._without
            return int(random.choice(group))
        epoch, place = divmod(index, len(self._names))
        if self._order[0] != epoch:
            order = np.random.default_rng(child_seed(self._seed, "epoch", epoch)).permutation(len(self._names))
            self._order = (epoch, order)
        return int(self._order[1][place])

    def _patch(self, draw: _Draw) -> tuple[np.ndarray, np.ndarray]:
        case, random = draw.case, draw.random
        size = (1, *self._patch_size) if len(self._patch_size) == 2 else self._patch_size
        centre = None
        if len(case.class_of) > 1 and random.random() < self._sampling.foreground_fraction:
            centre = _voxel_of_a_lesion(case.instances, random)
        start = []
        for axis, (side, patch) in enumerate(zip(case.instances.shape, size)):
            room = side - patch
            if room <= 0:
                start.append(room // 2)  # centred, padded
            elif centre is None:
                start.append(int(random.integers(room + 1)))
            else:
                jitter = int(random.integers(-(patch // 4), patch // 4 + 1))
                start.append(int(np.clip(centre[axis] - patch // 2 + jitter, 0, room)))
        image = np.stack([crop_or_pad(channel, start, size, fill=None) for channel in case.image])
        instances = crop_or_pad(case.instances, start, size, fill=0)
        return (image[:, 0], instances[0]) if len(self._patch_size) == 2 else (image, instances)


def _voxel_of_a_lesion(instances: np.ndarray, random: np.random.Generator) -> np.ndarray | None:
    present = np.flatnonzero(np.bincount(instances.ravel())[1:]) + 1
    if len(present) == 0:
        return None
    where = np.argwhere(instances == random.choice(present))
    return where[random.integers(len(where))]


def crop_or_pad(array: np.ndarray, start: list[int], size: tuple[int, ...], *, fill: float | None) -> np.ndarray:
    """Cut `size` out of `array` from `start`; what lies outside is `fill`, or the array's minimum if None."""
    inside = tuple(slice(max(s, 0), min(s + n, side)) for s, n, side in zip(start, size, array.shape))
    part = array[inside]
    if part.shape == tuple(size):
        return np.array(part)
    value = float(array.min()) if fill is None else fill
    padded = np.full(size, value, array.dtype)
    at = tuple(slice(max(-s, 0), max(-s, 0) + n) for s, n in zip(start, part.shape))
    padded[at] = part
    return padded
