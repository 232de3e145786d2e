"""Which classes an image shows, from its labels or from its lesions."""

from collections.abc import Sequence

import numpy as np

from medseg.data.manifest import UNCERTAIN, Case
from medseg.lesion import Lesion

__all__ = ["class_labels"]


def class_labels(case: Case, classes: Sequence[str], lesions: Sequence[Lesion] | None) -> np.ndarray:
    """Whether an image shows each class.

    A column ``label_NAME`` comes first. Else an annotation of lesions says it (a class of which only ignored lesions
    are marked is uncertain), else, of a case without any ``label_NAME``, the column ``label``: 0 means none of them, 1
    says which only where there is one.

    Parameters
    ----------
    lesions : sequence of Lesion or None
        What readers marked, also what is ignored; None where nobody marked lesions.

    Returns
    -------
    ndarray of int8, shape (class,)
        1, 0, or -1 where it is uncertain or not read.
    """
    stated = dict(case.class_labels)
    return np.array([stated.get(name, _implied(case, name, classes, lesions)) for name in classes], np.int8)


def _implied(case: Case, name: str, classes: Sequence[str], lesions: Sequence[Lesion] | None) -> int:
    if lesions is not None:
        own = [lesion for lesion in lesions if len(classes) == 1 or (lesion.name or case.name or classes[0]) == name]
        return 0 if not own else UNCERTAIN if all(lesion.ignore for lesion in own) else 1
    if case.class_labels:
        return UNCERTAIN
    if case.label == 0:
        return 0
    return 1 if case.label == 1 and len(classes) == 1 else UNCERTAIN
