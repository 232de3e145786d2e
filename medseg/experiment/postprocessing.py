"""Which components of a mask are kept: chosen on out-of-fold predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cc3d
import numpy as np

from medseg.detectors.mask_components import kept_components
from medseg.training.validation import MASK_THRESHOLDS

__all__ = ["OPTIONS", "MaskComponents", "choose_postprocessing", "mask_components"]

OPTIONS: tuple[dict[str, Any], ...] = (
    {"mask_min_voxels": 10}, {"mask_min_voxels": 30}, {"mask_min_voxels": 100}, {"mask_min_voxels": 300},
    {"mask_largest": True},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class MaskComponents:
    """The components of one case's mask at each of `MASK_THRESHOLDS`.

    Parameters
    ----------
    reference : int
        Voxels of the reference mask.
    sizes, overlaps : dict of float to ndarray, shape (component,)
        Voxels of each component, and those of them that the reference has too.
    """

    patient_id: str
    reference: int
    sizes: dict[float, np.ndarray] = field(default_factory=dict)
    overlaps: dict[float, np.ndarray] = field(default_factory=dict)

    def dice(self, threshold: float, *, mask_min_voxels: int = 0, mask_largest: bool = False) -> float:
        """Dice of the mask at `threshold` with the components that are kept."""
        sizes = self.sizes[threshold]
        kept = kept_components(sizes, min_voxels=mask_min_voxels, largest_only=mask_largest)
        predicted, overlap = int(sizes[kept].sum()), int(self.overlaps[threshold][kept].sum())
        return 2 * overlap / (predicted + self.reference)


def mask_components(probability: np.ndarray, reference: np.ndarray, patient_id: str) -> MaskComponents:
    """Count the components (26 neighbours) of a map, shape (z, y, x), against a reference mask that is not empty."""
    inside = reference > 0
    counted = MaskComponents(patient_id, int(inside.sum()))
    for threshold in MASK_THRESHOLDS:
        labels = cc3d.connected_components(probability >= threshold, connectivity=26)
        sizes = np.bincount(labels.ravel())
        counted.sizes[threshold] = sizes[1:]
        counted.overlaps[threshold] = np.bincount(labels[inside], minlength=len(sizes))[1:]
    return counted


def choose_postprocessing(cases: Sequence[MaskComponents], threshold: float) -> dict[str, Any]:
    """Choose one of `OPTIONS`, or none, by the mean Dice of out-of-fold cases with a lesion.

    The best one is kept only if it improves the mean by more than one standard error of the paired differences, which
    are averaged by patient first.

    Parameters
    ----------
    cases : sequence of MaskComponents
        Of the cases with a lesion in the reference.
    threshold : float
        The mask's threshold, one of `MASK_THRESHOLDS`.

    Returns
    -------
    dict
        ``detector``: the chosen fields of the detector's settings, perhaps none; ``options``: what each came to.
    """
    before = np.array([case.dice(threshold) for case in cases])
    patients = np.array([case.patient_id for case in cases])
    rows: list[dict[str, Any]] = []
    for option in OPTIONS:
        gain = np.array([case.dice(threshold, **option) for case in cases]) - before
        by_patient = np.array([gain[patients == patient].mean() for patient in np.unique(patients)])
        error = float(by_patient.std(ddof=1) / len(by_patient) ** 0.5) if len(by_patient) > 1 else None
        mean = float(gain.mean()) if len(gain) else None
        rows.append({**option, "difference": mean, "standard_error": error})
    usable = [(row["difference"], number) for number, row in enumerate(rows) if row["standard_error"] is not None]
    best = max(usable, key=lambda one: one[0], default=None)
    better = best is not None and best[0] > 0 and best[0] > rows[best[1]]["standard_error"]
    return {
        "detector": OPTIONS[best[1]] if best is not None and better else {},
        "figure": "mean Dice of out-of-fold cases with a lesion",
        "mask_threshold": threshold,
        "before": float(before.mean()) if len(before) else None,
        "n_cases": len(cases),
        "rule": "kept where it improves the mean by more than one standard error of the paired differences",
        "options": rows,
    }
