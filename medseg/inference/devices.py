"""On which device a model runs, and how volumes that are cut are taken on it."""

import torch

from medseg.errors import ConfigError
from medseg.parallel.settings import LayoutSettings

__all__ = ["in_turn", "resolve_device"]


def resolve_device(name: str = "auto") -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:N`` into a device that exists.

    Raises
    ------
    ConfigError
        When the device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device {name}: unknown; allowed are auto, cpu, cuda, cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA device(s)")
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: unknown; allowed are auto, cpu, cuda, cuda:N")
    return device


def in_turn(trained: LayoutSettings, slabs: int, device: torch.device) -> LayoutSettings:
    """Return the layout of one process that takes so many slabs in turn.

    Unless the run had slabs itself, those of a CPU wait in files: in its memory they would save nothing.
    """
    keep = trained.keep if trained.slabs > 1 or device.type != "cpu" else "disk"
    return LayoutSettings(slabs=slabs, keep=keep)
