"""From a run and images to predictions, in this process or in several that share each volume."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from medseg.errors import ConfigError
from medseg.inference.batch import PredictResult, predict_batch
from medseg.inference.devices import in_turn, resolve_device
from medseg.inference.model import load_model, pipeline_of
from medseg.parallel.launch import run_ranks
from medseg.parallel.ranks import is_one_of_several, own_device, process_group
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.team import Team

__all__ = ["predict", "predict_here"]


def predict(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    operating_point: float | str | None = None,
    space: int | None = None,
    slabs: int | None = None,
    device: str = "auto",
    subset: str = "all",
    save: Sequence[str] | None = None,
    resume: bool = False,
    show_reference: bool = False,
    hide_names: bool = False,
) -> PredictResult:
    """Predict images with the model of a run; volumes are spread as in its training, unless told otherwise.

    Processes that share a volume are started on this host; under ``torchrun`` this process is one of them. How volumes
    are spread changes no result, so that a folder can be taken up again with another layout.

    Parameters
    ----------
    model : str or Path
        RUN folder, or that of a cross-validation for the mean of its folds.
    operating_point
        As of `load_model`.
    space : int, optional
        Processes that share each volume.
    slabs : int, optional
        Slabs of a volume that one process takes in turn. With 1 of either, one process takes it whole.
    source, output, subset, save, resume, show_reference, hide_names
        As of `predict_batch`.

    Raises
    ------
    MedsegError
        When nothing can be predicted at all, or a process is lost; a case that fails is in the result instead.
    """
    layout = _layout(pipeline_of(Path(model)).layout, space, slabs, resolve_device(device))
    with tempfile.TemporaryDirectory(prefix="medseg-predict-") as scratch:  # it goes whatever becomes of the ranks
        arguments: dict[str, Any] = {
            "model": Path(model), "source": Path(source), "output": Path(output), "layout": layout, "device": device,
            "operating_point": operating_point,
            "options": {
                "subset": subset, "save": save, "resume": resume, "show_reference": show_reference,
                "hide_names": hide_names, "scratch": Path(scratch),
            },
        }  # fmt: skip
        if layout.ranks == 1 and not is_one_of_several():
            return predict_here(**arguments)
        result: PredictResult = run_ranks(
            f"{__name__}:predict_here", arguments, n=layout.ranks, hang_seconds=layout.hang_seconds
        )
        return result


def predict_here(
    *, model: Path, source: Path, output: Path, layout: LayoutSettings, device: str,
    operating_point: float | str | None, options: Mapping[str, Any],
) -> PredictResult:  # fmt: skip
    """Predict in this process, which is the only one or one of those that the layout asks for."""
    with process_group(resolve_device(device), hang_seconds=layout.hang_seconds) as rank:
        team = Team(layout, own_device(rank, resolve_device(device)))
        loaded = load_model(model, operating_point=operating_point, team=team)
        return team.led(lambda: predict_batch(loaded, source, output, **options), loaded.follow)


def _layout(trained: LayoutSettings, space: int | None, slabs: int | None, device: torch.device) -> LayoutSettings:
    """How volumes are spread: as said, else as in training, where each volume has one group of processes."""
    if space is None and slabs is None:
        space, slabs = trained.space, trained.slabs
    space, slabs = space or 1, slabs or 1
    if space > 1 and slabs > 1:
        raise ConfigError(f"--space {space} and --slabs {slabs}: spread volumes over processes, or over time")
    chosen = in_turn(trained, slabs, device) if slabs > 1 else LayoutSettings(space=space)
    return chosen.model_copy(update={"hang_seconds": trained.hang_seconds})
