"""``medseg train``."""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failures import some_failed

__all__ = ["COMMANDS"]


def train(
    pipeline: Annotated[str, typer.Argument(help="pipeline file or name of a shipped one")],
    data: Annotated[Path, typer.Option("-d", "--data", help="data set folder or manifest")],
    output: Annotated[Path, typer.Option("-o", "--output", help="run folder")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    fold: Annotated[str | None, typer.Option("-f", "--fold", help="number of the fold, or all")] = None,
    resume: Annotated[bool, typer.Option(help="go on with the run's checkpoint")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    second_stage: Annotated[
        Path | None,
        typer.Option(help="train the second stage of a finished run on the candidates of this prediction folder"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="same as training.seed=N")] = None,
) -> None:
    """Train a detector."""
    from medseg.config import load_pipeline
    from medseg.errors import ConfigError
    from medseg.files import read_json
    from medseg.training.train import train as train_run

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"training.seed={seed}")
    if fold is not None and fold != "all" and not fold.isdecimal():
        raise ConfigError(f"--fold {fold}: expected a number or all")
    if second_stage is not None:
        from medseg.experiment.second_stage import train_second_stage

        if fold is not None:
            raise ConfigError("--second-stage and --fold: name the fold's folder by -o instead")
        settings = load_pipeline(pipeline, changes).second_stage
        print(train_second_stage(settings, second_stage, data, output, resume=resume, device=device))
        return
    if fold == "all":
        folds: list[int | None] = list(range(load_pipeline(pipeline, changes).split.folds))
    else:
        folds = [None if fold is None else int(fold)]
    left_out: dict[str, str] = {}
    for number in folds:
        run = output if fold != "all" else output / f"fold_{number}"
        has_run = (run / "checkpoints" / "last.pt").is_file()
        train_run(
            pipeline, data, run, overrides=changes, fold=number,
            resume=resume and (has_run or fold != "all"), device=device,
        )  # fmt: skip
        left_out |= read_json(run / "splits.json").get("left_out", {})
        print(run)
    some_failed(left_out)


COMMANDS = (train,)
