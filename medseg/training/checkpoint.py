"""Checkpoints: written whole or not at all, read without unpickling code."""

from pathlib import Path
from typing import Any

import torch

from medseg.errors import CheckpointError
from medseg.files import atomic_path

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain values atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(content, stream)  # to a stream: given a name, torch would write it into the file


def load_checkpoint(path: Path, *, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are accepted.

    Raises
    ------
    CheckpointError
        When the file is missing, damaged or holds anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; was the training started, and has it saved one yet?")
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many types for damaged files; each means the same here
        raise CheckpointError(f"{path}: damaged or not a checkpoint of medseg ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: not a checkpoint of medseg")
    return content
