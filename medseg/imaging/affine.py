"""Whether an affine that a file states can be used."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from medseg.errors import GeometryError
from medseg.volume import Grid, Note

__all__ = ["RIGHT_ANGLE", "checked_grid", "scaled", "shear"]

RIGHT_ANGLE = 1e-4  # cosine between two axes that still counts as a right angle; ITK's own limit is of this order
FLAT = 1e-6  # volume of the voxel over that of the box of the same edges: below it, two axes are the same
PLAUSIBLE_MM = (1e-3, 100.0)  # from histology to a localizer's thickest slice


def shear(affine: np.ndarray) -> float:
    """Return the largest cosine between two axes of an affine of shape (4, 4): 0 where all are at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.abs(axes.T @ axes - np.eye(3)).max())


def scaled(affine: np.ndarray, factors: Sequence[float]) -> np.ndarray:
    """Multiply the world coordinates x, y, z of an affine of shape (4, 4): other units, or a mirrored world."""
    return affine * np.array([*factors, 1.0])[:, None]  # no matrix product: infinity times 0 is left to the check


def checked_grid(path: Path, shape: tuple[int, int, int], affine: np.ndarray) -> tuple[Grid, tuple[Note, ...]]:
    """Make the grid of an affine that maps (x, y, z, 1) to LPS mm.

    Returns
    -------
    Grid
        Of the shape (z, y, x).
    tuple of Note
        On axes that are not at right angles, and on spacings that no scanner has.

    Raises
    ------
    GeometryError
        When the affine is not finite or cannot be inverted.
    """
    edges = np.linalg.norm(affine[:3, :3], axis=0) if np.isfinite(affine).all() else np.zeros(3)
    volume = abs(float(np.linalg.det(affine[:3, :3]))) if edges.all() else 0.0
    if not np.isfinite(edges).all() or not np.isfinite(volume) or volume <= FLAT * float(edges.prod()):
        raise GeometryError(f"{path}: its affine {affine[:3].tolist()} does not place voxels in space")
    notes = []
    if shear(affine) > RIGHT_ANGLE:
        text = f"axes not at right angles (cosine {shear(affine):.4f}); kept, resampling follows them"
        notes.append(Note("sheared", text, warning=True))
    if edges.min() < PLAUSIBLE_MM[0] or edges.max() > PLAUSIBLE_MM[1]:
        x, y, z = edges
        text = f"spacing (z, y, x) {z:g}, {y:g}, {x:g} mm is unusual; is the unit right?"
        notes.append(Note("unusual_spacing", text, warning=True))
    try:
        return Grid(shape, affine, "mm"), tuple(notes)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error
