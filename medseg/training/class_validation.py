"""What validation measures of a classifier."""

from collections.abc import Sequence

import numpy as np

from medseg.data.cache import CachedCase
from medseg.detectors.candidates import Candidate
from medseg.evaluation import roc_auc

__all__ = ["class_aucs", "known_labels", "weak_hits"]


def known_labels(case: CachedCase, n_classes: int, *, multi_label: bool) -> np.ndarray:
    """1, 0 or -1 (not known) for each class."""
    if multi_label:
        return case.labels
    return np.array([int(case.label == index) for index in range(n_classes)], np.int8)


def class_aucs(names: Sequence[str], labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """AUC of each class that has cases with and without it, and their mean (NaN without any).

    Parameters
    ----------
    labels, scores : ndarray, shape (case, class)
        Labels of -1 are left out.
    """
    found: dict[str, float] = {}
    for name, label, score in zip(names, labels.T, scores.T):
        known = label >= 0
        if np.ptp(label[known]) if known.any() else False:
            found[f"auc_{name}"] = float(roc_auc(label[known] == 1, score[known]))
    return {"mean_auc": float(np.mean(list(found.values()))) if found else float("nan"), **found}


def weak_hits(candidates: Sequence[Candidate], labels: np.ndarray) -> tuple[list[tuple[int, int]], set[int], int]:
    """Hits of candidates in an image of which it is known what it shows, and not where.

    A candidate of a class that the image shows counts as a hit on the one lesion that it has of that class; of a class
    that it does not show as false; of a class of which that is not known as neither.

    Returns
    -------
    hits : list of (int, int)
        Candidate, and number of the lesion from 0.
    neither : set of int
        Candidates.
    n_lesions : int
    """
    lesion_of = {index: number for number, index in enumerate(np.flatnonzero(labels == 1).tolist())}
    classes = [candidate.class_index for candidate in candidates]
    hits = [(number, lesion_of[index]) for number, index in enumerate(classes) if index in lesion_of]
    return hits, {number for number, index in enumerate(classes) if labels[index] < 0}, len(lesion_of)
