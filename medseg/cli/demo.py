"""``medseg demo``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="folder for everything")],
    minutes: Annotated[float, typer.Option(min=0.05, help="training time")] = 2.0,
) -> None:
    """Go the whole way on sample data: prepare, train, predict, evaluate, report."""
    from medseg.experiment.demo import run_demo
    from medseg.reporting import write_report

    sources = run_demo(output, minutes=minutes)
    page = write_report(sources, output / "report.html", title="Nodules on simulated chest radiographs")
    print(f"open {page}")


COMMANDS = (demo,)
