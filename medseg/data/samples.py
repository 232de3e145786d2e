"""Training samples: which case, which patch, which augmentation, each a function of seed and number alone.

Because sample `i` is the same whoever makes it and whenever, a resumed training goes on exactly; and because any of its
rows can be made alone, processes that share a sample never hold the whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch.utils.data import Dataset

from medseg.data.augmentation import Augmentation, Change
from medseg.data.augmentation_channels import missing_of
from medseg.data.cache import CachedCase
from medseg.data.hard_negatives import HardNegative, pick_hard_negative
from medseg.data.patches import count_lesion_voxels, crop_or_pad, lesion_boxes, lesion_sizes, pick_lesion_voxel
from medseg.data.rows import Rows, collect, kept, row_blocks
from medseg.data.settings import AugmentationSettings, SamplingSettings
from medseg.data.store import CaseStore
from medseg.seeds import child_seed

__all__ = ["Encoder", "TrainingSamples"]


class Encoder(Protocol):
    """What turns lesion numbers into a target (a detector)."""

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
        """Make the target of one sample, or of the rows of it that `instances` are."""
        ...


class TrainingSamples(Dataset):
    """An endless sequence of samples; item `i` is (image, target).

    Parameters
    ----------
    store : CaseStore
        Its cases are drawn from.
    patch_size : tuple of int
        (y, x) or (z, y, x) in working voxels.
    n_channels : int
        Images of a case; an image of the store holds each once, or several times over (mirrored).
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
        n_channels: int = 1,
    ) -> None:
        self._store, self._encoder, self._seed = store, encoder, seed
        self._names = [case.case_id for case in store.cases]
        self._patch_size, self._sampling = patch_size, sampling
        self._size = (1,) * (3 - len(patch_size)) + patch_size  # (z, y, x)
        self._augmentation = Augmentation(augmentation, patch_size, n_channels=n_channels)
        self._n_channels = n_channels
        self._drops_channels = augmentation.enabled and augmentation.channel_dropout > 0
        flags = np.array(positives)
        self._with, self._without = np.flatnonzero(flags), np.flatnonzero(~flags)
        self._length = length
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))
        self.hard_negatives: list[HardNegative] = []  # whoever changes them makes the batches anew: workers have copies
        self._lesion_counts: dict[str, np.ndarray] = {}  # what needs a pass over a whole case is found once
        self._minima: dict[str, np.ndarray] = {}
        self._missing: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.rows(index, 0, self._patch_size[0])

    def rows(self, index: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Make the rows [start, stop) of sample `index` along its first spatial axis, perhaps none.

        The rows of any division, put together, are ``samples[index]``: targets exactly, images to the rounding of
        float32. Beside the rows asked for, blocks of a fixed size are held. Where a change needs the whole sample (the
        gamma curve its statistics, a heat map the lesions' boxes), it is gone over block by block.

        Parameters
        ----------
        index : int
        start, stop : int
            Within the patch: ``0 <= start <= stop <= patch_size[0]``.

        Returns
        -------
        image : ndarray of float32, shape (channel, stop - start, ...)
        target : ndarray
            What the encoder makes of these rows.
        """
        if not 0 <= start <= stop <= self._patch_size[0]:
            raise ValueError(f"rows {start} to {stop} do not lie within a patch of {self._patch_size[0]} rows")
        random = np.random.default_rng(child_seed(self._seed, "sample", index))
        aim = pick_hard_negative(self.hard_negatives, self._sampling.hard_negative_fraction, self._seed, index)
        case = self._store[self._names[self._case_of(index, random)] if aim is None else aim[0]]
        corner = self._corner(case, self._lesion_voxel(case, random) if aim is None else aim[1:4], random)
        change = self._without_channels(self._augmentation.draw(int(random.integers(2**31))), case)
        image = change.image(self._patch(case.image, corner, self._minimum(case, corner)))
        instances = kept(change.instances(self._patch(case.instances[None], corner, np.zeros(1, case.instances.dtype))))

        def blocks() -> Iterator[tuple[int, np.ndarray]]:
            every = row_blocks(instances.shape, 0, instances.shape[1])
            return ((first, instances.read(first, end).numpy()[0]) for first, end in every)

        n_lesions = len(case.class_of) - 1
        numbers = collect(instances, start, stop).numpy()[0]
        target = self._encoder.encode(
            numbers, case.class_of, case.label, labels=case.labels, first_row=start,
            boxes=lambda: lesion_boxes(blocks(), n_lesions), sizes=lambda: lesion_sizes(blocks(), n_lesions),
        )  # fmt: skip
        return collect(image, start, stop).numpy(), target

    def _without_channels(self, change: Change, case: CachedCase) -> Change:
        """Take channels away in all their copies, and keep those that the case lacks free of noise."""
        if not self._drops_channels:
            return change
        if case.case_id not in self._missing:
            self._missing[case.case_id] = missing_of(case.image)
        copies = {number for number in range(len(case.image)) if number % self._n_channels in change.dropped}
        return replace(change, dropped=tuple(sorted(copies | set(self._missing[case.case_id]))))

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

    def _lesion_voxel(self, case: CachedCase, random: np.random.Generator) -> tuple[int, int, int] | None:
        """Draw whether the patch is placed on a lesion, and on which voxel, (z, y, x), of which."""
        if len(case.class_of) == 1 or random.random() >= self._sampling.foreground_fraction:
            return None
        if case.case_id not in self._lesion_counts:
            self._lesion_counts[case.case_id] = count_lesion_voxels(case.instances)
        return pick_lesion_voxel(case.instances, self._lesion_counts[case.case_id], random)

    def _corner(
        self, case: CachedCase, centre: tuple[int, int, int] | None, random: np.random.Generator
    ) -> tuple[int, int, int]:
        """Draw where the patch begins, (z, y, x); below 0 along an axis on which the case is smaller."""
        corner = []
        for axis, (side, patch) in enumerate(zip(case.instances.shape, self._size)):
            room = side - patch
            if room <= 0:
                corner.append(room // 2)  # centred, padded
            elif centre is None:
                corner.append(int(random.integers(room + 1)))
            else:
                jitter = int(random.integers(-(patch // 4), patch // 4 + 1))
                corner.append(min(max(centre[axis] - patch // 2 + jitter, 0), room))
        return corner[0], corner[1], corner[2]

    def _minimum(self, case: CachedCase, corner: tuple[int, int, int]) -> np.ndarray:
        """Smallest value of each channel, which pads a patch that is larger than the case."""
        if min(corner) >= 0:
            return np.zeros(len(case.image), case.image.dtype)  # not needed
        if case.case_id not in self._minima:
            self._minima[case.case_id] = np.array([channel.min() for channel in case.image])
        return self._minima[case.case_id]

    def _patch(self, array: np.ndarray, corner: tuple[int, int, int], outside: np.ndarray) -> Rows:
        """Rows of the patch of `array`, shape (channel, z, y, x), that begins at `corner`."""
        z, y, x = corner
        depth, height, width = self._size
        if len(self._patch_size) == 3:

            def read(start: int, stop: int) -> torch.Tensor:
                size = (stop - start, height, width)
                return torch.from_numpy(crop_or_pad(array, (z + start, y, x), size, outside=outside))

        else:

            def read(start: int, stop: int) -> torch.Tensor:
                size = (depth, stop - start, width)
                return torch.from_numpy(crop_or_pad(array, (z, y + start, x), size, outside=outside)[:, 0])

        return Rows((len(array), *self._patch_size), read)
