"""The plan of a training."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.config import Pipeline
from medseg.errors import CheckpointError, ConfigError
from medseg.files import read_json, write_json
from medseg.networks.settings import UNetSettings

__all__ = ["Plan", "make_plan", "read_plan"]

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would be trained and how; `reasons` says why, a line a choice."""

    spacing_mm: tuple[float, float, float] | None
    patch_size: tuple[int, ...]
    batch_size: int
    steps_per_epoch: int
    n_training_cases: int
    n_positive_cases: int
    precision: str = "float32"
    channels_last: bool = False
    compiled: bool = False
    step_seconds: float | None = None
    row_step: int = 1  # parts of a volume that is spread begin at multiples of so many rows
    class_weights: tuple[float, ...] | None = None  # of a classifier's loss
    reasons: dict[str, str] = field(default_factory=dict)

    def with_choice(self, reason: str, **choices: Any) -> "Plan":
        """Return the plan with some choices made, their reason noted under the first one's name."""
        return replace(self, **choices, reasons={**self.reasons, next(iter(choices)): reason})

    def write(self, path: Path) -> None:
        """Write the plan as JSON."""
        write_json(path, {"schema_version": SCHEMA_VERSION, **asdict(self)})


def read_plan(path: Path) -> Plan:
    """Read a plan back.

    Raises
    ------
    CheckpointError
        When the file is missing or was written by another version.
    """
    content = read_json(path, error=CheckpointError)
    if content.pop("schema_version", None) != SCHEMA_VERSION:
        raise CheckpointError(f"{path}: schema_version {SCHEMA_VERSION} was expected")
    try:
        for name in ("spacing_mm", "patch_size"):
            content[name] = (
                None if content[name] is None else tuple(map(float if name == "spacing_mm" else int, content[name]))
            )
        plan = Plan(**content)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({error})") from error
    if plan.precision not in PRECISIONS:
        raise CheckpointError(f"{path}: damaged, precision '{plan.precision}' is none of {', '.join(PRECISIONS)}")
    return plan


def make_plan(
    pipeline: Pipeline,
    shapes: Sequence[tuple[int, int, int]],
    positives: Sequence[bool],
    *,
    spacing_mm: tuple[float, float, float] | None,
    spacing_reason: str,
) -> Plan:
    """Plan patch and steps from the working shapes, (z, y, x), of the training cases.

    Raises
    ------
    ConfigError
        When there is nothing to train on.
    """
    if not shapes:
        raise ConfigError("no labelled training case: annotate some, or check the manifest's split column")
    divisor = _divisor(pipeline)
    if pipeline.sampling.patch_size is not None:
        patch, reason = tuple(pipeline.sampling.patch_size), "given in the pipeline"
        if any(side % d for side, d in zip(patch, divisor)):
            raise ConfigError(
                f"sampling.patch_size={patch}: each side must be a multiple of {divisor} for this network"
            )
    else:
        patch, reason = _patch(pipeline, np.array(shapes), divisor)
    batch = pipeline.training.batch_size
    steps = max(1, math.ceil(len(shapes) / batch))
    row_step = _row_step(pipeline, patch)
    return Plan(
        spacing_mm=spacing_mm,
        patch_size=patch,
        batch_size=batch,
        steps_per_epoch=steps,
        n_training_cases=len(shapes),
        n_positive_cases=sum(positives),
        row_step=row_step,
        reasons={
            "spacing_mm": spacing_reason,
            "patch_size": reason,
            "batch_size": "given in the pipeline",
            "steps_per_epoch": f"{len(shapes)} training cases in batches of {batch}",
            "row_step": _spread_reason(pipeline, patch, row_step),
        },
    )


def _spread_reason(pipeline: Pipeline, patch: tuple[int, ...], row_step: int) -> str:
    layout = pipeline.layout
    parts = max(layout.space, layout.slabs)
    if parts == 1:
        return "nothing is spread"
    how = "processes" if layout.space > 1 else "slabs in turn"
    text = (
        f"{patch[0]} rows over {parts} {how}, cut at multiples of {row_step}, so that the network's levels lie above "
        "each other"
    )
    if (busy := patch[0] // row_step) >= parts:
        return text
    idle = f"{parts - busy} of the {parts} {how} have no rows, and save no memory"
    logger.warning("the patch has %d rows, cut at multiples of %d: %s", patch[0], row_step, idle)
    return f"{text}; {idle}"


def _row_step(pipeline: Pipeline, patch: tuple[int, ...]) -> int:
    """Rows of the patch that make up one row of the network's deepest level."""
    if not isinstance(pipeline.network, UNetSettings):
        return 1
    from medseg.networks.factory import level_strides  # torch is only needed here

    return math.prod(stride[0] for stride in level_strides(patch, len(pipeline.network.filters)))


def _divisor(pipeline: Pipeline) -> tuple[int, ...]:
    """Step of the patch's sides: what the levels of a U-Net halve without a remainder."""
    dimensions = pipeline.input.dimensions
    if not isinstance(pipeline.network, UNetSettings):
        return (1,) * dimensions
    return (2 ** (len(pipeline.network.filters) - 1),) * 2 if dimensions == 2 else (8, 8, 8)


def _patch(pipeline: Pipeline, shapes: np.ndarray, divisor: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    dimensions, layout = pipeline.input.dimensions, pipeline.layout
    limit = pipeline.sampling.max_patch_voxels * layout.space * layout.slabs
    typical = np.percentile(shapes, 95, axis=0)[-dimensions:]
    size = [max(d, math.ceil(side / d) * d) for side, d in zip(typical, divisor)]
    reason = f"95 % of the training images are at most {[round(float(s)) for s in typical]}, rounded up to {divisor}"
    if math.prod(size) > limit:
        size = [max(d, side // d * d) for side, d in zip(typical.astype(int).tolist(), divisor)]
        while math.prod(size) > limit and any(side > d for side, d in zip(size, divisor)):
            axis = int(np.argmax([side if side > d else 0 for side, d in zip(size, divisor)]))
            size[axis] -= divisor[axis]
        reason = f"the largest near the image's proportions within sampling.max_patch_voxels for each part: {limit}"
    return tuple(int(side) for side in size), reason
