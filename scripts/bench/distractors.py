"""Things in a simulated lung that look like nodules to a blob filter: vessels, ribs at the pleura, scars."""

import numpy as np
from scipy import ndimage

HALF = 18  # voxels from the middle of a block to its border
EDGE = 0.5  # voxels over which a border fades


def insert_distractors(hounsfield, labels, depth_mm, number, random):
    """Insert `number` of each kind in place, inside the lungs and off the nodules; returns how many found room."""
    near = ndimage.binary_dilation(labels > 0, iterations=2)
    placed = 0
    for make, density, depths in (
        (vessel, (-50, 120), (6, np.inf)),
        (rib, (150, 500), (0.5, 4)),
        (scar, (-150, 60), (5, np.inf)),
    ):
        places = np.argwhere((depth_mm > depths[0]) & (depth_mm < depths[1]))
        for _ in range(number):
            centre = places[random.integers(len(places))]
            low = centre - HALF
            if (low < 0).any() or (low + 2 * HALF + 1 > np.array(hounsfield.shape)).any():
                continue
            block = tuple(slice(a, a + 2 * HALF + 1) for a in low)
            soft = make(random)
            if (near[block] & (soft > 0.05)).any():
                continue
            value = random.uniform(*density) + random.normal(0, 15, soft.shape)
            hounsfield[block] = np.maximum(hounsfield[block], (1 - soft) * hounsfield[block] + soft * value)
            placed += 1
    return placed


def direction(random):
    vector = random.normal(size=3)
    return vector / np.linalg.norm(vector)


def around(points, radius):
    """How much of each voxel lies within `radius` voxels of a path, whose points are relative to the middle."""
    outside = np.ones((2 * HALF + 1,) * 3, bool)
    index = np.rint(points + HALF).astype(int)
    index = index[((index >= 0) & (index <= 2 * HALF)).all(axis=1)]
    outside[tuple(index.T)] = False
    return np.clip((radius - ndimage.distance_transform_edt(outside)) / (2 * EDGE) + 0.5, 0, 1)


def vessel(random):
    """A tube that bends, and branches into a thinner one in the middle."""
    steps = np.linspace(0, 1, 60)[:, None]
    length, bend = random.uniform(8, 16), random.normal(0, 3, 3)
    ways = [direction(random) for _ in range(3)]
    parts = [around(length * steps * way + bend * steps**2, random.uniform(0.8, 3.0)) for way in ways]
    return np.maximum.reduce(parts)


def rib(random):
    """A short, straight, bright bar."""
    steps = np.linspace(-1, 1, 60)[:, None]
    return around(random.uniform(5, 10) * steps * direction(random), random.uniform(1.5, 4.0))


def scar(random):
    """An irregular plate."""
    axes = np.linalg.qr(random.normal(size=(3, 3)))[0]
    index = np.stack(np.meshgrid(*(np.arange(-HALF, HALF + 1),) * 3, indexing="ij"), axis=-1) @ axes
    wave = ndimage.gaussian_filter(random.normal(size=index.shape[:3]), 3)
    index = index + (wave / wave.std() * 1.2)[..., None]
    half = np.array([random.uniform(0.7, 2.5), random.uniform(4, 8), random.uniform(3, 6)])
    return np.clip(((half - np.abs(index)).min(axis=-1)) / (2 * EDGE) + 0.5, 0, 1)
