"""``medseg prepare`` and ``medseg plan``."""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failures import some_failed

__all__ = ["COMMANDS"]


def prepare(
    source: Annotated[Path, typer.Argument(help="folder of images, data set of a known layout, or manifest")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for the data set")],
    pipeline: Annotated[
        str | None, typer.Option("-p", "--pipeline", help="choose channels by its rules, and fill its cache")
    ] = None,
    pseudonymise_names: Annotated[bool, typer.Option(help="name cases by pseudonyms, not by their files")] = False,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
) -> None:
    """Make a data set: dataset.csv, fingerprint.json and, with a pipeline, the cache."""
    from medseg.data.prepare import prepare as prepare_data

    settings = None
    if pipeline is not None:
        from medseg.config import load_pipeline

        settings = load_pipeline(pipeline)
    result = prepare_data(
        source,
        output,
        settings=None if settings is None else settings.input,
        hide_names=pseudonymise_names,
        workers=workers,
    )
    print(f"{result.path}: {result.n_cases} cases, {len(result.duplicates)} duplicate pairs")
    failures = dict(result.failures)
    if settings is not None:
        from medseg.data.manifest import load_manifest
        from medseg.data.splits import split_patients
        from medseg.training.preparation import prepare_training

        manifest = load_manifest(output)
        splits = split_patients(manifest, settings.split, seed=settings.training.seed)
        _, plan, failed = prepare_training(settings, manifest, splits, workers=workers)
        failures |= failed
        print(f"cache filled for {settings.name}: {plan.n_training_cases} training cases, patch {plan.patch_size}")
    some_failed(failures)


def plan(
    pipeline: Annotated[str, typer.Argument(help="pipeline file or name of a shipped one")],
    data: Annotated[Path, typer.Option("-d", "--data", help="data set folder or manifest")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value ...")] = None,
    json: Annotated[Path | None, typer.Option(help="write the plan as JSON")] = None,
    gpu_memory: Annotated[
        float | None, typer.Option(min=0.1, help="for a GPU of so many GB: same as training.memory_mb=1000*GB")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 2,
) -> None:
    """Say what would be trained and how, each choice with its reason."""
    from medseg.config import load_pipeline
    from medseg.data.manifest import load_manifest
    from medseg.data.splits import split_patients
    from medseg.training.preparation import prepare_training

    stated = [] if gpu_memory is None else [f"training.memory_mb={1000 * gpu_memory:g}"]
    settings = load_pipeline(pipeline, [*(overrides or []), *stated])
    device = "cpu" if gpu_memory is None else "cuda"
    manifest = load_manifest(data)
    splits = split_patients(manifest, settings.split, seed=settings.training.seed)
    _, made, failures = prepare_training(settings, manifest, splits, workers=workers, device=device, estimate=True)
    print(f"{settings.name}: {made.n_training_cases} training cases, {made.n_positive_cases} with a lesion")
    for name, reason in made.reasons.items():
        value = f" = {getattr(made, name)}" if hasattr(made, name) else ""  # advice is of no field
        print(f"  {name}{value}   ({reason})")
    if json is not None:
        made.write(json)
    some_failed(failures)


COMMANDS = (prepare, plan)
