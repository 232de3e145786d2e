"""Weights that a training begins with: those of a run, of a bundle or of a file."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medseg.config import Pipeline
from medseg.errors import CheckpointError, ConfigError
from medseg.files import content_hash
from medseg.inference.model import WEIGHTS
from medseg.planning.plan import Plan, read_plan
from medseg.training.checkpoint import load_checkpoint
from medseg.training.settings import TrainingSettings

__all__ = ["begin_with", "with_initial_plan"]

logger = logging.getLogger(__name__)
IN_FOLDER = (WEIGHTS, Path("models") / "model.safetensors", Path("models") / "model.pt")  # run, then MONAI bundle


def begin_with(network: nn.Module, plan: Plan, settings: TrainingSettings) -> Plan:
    """Give a network the weights that the settings name; return the plan with what was loaded among its reasons.

    Every tensor of the network must be there, of the same shape, and every tensor that is there must be used; with
    ``training.allow_partial_weights`` those that fit are loaded, and the others stay fresh.

    Raises
    ------
    CheckpointError
        When the weights cannot be read or do not fit, naming the first tensors that do not.
    """
    if settings.initial_weights is None:
        return plan
    path = _file(Path(settings.initial_weights))
    given, own = _tensors(path), network.state_dict()
    fits = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    fresh = [_named(name, own[name], given) for name in own if name not in fits]
    unused = [name for name in given if name not in own]
    if not fits:
        raise CheckpointError(f"{path}: none of its {len(given)} tensors fits the network of this pipeline")
    if (fresh or unused) and not settings.allow_partial_weights:
        raise CheckpointError(
            f"{path}: does not fit the network of this pipeline: {_list([*fresh, *(f'{n} unknown' for n in unused)])}; "
            "with training.allow_partial_weights=true what fits is loaded"
        )
    network.load_state_dict(fits, strict=False)
    said = f"{len(fits)} of {len(own)} tensors of {path.name} (SHA-256 {content_hash([path])[:16]})"
    said += f"; fresh: {_list(fresh)}" if fresh else ""
    said += f"; not used: {_list(unused)}" if unused else ""
    logger.info("initial weights: %s", said)
    return replace(plan, reasons={**plan.reasons, "initial_weights": said})


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise CheckpointError(f"training.initial_weights={path}: no such file or folder")
    for name in IN_FOLDER:
        if (path / name).is_file():
            return path / name
    if (path / "fold_0").is_dir():
        raise CheckpointError(f"training.initial_weights={path}: is a cross-validation; name one fold, {path}/fold_0")
    raise CheckpointError(
        f"training.initial_weights={path}: holds no weights; expected one of {', '.join(map(str, IN_FOLDER))}"
    )


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """Named tensors of a file of safetensors or of a checkpoint, also those under ``weights`` or ``state_dict``."""
    content: Mapping[str, Any]
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: damaged or not in the format safetensors") from error
    else:
        content = load_checkpoint(path)
        content = next((content[key] for key in ("weights", "state_dict") if key in content), content)
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no weights; expected named tensors")
    return tensors


def _named(name: str, own: torch.Tensor, given: Mapping[str, torch.Tensor]) -> str:
    found = f"found {tuple(given[name].shape)}" if name in given else "not there"
    return f"{name} {tuple(own.shape)}, {found}"


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return "; ".join(names[:3]) + more


def with_initial_plan(pipeline: Pipeline) -> Pipeline:
    """Take spacing and patch over from the run of the initial weights, where it is asked for and they are not given.

    Raises
    ------
    ConfigError
        When that is asked for and the initial weights are not those of a run.
    """
    settings = pipeline.training
    if not settings.initial_plan:
        return pipeline
    path = Path(settings.initial_weights or "") / "plan.json"
    if settings.initial_weights is None or not path.is_file():
        raise ConfigError("training.initial_plan needs training.initial_weights to name a run, which has a plan.json")
    plan = read_plan(path)
    inputs, sampling = pipeline.input, pipeline.sampling
    if inputs.dimensions == 3 and inputs.spacing_mm is None:
        inputs = inputs.model_copy(update={"spacing_mm": plan.spacing_mm})
    if sampling.patch_size is None:
        sampling = sampling.model_copy(update={"patch_size": plan.patch_size})
    return pipeline.model_copy(update={"input": inputs, "sampling": sampling})
