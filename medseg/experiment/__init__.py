"""What takes several steps: evaluating a prediction folder, cross-validation, the demonstration."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.experiment.configuration_choice import choose
    from medseg.experiment.cross_validation import cross_validate
    from medseg.experiment.figure_spread import spread
    from medseg.experiment.postprocessing import choose_postprocessing

__all__ = ["choose", "choose_postprocessing", "cross_validate", "spread"]

_HOMES = {
    "choose": "configuration_choice",
    "choose_postprocessing": "postprocessing",
    "cross_validate": "cross_validation",
    "spread": "figure_spread",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"medseg.experiment.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'medseg.experiment' has no attribute '{name}'")
