"""``medseg spread``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def spread(
    evaluations: Annotated[list[Path], typer.Argument(help="evaluation folders, such as those of several seeds")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="CSV file for the table")] = None,
) -> None:
    """Mean and standard deviation of each figure over evaluations of several seeds."""
    from medseg.experiment.figure_spread import SPREAD_COLUMNS, spread_lines
    from medseg.experiment.figure_spread import spread as spread_of
    from medseg.files import write_csv

    rows = spread_of(evaluations)
    if output is not None:
        write_csv(output, SPREAD_COLUMNS, rows)
    for line in spread_lines(rows):
        print(line)


COMMANDS = (spread,)
