"""What the network is given, settled from the training cases: dimensions, spacing, grey values."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from medseg.config import Pipeline
from medseg.data.loading import CacheOptions
from medseg.data.manifest import Case
from medseg.planning.dimensions import choose_dimensions
from medseg.planning.intensity import choose_intensity
from medseg.planning.plan import Plan
from medseg.planning.spacing import target_spacing
from medseg.planning.survey import survey

__all__ = ["SettledInput", "settle_input"]

Spacing = tuple[float, float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettledInput:
    """A pipeline whose input leaves nothing open.

    Parameters
    ----------
    pipeline : Pipeline
    spacing_mm : tuple of float or None
        Of the working grid, (z, y, x); None in 2D.
    intensity : dict or None
        The grey-value settings that were chosen; None where the pipeline gives them.
    reasons : dict of str to str
        Of the choices, under the names of the plan's fields.
    """

    pipeline: Pipeline
    spacing_mm: Spacing
    intensity: dict[str, Any] | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def noted_in(self, plan: Plan) -> Plan:
        """Return the plan with these choices and their reasons."""
        return replace(plan, intensity=self.intensity, reasons={**self.reasons, **plan.reasons})


def settle_input(pipeline: Pipeline, cases: Sequence[Case], *, workers: int) -> SettledInput:
    """Settle what the pipeline leaves open; images are only read where something is.

    Parameters
    ----------
    cases : sequence of Case
        The training cases.

    Raises
    ------
    ConfigError
        When grey values are left open and cannot be planned.
    """
    given = pipeline.input
    reasons: dict[str, str] = {}
    open_spacing = given.dimensions != 2 and given.spacing_mm is None
    open_intensity = given.intensity.method == "auto"
    facts = survey(cases) if given.dimensions == "auto" or open_spacing or open_intensity else []
    if given.dimensions == "auto":
        dimensions, reasons["dimensions"] = choose_dimensions(facts, pipeline.sampling.patch_size)
        given = given.model_copy(update={"dimensions": dimensions})
    spacing: Spacing = None
    if given.dimensions == 2:
        reasons["spacing_mm"] = "two-dimensional: images are resized, if at all"
    elif given.spacing_mm is not None:
        spacing, reasons["spacing_mm"] = given.spacing_mm, "given in the pipeline"
    elif facts:
        spacing, reasons["spacing_mm"] = target_spacing([f.spacing_mm for f in facts], [f.shape for f in facts])
    else:
        reasons["spacing_mm"] = "no training case could be read" if cases else "no training case"
    intensity = None
    if open_intensity:
        options = CacheOptions(given, spacing, pipeline.classes)
        chosen, reasons["intensity"] = choose_intensity(cases, facts, options, workers=workers)
        given, intensity = given.model_copy(update={"intensity": chosen}), chosen.model_dump(mode="json")
    return SettledInput(
        pipeline=pipeline.model_copy(update={"input": given}), spacing_mm=spacing, intensity=intensity, reasons=reasons
    )
