"""The pipeline file: composes the settings that each component owns."""

from medseg.config.load import apply_overrides, load_pipeline, pipeline_from_dict
from medseg.config.pipeline import Pipeline
from medseg.config.shipped import find_shipped, list_shipped

__all__ = ["Pipeline", "apply_overrides", "find_shipped", "list_shipped", "load_pipeline", "pipeline_from_dict"]
