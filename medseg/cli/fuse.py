"""``medseg fuse``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def fuse(
    first: Annotated[Path, typer.Argument(help="predictions of the detector, whose findings stay")],
    second: Annotated[Path, typer.Argument(help="predictions of the same cases by another model")],
    data: Annotated[Path, typer.Option("-d", "--data", help="data set folder or manifest")],
    fit: Annotated[
        tuple[Path, Path], typer.Option(metavar="FIRST SECOND", help="both models' predictions of the validation part")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="the new prediction folder")],
) -> None:
    """Fuse the scores of two models on the same cases, as validation cases teach."""
    from medseg.experiment.score_fusion import fuse_predictions

    print(fuse_predictions(first, second, data, output, fit=fit))


COMMANDS = (fuse,)
