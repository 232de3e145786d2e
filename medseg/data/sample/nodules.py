"""Insert nodules into a chest."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from medseg.data.sample.chest import ChestCt
from medseg.data.sample.lidc import STEP_MM

__all__ = ["Inserted", "insert_nodules"]

EDGE_MM = 0.9  # blur of a nodule's border: the resolution of the scanner
HOUNSFIELD = (-80.0, 90.0)


@dataclass(frozen=True, slots=True, eq=False)
class Inserted:
    """A chest with nodules.

    Parameters
    ----------
    hounsfield : ndarray of float32, shape (z, y, x)
    labels : ndarray of uint8, shape (z, y, x)
        Number of the nodule, from 1.
    """

    hounsfield: np.ndarray
    labels: np.ndarray


def insert_nodules(
    chest: ChestCt, shapes: tuple[np.ndarray, ...], number: int, random: np.random.Generator
) -> Inserted:
    """Insert `number` nodules of random shape, place, size and density inside the lungs, apart from each other."""
    hounsfield, labels = chest.hounsfield.copy(), np.zeros(chest.hounsfield.shape, np.uint8)
    spacing = chest.grid.spacing[0]
    taken: list[tuple[np.ndarray, float]] = []
    for nodule in range(1, number + 1):
        shape = _turned(shapes[random.integers(len(shapes))], random)
        zoom = STEP_MM / spacing * random.uniform(0.9, 1.4)
        soft = np.clip(ndimage.zoom(ndimage.gaussian_filter(shape.astype(np.float32), EDGE_MM), zoom, order=1), 0, 1)
        radius = float(np.cbrt(3 * (soft > 0.5).sum() / (4 * np.pi))) * spacing
        places = np.flatnonzero(chest.lung_depth_mm > radius + 3)
        if len(places) == 0:
            continue
        centre = np.array(np.unravel_index(places[random.integers(len(places))], labels.shape))
        if any(np.linalg.norm(centre - other) * spacing < radius + size + 8 for other, size in taken):
            continue
        low = centre - np.array(soft.shape) // 2
        high = low + np.array(soft.shape)
        if (low < 0).any() or (high > np.array(hounsfield.shape)).any():
            continue
        block = tuple(slice(a, b) for a, b in zip(low, high))
        density = random.uniform(*HOUNSFIELD) + random.normal(0, 15, soft.shape)
        mixed = (1 - soft) * hounsfield[block] + soft * density
        hounsfield[block] = np.maximum(hounsfield[block], mixed)
        labels[block][soft > 0.5] = nodule
        taken.append((centre, radius))
    return Inserted(hounsfield, labels)


def _turned(shape: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One of the 48 turns and reflections of a cube."""
    turned = shape.transpose(random.permutation(3))
    return turned[tuple(slice(None, None, int(step)) for step in random.choice([-1, 1], 3))]
