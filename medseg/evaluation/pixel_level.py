"""The pixel level of ``evaluation.json``: how well do mask and probability fit?"""

from typing import Any

import numpy as np

from medseg.evaluation.bootstrap import mean_weighted
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.figures import Figures, undefined
from medseg.evaluation.pixel import BINS, pooled_figures
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.voxels import VoxelFigures

__all__ = ["MASK_RULE", "pixel_level"]

NO_MASKS = "masks were not saved: predict with --save mask"
NO_PROBABILITY = "probability maps were not saved: predict with --save probability"
MASK_RULE = (
    "means over cases with a lesion in the reference; a case that failed has an empty mask. Empty mask: Dice 0, "
    "distances the diagonal of the image. Cases without lesion: lesion_free, and dice_all_cases, where they count 1 "
    "with an empty mask and 0 else"
)
MASK_FIGURES = ("dice", "surface_dice", "hd95", "assd", "volume_error", "relative_volume_error")
LENGTHS = ("surface_dice", "hd95", "assd", "volume_error")
VOXEL_FIGURES = ("average_precision", "auc", "aupro")


def pixel_level(evidence: Evidence, settings: EvaluationSettings, voxels: VoxelFigures | None) -> dict[str, Any]:
    """Figures of masks, and of the voxels of all cases together.

    Parameters
    ----------
    voxels : VoxelFigures, optional
        The exact values; without them those of the binned voxels are given.
    """
    compute = Figures(evidence.patient, evidence.strata, settings)
    content = _masks(compute, evidence) if evidence.masks else {"dice": undefined(NO_MASKS)}
    if evidence.pixels:
        content |= _voxels(compute, evidence, voxels)
    else:
        content["average_precision"] = undefined(NO_PROBABILITY)
    return content


def _masks(compute: Figures, evidence: Evidence) -> dict[str, Any]:
    names = [str(name) for name in evidence.table["case_id"]]
    known = [evidence.masks.get(name) for name in names]
    lesion = np.array([pair is not None and pair[0].n_reference > 0 for pair in known])
    # a positive case without a mask has a lesion that nobody drew: it is not lesion-free
    free = np.array([pair is not None and pair[0].n_reference == 0 for pair in known]) & ~(evidence.label == 1)
    units = {pair[0].unit for pair in known if pair is not None}
    reason = "no case has a lesion in its reference mask"

    def values(name: str, keep: np.ndarray) -> np.ndarray:
        return np.array([getattr(pair[0], name) if pair and use else np.nan for pair, use in zip(known, keep)])

    content: dict[str, Any] = {}
    for name in MASK_FIGURES:
        if len(units) > 1 and name in LENGTHS:
            content[name] = undefined("some images have a spacing in mm and others have none")
        else:
            content[name] = compute.bca(mean_weighted(values(name, lesion)), reason)
    everyone = lesion | free
    f1 = np.array([pair[1].f1 if pair else np.nan for pair in known])
    empty = values("n_predicted", free) == 0
    return content | {
        "dice_all_cases": compute.bca(mean_weighted(values("dice", everyone)), "no case has a reference mask"),
        "lesionwise_f1": compute.bca(mean_weighted(f1), "no case has a reference mask"),
        "lesion_free": {
            "n_cases": int(free.sum()),
            "empty_mask": compute.proportions(
                lambda w: ((w @ (free & empty).astype(float)) / (w @ free.astype(float)))[:, None],
                free,
                "every case has a lesion",
            )[0],
            "predicted_volume": compute.bca(mean_weighted(values("predicted_volume", free)), "every case has a lesion"),
        },
        "length_unit": units.pop() if len(units) == 1 else None,
        "surface_tolerance": next(pair[0].tolerance for pair in known if pair is not None),
        "dice_rule": MASK_RULE,
        "n_dice": int(lesion.sum()),
    }


def _voxels(compute: Figures, evidence: Evidence, voxels: VoxelFigures | None) -> dict[str, Any]:
    names = [str(name) for name in evidence.table["case_id"]]
    where = np.array([number for number, name in enumerate(names) if name in evidence.pixels])
    counts = [evidence.pixels[names[number]] for number in where]
    max_fpr = 0.3 if voxels is None else voxels.max_fpr
    figures = compute.many(
        lambda weights: pooled_figures(counts, weights[:, where], max_fpr=max_fpr), "there are no voxels of one kind"
    )
    content: dict[str, Any] = dict(zip(VOXEL_FIGURES, figures))
    content["aupro"]["max_fpr"] = max_fpr
    if voxels is not None:
        exact = (voxels.average_precision, voxels.roc_auc, voxels.aupro)
        for name, value in zip(VOXEL_FIGURES, exact):
            if content[name]["value"] is not None:
                content[name]["value"] = value
        content |= {name: getattr(voxels, name) for name in ("n_voxels", "n_lesion_voxels", "n_regions")}
    content["voxel_rule"] = (
        f"{'exact values' if voxels is not None else 'values'}{' and' if voxels is None else ';'} intervals from "
        f"voxels counted in {BINS} levels of the log odds"
    )
    return content | {"n_voxel_cases": len(where)}
