"""Contours of a region of interest as a mask on the slices of an image."""

from collections.abc import Sequence

import numpy as np

from medseg.errors import AnnotationError, GeometryError
from medseg.imaging.objects.rasterize import fill_polygons
from medseg.imaging.objects.structure_set import Roi
from medseg.volume import Grid, Note

__all__ = ["roi_mask"]

CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# of the distance between slices
FLAT = 0.25  # a contour that leaves its slice by more is not drawn on the slices of this image
ON_SLICE = 0.1  # a contour that lies nearer to a slice was drawn on it; positions are often rounded to 0.1 mm
SAME_PLANE = 0.02  # contours nearer to each other lie in one plane, where one inside another is a hole
BORDER = 0.5  # of a voxel: where the image ends


def roi_mask(roi: Roi, grid: Grid) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Voxels whose centre lies inside the closed contours of a region.

    Contours of one plane are combined by the even-odd rule, so that inner ones are holes (PS3.3 C.8.8.6.3), whether
    they are joined to the outer by a cut or not. A contour belongs to the slice that is nearest; several planes within
    one slice are united.

    Parameters
    ----------
    roi : Roi
        The region; its points do not count.
    grid : Grid
        Of the image, in mm.

    Returns
    -------
    ndarray of uint8, shape (z, y, x)
        0 or 1.
    tuple of Note
        Warnings: contours between slices, slices between contours that have none, parts off the image.

    Raises
    ------
    GeometryError
        When the image is a projection, or contours are not drawn in the planes of its slices.
    AnnotationError
        When the region has no closed contour, or one lies off the image.
    """
    if grid.unit != "mm":
        raise GeometryError("contours lie in the patient, the image is a projection without patient coordinates")
    contours = [grid.to_index(contour.points) for contour in roi.contours if contour.geometry in CLOSED]
    if not contours:
        kinds = sorted({contour.geometry for contour in roi.contours}) or ["no contours"]
        raise AnnotationError(f"region {roi.number}: has no closed contours, only {', '.join(kinds)}")
    heights = np.array([contour[:, 2].mean() for contour in contours])
    leaving = np.array([np.ptp(contour[:, 2]) / 2 for contour in contours])
    if leaving.max() > FLAT:
        text = f"region {roi.number}: {int((leaving > FLAT).sum())} contour(s) leave their slice, by up to"
        raise GeometryError(f"{text} {leaving.max():.2f} slices: they were drawn on another series or orientation")
    _check_on_image(roi, contours, heights, grid)
    mask = np.zeros(grid.shape, np.uint8)
    order = np.argsort(heights, kind="stable")
    planes = np.split(order, np.flatnonzero(np.diff(heights[order]) > SAME_PLANE) + 1)
    slices = np.clip(np.rint([heights[plane].mean() for plane in planes]).astype(int), 0, grid.shape[0] - 1)
    for plane, number in zip(planes, slices):
        mask[number] |= fill_polygons([contours[index][:, :2] for index in plane], grid.shape[1:])
    return mask, _notes(roi, contours, heights, slices, mask, grid)


def _check_on_image(roi: Roi, contours: Sequence[np.ndarray], heights: np.ndarray, grid: Grid) -> None:
    n_slices, rows, columns = grid.shape
    off = (heights < -BORDER) | (heights > n_slices - 1 + BORDER)
    for index, contour in enumerate(contours):
        lowest, highest = contour[:, :2].min(axis=0), contour[:, :2].max(axis=0)
        off[index] |= (highest < -BORDER).any() or (lowest > np.array([columns, rows]) - 1 + BORDER).any()
    if off.any():
        text = f"region {roi.number}: {int(off.sum())} of {len(contours)} contours lie off the image"
        raise AnnotationError(f"{text}; is it the image they were drawn on?")


def _notes(
    roi: Roi, contours: Sequence[np.ndarray], heights: np.ndarray, slices: np.ndarray, mask: np.ndarray, grid: Grid
) -> tuple[Note, ...]:
    notes = []
    between = int((np.abs(heights - np.rint(heights)) > ON_SLICE).sum())
    if between:
        text = f"region {roi.number}: {between} contour(s) lie between slices of the image; the nearest slice has them"
        notes.append(Note("contours_between_slices", text, warning=True))
    skipped = int(np.ptp(slices)) + 1 - len(np.unique(slices))
    if skipped:
        text = f"region {roi.number}: {skipped} slice(s) between its contours have none and stay empty"
        notes.append(Note("contours_with_gaps", text, warning=True))
    last = np.array([grid.shape[2], grid.shape[1]]) - 1 + BORDER
    cut = sum(bool((contour[:, :2] < -BORDER).any() or (contour[:, :2] > last).any()) for contour in contours)
    if cut:
        text = f"region {roi.number}: {cut} contour(s) go beyond the edge of the image and are cut there"
        notes.append(Note("contours_cut", text, warning=True))
    if not mask.any():
        text = f"region {roi.number}: its contours hold no centre of a voxel, the mask is empty"
        notes.append(Note("contours_too_small", text, warning=True))
    return tuple(notes)
