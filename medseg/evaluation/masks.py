"""Figures of one case from two binary masks: overlap, distance between surfaces, and volume."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from medseg.errors import TableError

__all__ = ["MaskFigures", "bounding_box", "checked_mask", "checked_pair", "dice_score", "mask_figures"]

PERCENTILE = 95
SLACK = 1e-9  # of the tolerance: 3 voxels of 0.1 mm are 0.30000000000000004 mm apart and lie within 0.3 mm


@dataclass(frozen=True, slots=True)
class MaskFigures:
    """Agreement of a predicted and a reference mask of one case.

    Parameters
    ----------
    dice : float
        ``2 |A and B| / (|A| + |B|)`` (Dice 1945, doi:10.2307/1932409).
    surface_dice : float
        Share of the surface voxels of both masks that lie within `tolerance` of the other surface.
    hd95 : float
        The larger of the two directed 95th percentiles of surface distance, in `unit`.
    assd : float
        Mean distance to the other surface over the surface voxels of both masks together, in `unit`.
    predicted_volume, reference_volume : float
        In cubic `unit` (square `unit` for arrays of two axes).
    volume_error : float
        Predicted minus reference volume: positive where too much was marked.
    relative_volume_error : float
        `volume_error` divided by the reference volume; NaN where only the reference is empty.
    n_predicted, n_reference : int
        Voxels of each mask.
    tolerance : float
        Of the surface Dice, in `unit`.
    unit : str
        ``"mm"``, or ``"voxel"`` where no spacing was given.
    """

    dice: float
    surface_dice: float
    hd95: float
    assd: float
    predicted_volume: float
    reference_volume: float
    volume_error: float
    relative_volume_error: float
    n_predicted: int
    n_reference: int
    tolerance: float
    unit: Literal["mm", "voxel"]


def mask_figures(
    prediction: ArrayLike,
    reference: ArrayLike,
    *,
    spacing_mm: Sequence[float] | None = None,
    tolerance_mm: float = 2.0,
) -> MaskFigures:
    """Dice, surface Dice, 95th percentile Hausdorff and mean surface distance, and volumes of one case.

    Parameters
    ----------
    prediction, reference : array-like, shape (z, y, x) or (y, x)
        Masks: what is not 0 is lesion.
    spacing_mm : sequence of float, shape (3,) or (2,), optional
        Distance of voxel centres along each axis of the arrays. Without it every length is counted in voxels.
    tolerance_mm : float
        Of the surface Dice; in voxels where `spacing_mm` is None. A slack of 1e-9 of it absorbs rounding.

    Returns
    -------
    MaskFigures

    Raises
    ------
    TableError
        For masks that differ in shape, have neither two nor three axes, or hold NaN or fractions (probabilities); for
        a spacing of wrong length or not positive; for a negative tolerance.

    Notes
    -----
    The surface of a mask is its voxels that share a face with background, and beyond the array is background. An axis
    of length 1 is no axis of the image, so that a slice of shape (1, y, x) has the surface that (y, x) has; its
    thickness counts in the volume. Distances are exact Euclidean distances between centres of surface voxels;
    percentiles are interpolated linearly.

    Surface Dice is that of Nikolov et al. (2021, doi:10.2196/26151), HD95 and ASSD as in Taha and Hanbury (2015,
    doi:10.1186/s12880-015-0068-x) and Heimann et al. (2009, doi:10.1109/TMI.2009.2013851), all counted in surface
    voxels, not weighted by the area of a surface element.

    No case is dropped. Both masks empty: Dice and surface Dice 1, distances and volume errors 0. One mask empty: both
    Dices 0, and both distances the diagonal of the image, which no distance between two of its voxels reaches: a
    missed lesion is worse than the worst contour. The relative volume error is then -1, or NaN where the reference
    is the empty one.

    Examples
    --------
    >>> figures = mask_figures([[1, 1, 0, 0]], [[1, 1, 1, 1]], spacing_mm=(1, 2), tolerance_mm=2)
    >>> round(figures.dice, 3), figures.surface_dice, figures.assd, figures.volume_error
    (0.667, 0.75, 1.5, -4.0)
    """
    predicted, expected = checked_pair(prediction, reference)
    spacing = checked_spacing(spacing_mm, predicted.ndim)
    _check_tolerance(tolerance_mm)
    n_predicted, n_reference = int(np.count_nonzero(predicted)), int(np.count_nonzero(expected))
    common = int(np.count_nonzero(predicted & expected))
    surface_dice, hd95, assd = _surface_figures(predicted, expected, spacing, tolerance_mm * (1 + SLACK))
    voxel = float(np.prod(spacing))
    return MaskFigures(
        dice=2 * common / (n_predicted + n_reference) if n_predicted or n_reference else 1.0,
        surface_dice=surface_dice,
        hd95=hd95,
        assd=assd,
        predicted_volume=n_predicted * voxel,
        reference_volume=n_reference * voxel,
        volume_error=(n_predicted - n_reference) * voxel,
        relative_volume_error=_relative_error(n_predicted, n_reference),
        n_predicted=n_predicted,
        n_reference=n_reference,
        tolerance=float(tolerance_mm),
        unit="voxel" if spacing_mm is None else "mm",
    )


def _check_tolerance(tolerance_mm: float) -> None:
    if not 0 <= tolerance_mm < np.inf:
        raise TableError(f"the tolerance must be a length of 0 or more, found {tolerance_mm}")


def _relative_error(n_predicted: int, n_reference: int) -> float:
    if n_reference:
        return (n_predicted - n_reference) / n_reference
    return float("nan") if n_predicted else 0.0


def dice_score(prediction: ArrayLike, reference: ArrayLike) -> float:
    """Dice coefficient ``2 |A and B| / (|A| + |B|)`` of two masks of one shape; 1 where both are empty.

    Raises
    ------
    TableError
        For shapes that differ, and masks that hold NaN or fractions.

    Examples
    --------
    >>> dice_score([1, 1, 0, 0], [0, 1, 1, 0]), dice_score([0, 0], [0, 0])
    (0.5, 1.0)
    """
    a, b = checked_mask(prediction, name="predicted mask"), checked_mask(reference, name="reference mask")
    if a.shape != b.shape:
        raise TableError(f"the masks differ in shape: predicted {a.shape}, reference {b.shape}")
    total = int(np.count_nonzero(a)) + int(np.count_nonzero(b))
    return 2 * int(np.count_nonzero(a & b)) / total if total else 1.0


def bounding_box(mask: np.ndarray) -> tuple[slice, ...]:
    """Smallest box that holds all of a mask, as slices of its axes; empty slices for an empty mask.

    Examples
    --------
    >>> bounding_box(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (slice(1, 2, None), slice(1, 3, None))
    """
    box: list[slice] = []
    for axis in range(mask.ndim):
        inside = mask[tuple(box)]  # cut along the axes before this one
        places = np.flatnonzero(inside.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0))
    return tuple(box)


def checked_mask(mask: ArrayLike, *, name: str = "mask") -> np.ndarray:
    """A mask as bool, True where it is not 0; arrays of bool are not copied.

    Raises
    ------
    TableError
        When it holds NaN, infinity or fractions, or no numbers.
    """
    array = np.asarray(mask)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise TableError(f"the {name} is NaN or infinite at some voxels")
        if (array != np.rint(array)).any():
            raise TableError(f"the {name} holds fractions such as probabilities: apply a threshold first")
    elif array.dtype.kind not in "bui":
        raise TableError(f"the {name} must hold numbers, found {array.dtype}")
    return array if array.dtype == bool else array != 0


def checked_pair(prediction: ArrayLike, reference: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of one shape, of two or three axes, as bool.

    Raises
    ------
    TableError
        As `checked_mask`, and for shapes that differ or have another number of axes.
    """
    predicted, expected = (
        checked_mask(prediction, name="predicted mask"),
        checked_mask(reference, name="reference mask"),
    )
    if predicted.shape != expected.shape:
        raise TableError(f"the masks differ in shape: predicted {predicted.shape}, reference {expected.shape}")
    if predicted.ndim not in (2, 3):
        raise TableError(f"masks have axes (z, y, x) or (y, x), found shape {predicted.shape}")
    return predicted, expected


def checked_spacing(spacing_mm: Sequence[float] | None, n_axes: int) -> np.ndarray:
    """Spacing as float64, shape (axis,); ones for None.

    Raises
    ------
    TableError
        When its length is not `n_axes`, or a value is not positive and finite.
    """
    spacing = np.ones(n_axes) if spacing_mm is None else np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape != (n_axes,):
        raise TableError(f"spacing_mm must give {n_axes} lengths, one an axis of the masks, found {spacing_mm}")
    if not (np.isfinite(spacing) & (spacing > 0)).all():
        raise TableError(f"spacing_mm must be positive, found {spacing_mm}")
    return spacing


def _surface_figures(
    predicted: np.ndarray, expected: np.ndarray, spacing: np.ndarray, tolerance: float
) -> tuple[float, float, float]:
    """Surface Dice, HD95 and ASSD; `spacing` and `tolerance` in one unit."""
    axes = [axis for axis, length in enumerate(predicted.shape) if length != 1] or list(range(predicted.ndim))
    shape, spacing = np.array(predicted.shape)[axes], spacing[axes]
    predicted, expected = predicted.reshape(shape), expected.reshape(shape)
    box = bounding_box(predicted | expected)  # outside of it all is background, as beyond the array
    a, b = _surface(predicted[box]), _surface(expected[box])
    if not len(a) and not len(b):
        return 1.0, 0.0, 0.0
    if not len(a) or not len(b):
        diagonal = float(np.linalg.norm(shape * spacing))
        return 0.0, diagonal, diagonal
    forward, backward = _distances(a, b, spacing), _distances(b, a, spacing)
    both = np.concatenate([forward, backward])
    hd95 = max(np.percentile(forward, PERCENTILE), np.percentile(backward, PERCENTILE))
    return float(np.mean(both <= tolerance)), float(hd95), float(both.mean())


def _surface(mask: np.ndarray) -> np.ndarray:
    """Indices, shape (voxel, axis), of the voxels that share a face with background or the border of the array."""
    inner = mask.copy()
    for axis in range(mask.ndim):
        here, beside = np.moveaxis(inner, axis, 0), np.moveaxis(mask, axis, 0)
        here[:1] = here[-1:] = False
        here[1:] &= beside[:-1]
        here[:-1] &= beside[1:]
    return np.argwhere(mask & ~inner)


def _distances(source: np.ndarray, target: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """Distance of each source voxel to its nearest target voxel, shape (source,); indices of shape (voxel, axis).

    A tree of the surface voxels needs memory for the surface, where a distance map needs it for the box: masks far
    apart cost no more. The distance itself is computed from whole steps, so that it does not depend on the place in
    the image.
    """
    tree = KDTree(target * spacing, leafsize=32, balanced_tree=False)  # sliding midpoints: fast to build on a grid
    nearest = tree.query(source * spacing)[1]
    return np.linalg.norm((source - target[nearest]) * spacing, axis=1)
