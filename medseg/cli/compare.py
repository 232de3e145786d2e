"""``medseg compare``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def compare(
    evaluation_a: Annotated[Path, typer.Argument(help="evaluation folder")],
    evaluation_b: Annotated[Path, typer.Argument(help="evaluation folder of the same cases")],
    output: Annotated[Path, typer.Option("-o", "--output", help="folder of the comparison")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value of the evaluation's settings")] = None,
) -> None:
    """Compare two evaluations of the same cases: paired tests, intervals of the differences, plots."""
    from medseg.experiment.comparison import compare_evaluations, comparison_lines

    for line in comparison_lines(compare_evaluations(evaluation_a, evaluation_b, output, overrides=overrides or ())):
        print(line)


COMMANDS = (compare,)
