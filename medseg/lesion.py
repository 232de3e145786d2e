"""What a reader drew (`Lesion`) and what a model found (`Finding`)."""

from dataclasses import dataclass

import numpy as np

from medseg.volume import Unit

__all__ = ["FINDING_COLUMNS", "STAGE_COLUMNS", "Finding", "Lesion", "equivalent_diameter"]

Box = tuple[float, float, float, float, float, float]

FINDING_COLUMNS = (
    "case_id", "finding_id", "x", "y", "z", "unit", "diameter_mm", "volume_mm3", "diameter_px", "area_px",
    "score", "class", "reported", "x_min", "y_min", "z_min", "x_max", "y_max", "z_max", "probability", "score_sd",
)  # fmt: skip
STAGE_COLUMNS = ("score_first", "score_second")  # after them, where there is a second stage


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion of the reference.

    Parameters
    ----------
    x, y, z : float
        Centre: LPS mm, or pixels of the original image with z = 0 (`unit` says which).
    diameter : float
        In `unit`: of the circle or sphere of equal area or volume; 0 where unknown.
    unit : {"mm", "px"}
    box : tuple of float, optional
        Half-open voxel range (x_min, y_min, z_min, x_max, y_max, z_max) in the image.
    name, reader : str
        Class and reader, empty where not given.
    ignore : bool
        Neither a hit nor a false positive when it is marked.
    mask_label : int
        Value of the lesion's component in the case's label image, 0 without a mask.
    """

    x: float
    y: float
    z: float
    diameter: float
    unit: Unit
    box: Box | None = None
    name: str = ""
    reader: str = ""
    ignore: bool = False
    mask_label: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A candidate that a model found.

    Parameters
    ----------
    x, y, z : float
        Centre, as for `Lesion`.
    size : float
        Area (projection and single-slice images) or volume, in `unit` squared or cubed.
    diameter : float
        In `unit`, of the circle or sphere of equal area or volume.
    score : float
        Between 0 and 1, higher = more likely a lesion.
    box : tuple of float
        Half-open voxel range (x_min, y_min, z_min, x_max, y_max, z_max) in the input image.
    probability : float or None
        That it is a lesion, as validation calibrated the score; None where it could not.
    score_sd : float or None
        Standard deviation of the map at its highest voxel over the image and its mirror images; None without.
    score_first, score_second : float, optional
        Of the two stages of which `score` is fused, where there is a second one.
    """

    x: float
    y: float
    z: float
    unit: Unit
    size: float
    diameter: float
    score: float
    name: str
    box: Box
    probability: float | None = None
    score_sd: float | None = None
    score_first: float | None = None
    score_second: float | None = None


def equivalent_diameter(size: float | np.ndarray, *, dimensions: int) -> float | np.ndarray:
    """Diameter of the circle of area `size` (2 dimensions) or sphere of volume `size` (3).

    Examples
    --------
    >>> round(float(equivalent_diameter(np.pi * 25, dimensions=2)), 6)
    10.0
    """
    if dimensions == 2:
        return 2 * np.sqrt(np.asarray(size) / np.pi)[()]
    return np.cbrt(6 * np.asarray(size) / np.pi)[()]
