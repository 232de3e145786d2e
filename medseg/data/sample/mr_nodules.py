"""Insert simulated nodules into MR volumes of several phases.

What is inserted is invented: the contrasts below have the signs that textbooks describe (LI-RADS v2018: arterial
hyperenhancement, washout, hepatobiliary hypointensity; metastases: dark, with an enhancing rim), and no measured sizes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy import ndimage

from medseg.data.sample.mr_shapes import Drawn, NoduleShape, draw_shape, random_shape
from medseg.errors import ImageError

__all__ = ["KINDS", "PHASES", "Contrast", "Nodule", "WithNodules", "draw_nodules", "insert_nodules"]

PHASES = ("native", "arterial", "portal", "late")
BETWEEN_MM = 4.0  # between nodules, and from a nodule to the border of the organ
RING_MM = 4.0  # thickness of the surroundings whose grey value a nodule's contrast refers to
STRUCTURE = 0.25  # share of the anatomy's coarse structure that shines through a nodule
COARSE_VOXELS = 1.5  # standard deviation of the blur beyond which structure is coarse; finer is texture and noise
TRIES = 200


@dataclass(frozen=True, slots=True)
class Contrast:
    """How much brighter a nodule is than its surroundings in one phase, as a share of the organ's median grey value.

    Parameters
    ----------
    core, rim : float
        Within, and in the outermost 15 % of its radius; None: as the core.
    """

    core: float
    rim: float | None = None


KINDS: Mapping[str, Mapping[str, Contrast]] = MappingProxyType({
    # bright in the arterial phase, then washed out, dark where hepatocytes take up the agent
    "hypervascular": MappingProxyType({
        "native": Contrast(-0.15), "arterial": Contrast(0.45), "portal": Contrast(-0.2), "late": Contrast(-0.4),
    }),
    # dark throughout; its rim is bright while the agent arrives
    "hypovascular": MappingProxyType({
        "native": Contrast(-0.2), "arterial": Contrast(-0.35, 0.15), "portal": Contrast(-0.4, 0.05),
        "late": Contrast(-0.45),
    }),
})  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """A nodule to be inserted.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    centre : ndarray, shape (3,)
        Position in voxels, (z, y, x).
    strength : float
        Factor on the contrasts of its kind.
    """

    kind: str
    shape: NoduleShape
    centre: np.ndarray
    strength: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class WithNodules:
    """Phases with nodules.

    Parameters
    ----------
    phases : ndarray of float32, shape (phase, z, y, x)
    labels : ndarray of uint8, shape (z, y, x)
        Number of the nodule, from 1, where it fills at least half of a voxel.
    """

    phases: np.ndarray
    labels: np.ndarray


def draw_nodules(
    organ: np.ndarray,
    spacing_mm: tuple[float, float, float],
    number: int,
    random: np.random.Generator,
    *,
    diameters_mm: tuple[float, float] = (8.0, 24.0),
    irregularity: float = 0.15,
    kinds: Sequence[str] = tuple(KINDS),
) -> list[Nodule]:
    """Draw nodules within an organ, apart from each other.

    Parameters
    ----------
    organ : ndarray of bool, shape (z, y, x)
        Where nodules may lie.
    number : int
        How many are wanted; fewer are returned where there is no room.
    """
    depth = ndimage.distance_transform_edt(np.pad(organ, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1]
    nodules: list[Nodule] = []
    first = int(random.integers(len(kinds)))
    for _ in range(TRIES):
        if len(nodules) == number:
            break
        kind = kinds[(first + len(nodules)) % len(kinds)]  # in turn, so that a few exams hold all
        shape = random_shape(random.uniform(*diameters_mm), random.uniform(0, irregularity), random)
        places = np.flatnonzero(depth > shape.reach_mm + BETWEEN_MM)
        strength = random.uniform(0.7, 1.3)
        if not len(places):
            continue
        centre = np.array(np.unravel_index(places[random.integers(len(places))], organ.shape), float)
        gaps = [
            float(np.linalg.norm((centre - other.centre) * spacing_mm)) - shape.reach_mm - other.shape.reach_mm
            for other in nodules
        ]
        if min(gaps, default=BETWEEN_MM) >= BETWEEN_MM:
            nodules.append(Nodule(kind, shape, centre + random.uniform(-0.5, 0.5, 3), strength))
    return nodules


def insert_nodules(
    phases: np.ndarray,
    names: Sequence[str],
    organ: np.ndarray,
    spacing_mm: tuple[float, float, float],
    nodules: Sequence[Nodule],
) -> WithNodules:
    """Insert nodules; what lies more than `mr_shapes.PAD` voxels from them keeps its values.

    A nodule has a grey value of its own, on which the texture and noise of the place stay and a quarter of the coarse
    structure of the anatomy. Its border is mixed by the exact partial volume, blurred by half a voxel.

    Parameters
    ----------
    phases : ndarray, shape (phase, z, y, x)
        Magnitude images, on one grid.
    names : sequence of str
        What each phase is, of `PHASES`.
    organ : ndarray of bool, shape (z, y, x)

    Raises
    ------
    ImageError
        When the organ is empty, or its grey values in a phase are not positive, so that no contrast refers to them.
    """
    if not organ.any():
        raise ImageError("the mask of the organ is empty")
    result, labels = phases.astype(np.float32), np.zeros(organ.shape, np.uint8)
    medians = [float(np.median(phase[organ])) for phase in phases]
    for name, median in zip(names, medians):
        if median <= 0:
            raise ImageError(
                f"phase {name}: the median grey value of the organ is {median:g}, expected above 0; give magnitude "
                "images that are not normalised"
            )
    drawn = [draw_shape(nodule.shape, nodule.centre, spacing_mm) for nodule in nodules]
    for number, (nodule, part) in enumerate(zip(nodules, drawn), start=1):
        block, cut = _blocks(part, organ.shape)
        ring = _ring(part.share[cut], organ[block], spacing_mm)
        for phase, name, median in zip(result, names, medians):
            contrast = KINDS[nodule.kind][name]
            phase[block] = _mixed(phase[block], ring, part, cut, contrast, nodule.strength * median)
        labels[block][part.share[cut] >= 0.5] = number
    return WithNodules(result, labels)


def _blocks(part: Drawn, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The part of the volume that a nodule's block covers, and the part of the block that lies in the volume."""
    high = part.low + part.share.shape
    first, last = np.maximum(part.low, 0), np.minimum(high, shape)
    block = tuple(slice(int(a), int(b)) for a, b in zip(first, last))
    cut = tuple(slice(int(a - low), int(b - low)) for a, b, low in zip(first, last, part.low))
    return block, cut


def _ring(share: np.ndarray, organ: np.ndarray, spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """The organ around a nodule; all around it where the organ leaves nothing."""
    around = ndimage.distance_transform_edt(share == 0, sampling=spacing_mm)
    ring = (share == 0) & (around <= RING_MM)
    return ring & organ if (ring & organ).any() else ring


def _mixed(
    values: np.ndarray, ring: np.ndarray, part: Drawn, cut: tuple[slice, ...], contrast: Contrast, unit: float
) -> np.ndarray:
    """The block of one phase with the nodule in it; `unit` is what a contrast of 1 means in grey values."""
    soft, core = part.soft[cut], part.soft_core[cut]
    level = float(np.median(values[ring]))
    coarse = ndimage.gaussian_filter(values, COARSE_VOXELS, mode="nearest")
    inside = level + STRUCTURE * (coarse - level) + (values - coarse)
    rim = contrast.core if contrast.rim is None else contrast.rim
    raised = unit * (contrast.core * core + rim * (soft - core))
    changed = (1 - soft) * values + soft * inside + raised
    return np.where(soft > 0, np.maximum(changed, 0), values)  # a magnitude is not negative
