"""``medseg predict``."""

from pathlib import Path
from typing import Annotated

import typer

from medseg.cli.failures import some_failed

__all__ = ["COMMANDS"]


def predict(
    model: Annotated[Path, typer.Option("-m", "--model", help="run folder")],
    input: Annotated[Path, typer.Option("-i", "--input", help="image, folder, DICOM tree or manifest")],
    output: Annotated[Path, typer.Option("-o", "--output", help="prediction folder")],
    subset: Annotated[str, typer.Option(help="part of the manifest: train, val, test or all")] = "all",
    save: Annotated[
        str | None,
        typer.Option(
            help="comma-separated: mask, probability, overlay (NIfTI, PNG); for DICOM input also seg, sr, pm, sc, pr: "
            "segmentation, structured report, parametric map, secondary capture, presentation state"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on with a folder that was begun")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="report findings from this score on (default: chosen on validation)"),
    ] = None,
    show_reference: Annotated[bool, typer.Option(help="draw the manifest's lesions into the overlays")] = False,
    pseudonymise_names: Annotated[bool, typer.Option(help="name cases by pseudonyms, not by their files")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Predict images in batch into a prediction folder."""
    from medseg.inference.batch import predict_batch
    from medseg.inference.model import load_model

    loaded = load_model(model, device=device, operating_point=threshold)
    kinds = None if save is None else [kind.strip() for kind in save.split(",") if kind.strip()]
    result = predict_batch(
        loaded,
        input,
        output,
        subset=subset,
        save=kinds,
        resume=resume,
        show_reference=show_reference,
        hide_names=pseudonymise_names,
    )
    print(f"{result.path}: {result.n_cases} cases")
    some_failed(result.failures)


COMMANDS = (predict,)
