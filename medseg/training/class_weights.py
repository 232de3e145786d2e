"""The weight of each class in a classifier's loss, from the labels of the training cases."""

import numpy as np

from medseg.data.store import CaseStore
from medseg.detectors.classification import balanced_weights
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import ManifestError

__all__ = ["plan_class_weights"]


def plan_class_weights(
    settings: ClassificationSettings, classes: tuple[str, ...], store: CaseStore
) -> tuple[tuple[float, ...] | None, str]:
    """Weights for the plan (None: all 1) with their reason.

    Raises
    ------
    ManifestError
        When a class has a known label in no training case.
    """
    labels = _labels(settings, classes, store)
    positive, negative = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    if settings.multi_label:
        for name, n_known in zip(classes, (labels >= 0).sum(axis=0)):
            if n_known == 0:
                raise ManifestError(
                    f"no training case says whether it shows '{name}': give a column label_{name} with 1 and 0, "
                    "or boxes, points or masks with that class"
                )
    counts = ", ".join(
        f"{name} {n} with" + (f", {without} without" if settings.multi_label else "")
        for name, n, without in zip(classes, positive.tolist(), negative.tolist())
    )
    if settings.class_weights == "none":
        return None, f"all 1; training cases: {counts}"
    if settings.class_weights == "balanced":
        weights = balanced_weights(labels, multi_label=settings.multi_label)
        return tuple(round(weight, 6) for weight in weights), f"balanced; training cases: {counts}"
    return settings.class_weights, f"given in the pipeline; training cases: {counts}"


def _labels(settings: ClassificationSettings, classes: tuple[str, ...], store: CaseStore) -> np.ndarray:
    """1, 0 or -1 (not known), shape (case, class)."""
    if settings.multi_label:
        return np.stack([store[case.case_id].labels for case in store.cases])
    return np.array([[int(case.label == index) for index in range(len(classes))] for case in store.cases])
