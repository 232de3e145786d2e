"""Shapes of simulated nodules: ellipsoids, smooth or irregular, with exact partial volume."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

__all__ = ["Drawn", "NoduleShape", "draw_shape", "random_shape"]

FINE = 4  # samples a voxel and axis for the partial volume: 64 a voxel, so a step of 1.6 %
EDGE_VOXELS = 0.5  # standard deviation of the blur of a border: the point spread of the scanner
FAINT = 1e-3  # of a nodule's contrast: what is fainter is cut off, so that the rest of the image is not touched
PAD = 3  # voxels around the ellipsoid that the blur may reach
RIM_BEGINS = 0.85  # of the radius: where the rim of a nodule begins
RIPPLES = 3


@dataclass(frozen=True, slots=True, eq=False)
class NoduleShape:
    """An ellipsoid whose radius may ripple with direction.

    Parameters
    ----------
    radii_mm : ndarray, shape (3,)
        Half axes.
    rotation : ndarray, shape (3, 3)
        From its own axes to (z, y, x).
    irregularity : float
        Largest relative change of the radius; 0: an ellipsoid.
    ripples : ndarray, shape (RIPPLES, 4)
        Of each ripple its direction, times its frequency, and its phase.
    """

    radii_mm: np.ndarray
    rotation: np.ndarray
    irregularity: float
    ripples: np.ndarray

    @property
    def reach_mm(self) -> float:
        """No part of it is further from its centre."""
        return float(self.radii_mm.max()) * (1 + self.irregularity)

    def relative_radius(self, offset_mm: np.ndarray) -> np.ndarray:
        """Distance from the centre over that of the surface in the same direction; `offset_mm` is (..., zyx)."""
        own = offset_mm @ self.rotation / self.radii_mm
        distance = np.linalg.norm(own, axis=-1)
        if not self.irregularity:
            return distance
        direction = own / np.maximum(distance, 1e-9)[..., None]
        waves = np.sin(direction @ self.ripples[:, :3].T + self.ripples[:, 3]).mean(axis=-1)
        return distance / (1 + self.irregularity * waves)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A nodule on voxels.

    Parameters
    ----------
    low : ndarray of int, shape (3,)
        Voxel of the volume, (z, y, x), at which its block begins.
    share : ndarray of float, shape (z, y, x)
        Share of each voxel that is nodule, exactly.
    soft, soft_core : ndarray of float, shape (z, y, x)
        The same after the scanner's blur, of all of it and of what lies within the rim; 0 where it is faint.
    """

    low: np.ndarray
    share: np.ndarray
    soft: np.ndarray
    soft_core: np.ndarray


def random_shape(diameter_mm: float, irregularity: float, random: np.random.Generator) -> NoduleShape:
    """Draw a nodule of the volume of a sphere of `diameter_mm`, axes up to 1.5 to 1, turned at random."""
    ratios = random.uniform(0.8, 1.2, 3)
    radii = diameter_mm / 2 * ratios / np.cbrt(ratios.prod())
    directions = random.normal(size=(RIPPLES, 3))
    directions *= random.uniform(2, 4, (RIPPLES, 1)) / np.linalg.norm(directions, axis=1, keepdims=True)
    ripples = np.concatenate([directions, random.uniform(0, 2 * np.pi, (RIPPLES, 1))], axis=1)
    return NoduleShape(radii, Rotation.random(random_state=random).as_matrix(), irregularity, ripples)


def draw_shape(shape: NoduleShape, centre: np.ndarray, spacing_mm: tuple[float, float, float]) -> Drawn:
    """Draw a nodule around `centre`, a position in voxels, (z, y, x), of a volume of this spacing."""
    spacing = np.array(spacing_mm)
    reach = np.ceil(shape.reach_mm / spacing).astype(int) + PAD
    low = np.round(centre).astype(int) - reach
    size = 2 * reach + 1
    axes = [
        (low[axis] - centre[axis] - 0.5 + (np.arange(size[axis] * FINE) + 0.5) / FINE) * spacing[axis]
        for axis in range(3)
    ]
    share, core = np.zeros(size), np.zeros(size)
    for row in range(size[0]):  # row by row: the samples of a large nodule need not be held at once
        place = np.stack(np.meshgrid(axes[0][row * FINE : (row + 1) * FINE], axes[1], axes[2], indexing="ij"), axis=-1)
        radius = shape.relative_radius(place)
        share[row], core[row] = _voxel_means(radius <= 1), _voxel_means(radius <= RIM_BEGINS)
    soft, soft_core = (ndimage.gaussian_filter(part, EDGE_VOXELS, mode="constant") for part in (share, core))
    kept = soft >= FAINT
    return Drawn(low, share, soft * kept, soft_core * kept)


def _voxel_means(fine: np.ndarray) -> np.ndarray:
    """Mean over the samples of each voxel of one row, shape (FINE, y * FINE, x * FINE)."""
    _, height, width = fine.shape
    return fine.reshape(FINE, height // FINE, FINE, width // FINE, FINE).mean(axis=(0, 2, 4))
