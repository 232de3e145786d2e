"""A pipeline with the plan's choices in place of what it left open."""

from typing import Any

from pydantic import ValidationError

from medseg.config import Pipeline
from medseg.data.settings import IntensitySettings
from medseg.errors import CheckpointError
from medseg.networks.settings import UNetSettings
from medseg.planning.plan import Plan

__all__ = ["resolve"]


def resolve(pipeline: Pipeline, plan: Plan) -> Pipeline:
    """Put the dimensions, the grey values and the filters of `plan` where `pipeline` says auto.

    Training and prediction both use what this returns, so that they cannot differ; a pipeline that leaves nothing open
    comes back as it is.

    Raises
    ------
    CheckpointError
        When the plan lacks a choice that the pipeline leaves to it, or its grey-value settings are damaged.
    """
    settled: dict[str, Any] = {}
    if pipeline.input.dimensions == "auto":
        settled["dimensions"] = len(plan.patch_size)
    if pipeline.input.intensity.method == "auto":
        settled["intensity"] = _intensity(plan)
    changes: dict[str, Any] = {"input": pipeline.input.model_copy(update=settled)} if settled else {}
    if isinstance(pipeline.network, UNetSettings) and pipeline.network.filters == "auto":
        if plan.filters is None:
            raise CheckpointError("plan.json: has no filters, which pipeline.yaml leaves to it (network.filters=auto)")
        changes["network"] = pipeline.network.model_copy(update={"filters": plan.filters})
    return pipeline.model_copy(update=changes) if changes else pipeline


def _intensity(plan: Plan) -> IntensitySettings:
    if plan.intensity is None:
        raise CheckpointError(
            "plan.json: has no intensity, which pipeline.yaml leaves to it (input.intensity.method=auto)"
        )
    try:
        return IntensitySettings(**plan.intensity)
    except (TypeError, ValidationError) as error:
        raise CheckpointError("plan.json: damaged, its intensity is no setting of grey values") from error
