"""medseg: from a folder of medical images to an evaluated lesion detector. Research use only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from medseg.imaging import read
    from medseg.inference.model import Model, load_model
    from medseg.training.train import train
    from medseg.volume import Volume

__all__ = ["Model", "Volume", "__version__", "evaluation", "load_model", "read", "train"]

__version__ = "0.1.0"

_HOMES = {
    "Model": "medseg.inference.model",
    "Volume": "medseg.volume",
    "load_model": "medseg.inference.model",
    "read": "medseg.imaging",
    "train": "medseg.training.train",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in ("evaluation", "imaging"):
        return import_module(f"medseg.{name}")
    raise AttributeError(f"module 'medseg' has no attribute '{name}'")
