"""``medseg report``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def report(
    sources: Annotated[list[Path], typer.Argument(help="run, prediction and evaluation folders")],
    output: Annotated[Path, typer.Option("-o", "--output", help="HTML file")] = Path("report.html"),
) -> None:
    """Write a report as one self-contained HTML file."""
    from medseg.reporting import write_report

    print(write_report(sources, output))


COMMANDS = (report,)
