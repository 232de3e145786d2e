"""What a data set looks like: sizes, spacings, grey values, lesions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.data.annotations import read_lesions
from medseg.data.duplicates import Signature, signature
from medseg.data.manifest import Case
from medseg.data.settings import InputSettings
from medseg.data.stacking import read_channels
from medseg.errors import ImageError
from medseg.imaging import read

__all__ = ["CaseFacts", "examine", "summarise"]

PERCENTILES = (0.5, 5, 50, 95, 99.5)


@dataclass(frozen=True, slots=True, eq=False)
class CaseFacts:
    """Facts of one case, as they go into the fingerprint."""

    case_id: str
    facts: dict[str, Any]
    signature: Signature
    n_lesions: int | None


def examine(case: Case, settings: InputSettings | None = None) -> CaseFacts:
    """Read a case with its annotation and note its facts.

    Parameters
    ----------
    settings : InputSettings, optional
        Of the pipeline that the data are for: its channels must fit together.

    Raises
    ------
    MedsegError
        When the image or the annotation cannot be used.
    """
    single = settings is None or len(case.images) == 1
    volume = read(case.files[0]) if single else read_channels(case.images, case.case_id, settings)  # type: ignore[arg-type]
    array = volume.array
    if not np.isfinite(array).all():
        raise ImageError(f"case {case.case_id}: the image holds values that are not finite (NaN or infinity)")
    if array.min() == array.max():
        found = "all zero" if not array.any() else "constant"
        raise ImageError(f"case {case.case_id}: the image is {found}: there is nothing to see in it")
    if settings is None:
        for image in case.files[1:]:
            read(image)
    every = read_lesions(case, volume.grid, volume.pixel_spacing_mm)
    lesions = None if every is None else [lesion for lesion in every if not lesion.ignore]
    body = array[array > array.min()]
    facts = {
        "case_id": case.case_id,
        "shape": list(array.shape[1:]),
        "unit": volume.grid.unit,
        "spacing_mm": list(volume.spacing_mm) if not volume.is_projection or volume.pixel_spacing_mm else None,
        "modality": case.modality or volume.modality,
        "percentiles": np.percentile(body, PERCENTILES).tolist(),
        "annotation": case.annotation,
        "lesion_diameters": None if lesions is None else [lesion.diameter for lesion in lesions],
    }
    return CaseFacts(case.case_id, facts, signature(array), None if lesions is None else len(lesions))


def summarise(facts: Sequence[CaseFacts]) -> dict[str, Any]:
    """Content of ``fingerprint.json``."""
    shapes = np.array([fact.facts["shape"] for fact in facts])
    known = [fact.facts["spacing_mm"] for fact in facts if fact.facts["spacing_mm"]]
    diameters = [d for fact in facts for d in fact.facts["lesion_diameters"] or []]
    return {
        "schema_version": 1,
        "n_cases": len(facts),
        "n_labelled": sum(bool(fact.facts["annotation"]) for fact in facts),
        "n_with_lesion": sum(bool(fact.n_lesions) for fact in facts),
        "n_lesions": len(diameters),
        "median_shape": np.median(shapes, axis=0).tolist() if len(facts) else None,
        "median_spacing_mm": np.median(np.array(known), axis=0).tolist() if known else None,
        "lesion_diameter_quantiles": np.quantile(diameters, [0, 0.25, 0.5, 0.75, 1]).tolist() if diameters else None,
        "percentile_levels": list(PERCENTILES),
        "cases": [fact.facts for fact in facts],
    }
