"""``medseg predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medseg.cli.failures import some_failed

if TYPE_CHECKING:
    from medseg.inference.batch import PredictResult

__all__ = ["COMMANDS"]


def predict(
    model: Annotated[
        Path, typer.Option("-m", "--model", help="run folder, or that of a cross-validation for its folds' mean")
    ],
    input: Annotated[Path, typer.Option("-i", "--input", help="image, folder, DICOM tree or manifest")],
    output: Annotated[Path, typer.Option("-o", "--output", help="prediction folder")],
    subset: Annotated[str, typer.Option(help="part of the manifest: train, val, test or all")] = "all",
    save: Annotated[
        str | None,
        typer.Option(
            help="comma-separated: mask, probability, uncertainty, overlay (NIfTI, PNG); for DICOM input also seg, "
            "sr, pm, sc, pr: segmentation, structured report, parametric map, secondary capture, presentation state"
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="go on with a folder that was begun")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="report findings from this score on (default: chosen on validation)"),
    ] = None,
    operating_point: Annotated[
        str | None,
        typer.Option(help="report findings from this point of the model on, such as fp_1 or sensitivity_0.9"),
    ] = None,
    show_reference: Annotated[bool, typer.Option(help="draw the manifest's lesions into the overlays")] = False,
    pseudonymise_names: Annotated[bool, typer.Option(help="name cases by pseudonyms, not by their files")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    space: Annotated[
        int | None,
        typer.Option(min=1, max=1024, help="processes that share each volume (default: as in training; 1: none)"),
    ] = None,
    slabs: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help="slabs of a volume that one process takes in turn, so that it fits; 1: taken whole"
        ),
    ] = None,
) -> None:
    """Predict images in batch into a prediction folder."""
    from medseg.errors import ConfigError
    from medseg.inference.predict import predict as predict_images
    from medseg.parallel.ranks import current_rank

    if threshold is not None and operating_point is not None:
        raise ConfigError("give either --threshold or --operating-point")
    kinds = None if save is None else [kind.strip() for kind in save.split(",") if kind.strip()]
    result = predict_images(
        model, input, output, operating_point=threshold if operating_point is None else operating_point, space=space,
        slabs=slabs, device=device, subset=subset, save=kinds, resume=resume,
        show_reference=show_reference, hide_names=pseudonymise_names,
    )  # fmt: skip
    if current_rank().rank == 0:  # of several that torchrun has started, one speaks
        print(f"{result.path}: {result.n_cases} cases")
        _say_out_of_scope(result)
        some_failed(result.failures)


def _say_out_of_scope(result: "PredictResult") -> None:
    """Say how many cases the model is not for; that nothing could be predicted is an error."""
    from medseg.errors import ImageError

    outside = result.out_of_scope
    if not outside:
        return
    case_id, reason = next(iter(outside.items()))
    if len(outside) == result.n_cases:
        raise ImageError(
            f"{result.path}: all {result.n_cases} case(s) are out of the model's scope, nothing was predicted; "
            f"case {case_id}: {reason}"
        )
    print(f"{len(outside)} case(s) out of scope, which have no result (column error of cases.csv says why)")


COMMANDS = (predict,)
