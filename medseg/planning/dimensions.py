"""Whether a network sees slices or volumes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from medseg.planning.spacing import ANISOTROPY
from medseg.planning.survey import ImageFacts

__all__ = ["choose_dimensions"]

FEW_SLICES = 32  # below it, a 3D network halves z three times at most


def choose_dimensions(facts: Sequence[ImageFacts], patch_size: Sequence[int] | None) -> tuple[Literal[2, 3], str]:
    """Choose 2 or 3 dimensions from the training images, and say why.

    Parameters
    ----------
    facts : sequence of ImageFacts
    patch_size : sequence of int, optional
        Of the pipeline; where it is given, it decides.
    """
    if patch_size is not None:
        return (2 if len(patch_size) == 2 else 3), f"sampling.patch_size has {len(patch_size)} numbers"
    if not facts:
        return 2, "no training image could be read"
    flat = sum(fact.is_projection or fact.shape[0] == 1 for fact in facts)
    if flat:
        return 2, f"{flat} of {len(facts)} training images are projections or single slices"
    spacing = np.median([fact.spacing_mm for fact in facts], axis=0)
    slices = float(np.median([fact.shape[0] for fact in facts]))
    ratio = float(spacing.max() / spacing.min())
    said = f"median spacing {' x '.join(f'{step:.3g}' for step in spacing)} mm (ratio {ratio:.1f}), {slices:.0f} slices"
    if ratio > ANISOTROPY and spacing.argmax() == 0 and slices < FEW_SLICES:
        return 2, f"{said}: neighbouring slices lie far apart and are few"
    return 3, said
