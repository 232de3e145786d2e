"""Random changes of a training sample: drawn from a seed, then applied to any rows of the sample.

Drawing and applying are apart, so that processes that each hold some rows of a sample change them alike.
"""

from dataclasses import dataclass

import numpy as np

from medseg.data.augmentation_channels import draw_dropped, dropped
from medseg.data.augmentation_geometry import affine_matrix, flipped, moved
from medseg.data.augmentation_grey import blurred, brightened, curved, negated, noisy
from medseg.data.augmentation_resolution import coarsened
from medseg.data.rows import Rows
from medseg.data.settings import AugmentationSettings

__all__ = ["Augmentation", "Change"]


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What is done to one sample, in the order of the parameters; the defaults do nothing.

    Parameters
    ----------
    flip_axes : tuple of int
        Spatial axes that are mirrored.
    matrix : ndarray, optional
        Affine map, see `affine_matrix`.
    noise : float
        Standard deviation.
    noise_seed : int
    blur : tuple of float
        Standard deviation in voxels, one an axis.
    factor, offset : float
        Contrast and brightness.
    resolution : float
        Share of the resolution that is left: see `coarsened`.
    inverted_gamma : float
        A gamma curve of the inverted grey values.
    gamma : float
    dropped : tuple of int
        Channels that become 0.
    """

    flip_axes: tuple[int, ...] = ()
    matrix: np.ndarray | None = None
    noise: float = 0.0
    noise_seed: int = 0
    blur: tuple[float, ...] = ()
    factor: float = 1.0
    offset: float = 0.0
    resolution: float = 1.0
    inverted_gamma: float = 1.0
    gamma: float = 1.0
    dropped: tuple[int, ...] = ()

    def image(self, rows: Rows) -> Rows:
        """Change an image of float32."""
        rows = self._moved(rows, nearest=False)
        if self.noise:
            rows = noisy(rows, std=self.noise, seed=self.noise_seed)
        if self.blur:
            rows = blurred(rows, self.blur)
        if self.factor != 1 or self.offset:
            rows = brightened(rows, factor=self.factor, offset=self.offset)
        if self.resolution < 1:
            rows = coarsened(rows, self.resolution)
        if self.inverted_gamma != 1:
            rows = negated(curved(negated(rows), self.inverted_gamma))
        if self.gamma != 1:
            rows = curved(rows, self.gamma)
        return dropped(rows, self.dropped) if self.dropped else rows

    def instances(self, rows: Rows) -> Rows:
        """Move lesion numbers as the image is moved."""
        return self._moved(rows, nearest=True)

    def _moved(self, rows: Rows, *, nearest: bool) -> Rows:
        if self.flip_axes:
            rows = flipped(rows, self.flip_axes)
        return rows if self.matrix is None else moved(rows, self.matrix, nearest=nearest)


NO_CHANGE = Change()


class Augmentation:
    """Draw the random changes that `settings` describe.

    Parameters
    ----------
    settings : AugmentationSettings
    patch_size : tuple of int
        (y, x) or (z, y, x); the shift is a share of it.
    n_channels : int
        Images of a case; the network may be given each several times over.
    """

    def __init__(self, settings: AugmentationSettings, patch_size: tuple[int, ...], *, n_channels: int = 1) -> None:
        self._settings, self._patch_size, self._n_channels = settings, patch_size, n_channels
        axes = "zyx"[-len(patch_size) :]
        self._flip_axes = [axes.index(name) for name in settings.flip_axes if name in axes]

    def draw(self, seed: int) -> Change:
        """Draw a change; the same seed gives the same."""
        settings = self._settings
        if not settings.enabled:
            return NO_CHANGE
        random = np.random.default_rng(seed)
        p = settings.intensity_probability
        return Change(
            flip_axes=tuple(axis for axis in self._flip_axes if random.random() < 0.5),
            matrix=self._matrix(random) if random.random() < settings.affine_probability else None,
            noise=random.uniform(0, settings.noise) if random.random() < p else 0.0,
            noise_seed=int(random.integers(2**31)),
            blur=self._blur(random) if random.random() < p / 2 else (),
            factor=1 + _either_way(random, settings.brightness) if random.random() < p else 1.0,
            offset=_either_way(random, settings.brightness) if random.random() < p else 0.0,
            gamma=random.uniform(*settings.gamma) if random.random() < p else 1.0,
            # drawn last, and only where asked for, so that pipelines without them keep their samples
            dropped=draw_dropped(random, self._n_channels, settings.channel_dropout),
            resolution=self._resolution(random),
            inverted_gamma=self._inverted_gamma(random),
        )

    def _matrix(self, random: np.random.Generator) -> np.ndarray:
        settings = self._settings
        turn = _either_way(random, float(np.deg2rad(settings.rotation_degrees)))
        shifts = [_either_way(random, settings.shift * side) for side in self._patch_size]
        scales = [1 + _either_way(random, settings.scale) for _ in self._patch_size]
        largest = float(np.deg2rad(settings.rotation_degrees_other))
        others = (0.0, 0.0)
        if largest and len(self._patch_size) == 3:
            others = _either_way(random, largest), _either_way(random, largest)
        return affine_matrix(turn, shifts, scales, others)

    def _resolution(self, random: np.random.Generator) -> float:
        lowest = self._settings.low_resolution
        if lowest == 1 or random.random() >= self._settings.intensity_probability / 2:
            return 1.0
        return float(random.uniform(lowest, 1))

    def _inverted_gamma(self, random: np.random.Generator) -> float:
        p = self._settings.inverted_gamma_probability
        return float(random.uniform(*self._settings.gamma)) if p and random.random() < p else 1.0

    def _blur(self, random: np.random.Generator) -> tuple[float, ...]:
        largest = max(self._settings.blur, 0.25)
        return tuple(random.uniform(0.25, largest) for _ in self._patch_size)


def _either_way(random: np.random.Generator, largest: float) -> float:
    return float(random.uniform(-largest, largest))
