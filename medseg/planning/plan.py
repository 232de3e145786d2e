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
from medseg.networks.topology import Topology
from medseg.planning.budget import Budget
from medseg.planning.network import is_automatic, network_reasons
from medseg.planning.patch import automatic_patch, cascade_reason

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
    intensity: dict[str, Any] | None = None  # settings of the grey values, where the pipeline leaves them to the plan
    filters: tuple[int, ...] | None = None  # channels a level of a planned U-Net; None: the pipeline's
    strides: tuple[tuple[int, ...], ...] | None = None  # of a planned U-Net; None: of `level_strides`
    kernel_sizes: tuple[tuple[int, ...], ...] | None = None  # of a planned U-Net; None: 3 everywhere
    memory_bytes: int | None = None  # estimated peak of live tensor bytes of a training step, a device
    step_flops: int | None = None  # floating-point operations of a step, over all devices
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def dimensions(self) -> int:
        """2: the network sees slices; 3: volumes."""
        return len(self.patch_size)

    @property
    def topology(self) -> Topology | None:
        """Levels of a planned U-Net."""
        if self.strides is None or self.kernel_sizes is None:
            return None
        return Topology(self.strides, self.kernel_sizes)

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
        for name in ("strides", "kernel_sizes"):
            if content.get(name) is not None:
                content[name] = tuple(tuple(map(int, level)) for level in content[name])
        if content.get("filters") is not None:
            content["filters"] = tuple(map(int, content["filters"]))
        plan = Plan(**content)
        if len(plan.patch_size) not in (2, 3) or min(plan.patch_size) < 1:
            raise ValueError(f"patch_size {plan.patch_size}")
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
    device: str = "cpu",
    estimate: bool = False,
) -> Plan:
    """Plan patch, batch and steps from the working shapes, (z, y, x), of the training cases.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
        Kind of device that trains, for its memory.
    estimate : bool
        Estimate the memory of a step even where no choice depends on it.

    Raises
    ------
    ConfigError
        When there is nothing to train on, or a step needs more than `training.memory_mb`.
    """
    if not shapes:
        raise ConfigError("no labelled training case: annotate some, or check the manifest's split column")
    budget = Budget(pipeline, device, spacing_mm)
    patch, patch_reason = _patch(pipeline, np.array(shapes), budget, spacing_mm)
    pipeline, topology = budget.network(patch)
    batch, batch_reason = budget.batch(patch, sum(math.prod(shape) for shape in shapes))
    steps = max(1, math.ceil(len(shapes) / batch))
    row_step = _row_step(pipeline, patch, topology)
    plan = Plan(
        spacing_mm=spacing_mm,
        patch_size=patch,
        batch_size=batch,
        steps_per_epoch=steps,
        n_training_cases=len(shapes),
        n_positive_cases=sum(positives),
        row_step=row_step,
        reasons={
            "spacing_mm": spacing_reason,
            "patch_size": patch_reason,
            "batch_size": batch_reason,
            "steps_per_epoch": f"{len(shapes)} training cases in batches of {batch}",
            "row_step": _spread_reason(pipeline, patch, row_step),
        },
    )
    if topology is not None:
        plan = _with_network(plan, pipeline, topology, budget.first_filters)
    if advice := cascade_reason(patch, np.array(shapes)) if pipeline.sampling.patch_size is None else None:
        plan = replace(plan, reasons={**plan.reasons, "cascade": advice})
    if not (estimate or budget.is_stated):
        return plan
    needs, reason = budget.checked(patch, batch)
    plan = plan.with_choice(reason, memory_bytes=needs.training_bytes)
    flops = needs.training_flops * pipeline.layout.data
    return plan.with_choice("forward and backward, convolutions and matrix products", step_flops=flops)


def _with_network(plan: Plan, pipeline: Pipeline, topology: Topology, first: int) -> Plan:
    assert isinstance(pipeline.network, UNetSettings)
    filters = pipeline.network.filters
    assert filters != "auto"
    reasons = {**plan.reasons, **network_reasons(topology, first)}
    return replace(plan, filters=filters, strides=topology.strides, kernel_sizes=topology.kernel_sizes, reasons=reasons)


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


def _row_step(pipeline: Pipeline, patch: tuple[int, ...], topology: Topology | None) -> int:
    """Rows of the patch that make up one row of the network's deepest level."""
    if topology is not None:
        return topology.divisor[0]
    if not isinstance(pipeline.network, UNetSettings):
        return 1
    from medseg.networks.factory import level_strides  # torch is only needed here

    return math.prod(stride[0] for stride in level_strides(patch, len(pipeline.network.filters)))


def _divisor(pipeline: Pipeline, topology: Topology | None) -> tuple[int, ...]:
    """Step of the patch's sides: what the levels of a U-Net halve without a remainder."""
    if topology is not None:
        return topology.divisor
    dimensions = pipeline.input.n_dimensions
    if not isinstance(pipeline.network, UNetSettings):
        return (1,) * dimensions
    return (2 ** (len(pipeline.network.filters) - 1),) * 2 if dimensions == 2 else (8, 8, 8)


def _patch(
    pipeline: Pipeline, shapes: np.ndarray, budget: Budget, spacing_mm: tuple[float, float, float] | None
) -> tuple[tuple[int, ...], str]:
    given = pipeline.sampling.patch_size
    if given is not None:
        divisor = _divisor(*budget.network(given))
        if any(side % d for side, d in zip(given, divisor)):
            raise ConfigError(
                f"sampling.patch_size={given}: each side must be a multiple of {divisor} for this network"
            )
        return tuple(given), "given in the pipeline"
    limit = _most_voxels(pipeline, budget)
    if is_automatic(pipeline):
        return automatic_patch(pipeline, shapes, spacing_mm, budget, limit)
    divisor = _divisor(pipeline, None)
    typical = np.percentile(shapes, 95, axis=0)[-pipeline.input.n_dimensions :]
    patch = tuple(max(d, math.ceil(side / d) * d) for side, d in zip(typical, divisor))
    reason = f"95 % of the training images are at most {[round(float(s)) for s in typical]}, rounded up to {divisor}"
    if math.prod(patch) > limit:
        patch = _within(limit, typical, divisor)
        reason = f"the largest near the image's proportions within sampling.max_patch_voxels for each part: {limit}"
    while (fits := budget.voxels(patch)) < math.prod(patch):
        smaller = _within(fits, typical, divisor)
        if smaller == patch:
            break
        patch, reason = (
            smaller,
            f"near the image's proportions, made smaller until {budget.fewest_said} fit into memory",
        )
    return patch, reason


def _most_voxels(pipeline: Pipeline, budget: Budget) -> float:
    each = pipeline.sampling.max_patch_voxels
    if each is not None:
        return each * pipeline.layout.space * pipeline.layout.slabs
    if budget.is_limited:
        return math.inf
    raise ConfigError(
        "sampling.max_patch_voxels=null leaves the patch to the memory: give training.memory_mb, or "
        "training.batch_size=auto"
    )


def _within(limit: float, typical: np.ndarray, divisor: tuple[int, ...]) -> tuple[int, ...]:
    """Patch of at most `limit` voxels, made from the typical image by shortening its longest side step by step."""
    size = [max(d, side // d * d) for side, d in zip(typical.astype(int).tolist(), divisor)]
    while math.prod(size) > limit and any(side > d for side, d in zip(size, divisor)):
        axis = int(np.argmax([side if side > d else 0 for side, d in zip(size, divisor)]))
        size[axis] -= divisor[axis]
    return tuple(size)
