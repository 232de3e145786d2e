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
    jobs: Annotated[int, typer.Option(min=1, help="with --fold all: folds at a time, in processes of their own")] = 1,
    resume: Annotated[bool, typer.Option(help="go on with the run's checkpoint")] = False,
    save: Annotated[
        str, typer.Option(help="with --fold all: what to save of out-of-fold cases: mask, probability, overlay")
    ] = "",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    second_stage: Annotated[
        Path | None,
        typer.Option(help="train the second stage of a finished run on the candidates of this prediction folder"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="same as training.seed=N")] = None,
) -> None:
    """Train a detector."""
    from medseg.errors import ConfigError
    from medseg.files import read_json
    from medseg.training.train import train as train_run

    changes = list(overrides or [])
    if seed is not None:
        changes.append(f"training.seed={seed}")
    if fold is not None and fold != "all" and not fold.isdecimal():
        raise ConfigError(f"--fold {fold}: expected a number or all")
    kinds = [kind.strip() for kind in save.split(",") if kind.strip()]
    if second_stage is not None:
        from medseg.config import load_pipeline
        from medseg.experiment.second_stage import train_second_stage

        if fold is not None:
            raise ConfigError("--second-stage and --fold: name the fold's folder by -o instead")
        settings = load_pipeline(pipeline, changes).second_stage
        print(train_second_stage(settings, second_stage, data, output, resume=resume, device=device))
        return
    if fold == "all":
        from medseg.experiment.cross_validation import cross_validate

        result = cross_validate(
            pipeline, data, output, overrides=changes, resume=resume, jobs=jobs, device=device, save=kinds
        )
        print(result.path)
        some_failed(result.failures | result.left_out)
        return
    if fold is not None and not fold.isdecimal():
        raise ConfigError(f"--fold {fold}: expected a number or all")
    if jobs != 1 or kinds:
        raise ConfigError("--jobs and --save go with --fold all")
    number = None if fold is None else int(fold)
    train_run(pipeline, data, output, overrides=changes, fold=number, resume=resume, device=device)
    print(output)
    some_failed(read_json(output / "splits.json").get("left_out", {}))


COMMANDS = (train,)
