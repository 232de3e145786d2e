"""``medseg inspect`` and ``medseg convert``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def inspect(
    paths: Annotated[list[Path], typer.Argument(help="files and folders")],
    json: Annotated[Path | None, typer.Option(help="write the listing as JSON")] = None,
) -> None:
    """List every series: what it is and whether it can be read."""
    from medseg.files import write_json
    from medseg.imaging import inspect as inspect_paths

    listing = inspect_paths(paths)
    for series in listing["series"]:
        problems = "; ".join(problem["message"] for problem in series["problems"])
        kind = series["modality"] or "-"
        print(f"{series['status']:<8} {kind:<4} {series['shape']} {series['path']} {problems}".rstrip())
    for file in listing["unreadable"]:
        print(f"unreadable {file['path']}: {file['reason']}")
    if not listing["series"] and not listing["unreadable"]:
        print("no image found")
    if json is not None:
        write_json(json, listing)


def convert(
    input: Annotated[Path, typer.Argument(help="image file or folder of one series")],
    output: Annotated[Path, typer.Argument(help=".nii.gz, .nii, .nrrd, .mha or .mhd")],
    series: Annotated[str | None, typer.Option(help="Series Instance UID, where the folder holds several")] = None,
) -> None:
    """Convert one series to NIfTI, NRRD or MHA."""
    from medseg.imaging import read, write_volume

    write_volume(output, read(input, series_uid=series))
    print(output)


COMMANDS = (inspect, convert)
