"""Lesions of one case that a predicted mask finds, each once whatever its size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import ndimage

from medseg.errors import TableError
from medseg.evaluation.masks import bounding_box, checked_pair

__all__ = ["LesionwiseF1", "lesionwise_f1"]

NEIGHBOURS = {2: (4, 8), 3: (6, 18, 26)}  # by number of axes: those that share a face, then an edge, then a corner


@dataclass(frozen=True, slots=True)
class LesionwiseF1:
    """Lesions of one case that were found, and predicted components that are none.

    Parameters
    ----------
    n_lesions, n_detected : int
        Components of the reference, and those of them that the prediction detects.
    n_predicted, n_false : int
        Components of the prediction, and those of them that touch no lesion.
    """

    n_lesions: int
    n_detected: int
    n_predicted: int
    n_false: int

    @property
    def n_missed(self) -> int:
        """Lesions that were not detected."""
        return self.n_lesions - self.n_detected

    @property
    def f1(self) -> float:
        """``2 TP / (2 TP + FP + FN)`` of detected, false and missed; 1 where both masks are empty."""
        errors = self.n_false + self.n_missed
        return 2 * self.n_detected / (2 * self.n_detected + errors) if self.n_detected or errors else 1.0


def lesionwise_f1(
    prediction: ArrayLike, reference: ArrayLike, *, min_overlap: float = 0.0, connectivity: int | None = None
) -> LesionwiseF1:
    """Count lesions found and false components, each lesion once whatever its size.

    Parameters
    ----------
    prediction, reference : array-like, shape (z, y, x) or (y, x)
        Masks: what is not 0 is lesion.
    min_overlap : float
        A lesion is detected by a predicted component whose intersection over union with it is greater than this. With
        0 one common voxel is enough, as in ISLES 2022 (Hernandez Petzsche et al. 2022,
        doi:10.1038/s41597-022-01875-5).
    connectivity : int, optional
        Neighbours that belong to one component: 6, 18 or 26 in three axes, 4 or 8 in two; None is the most.

    Returns
    -------
    LesionwiseF1

    Raises
    ------
    TableError
        For masks as in `mask_figures`, an overlap outside 0 to 1, and another connectivity.

    Notes
    -----
    One component may detect several lesions. A component is false where it touches no lesion at all: one that touches
    a lesion without reaching `min_overlap` is no false one, and the lesion is missed.

    Examples
    --------
    >>> counts = lesionwise_f1([[1, 1, 0, 0, 1]], [[0, 1, 0, 0, 0]])
    >>> counts.n_detected, counts.n_false, round(counts.f1, 3)
    (1, 1, 0.667)
    """
    predicted, expected = checked_pair(prediction, reference)
    if not 0 <= min_overlap < 1:
        raise TableError(f"min_overlap lies in [0, 1), found {min_overlap}")
    structure = ndimage.generate_binary_structure(predicted.ndim, _rank(connectivity, predicted.ndim))
    box = bounding_box(predicted | expected)
    found, n_predicted = ndimage.label(predicted[box], structure)
    lesion, n_lesions = ndimage.label(expected[box], structure)
    both = (found > 0) & (lesion > 0)
    pair, common = np.unique(found[both] * np.int64(n_lesions + 1) + lesion[both], return_counts=True)
    component, touched = np.divmod(pair, n_lesions + 1)
    union = np.bincount(found.ravel())[component] + np.bincount(lesion.ravel())[touched] - common
    detected = np.unique(touched[common / union > min_overlap])
    return LesionwiseF1(n_lesions, len(detected), n_predicted, n_predicted - len(np.unique(component)))


def _rank(connectivity: int | None, n_axes: int) -> int:
    """How many axes neighbours may differ in, as SciPy counts connectivity."""
    choices = NEIGHBOURS[n_axes]
    if connectivity is not None and connectivity not in choices:
        allowed = ", ".join(map(str, choices))
        raise TableError(f"connectivity with {n_axes} axes is one of {allowed}, found {connectivity}")
    return n_axes if connectivity is None else choices.index(connectivity) + 1
