"""``medseg inspect`` and ``medseg convert``."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["COMMANDS"]

SHOWN = 4  # folders named on the terminal; the JSON names all


def inspect(
    paths: Annotated[list[Path], typer.Argument(help="files and folders")],
    json: Annotated[Path | None, typer.Option(help="write the listing as JSON")] = None,
    html: Annotated[Path | None, typer.Option(help="write a contact sheet: a page with pictures")] = None,
) -> None:
    """List every series: what it is and whether it can be read."""
    from medseg.files import write_json
    from medseg.imaging import inspect as inspect_paths

    if html is None:
        listing = inspect_paths(paths)
    else:
        from medseg.reporting.contact_sheet import ContactSheet

        sheet = ContactSheet()
        listing = inspect_paths(paths, look=sheet.add)
        sheet.write(html, listing)
    for entry in listing["series"]:
        print(_line(entry))
        for problem in entry["problems"]:
            print(f"         {problem['message']}")
    for item in listing["objects"]:
        print(f"object   {item['kind']}: {item['path']}")
    _show_rest(listing)
    if not listing["series"]:
        print("no image found")
    if json is not None:
        write_json(json, listing)
    if any(e["status"] == "rejected" and e["kind"] not in ("localizer", "capture") for e in listing["series"]):
        raise typer.Exit(1)


def _name(entry: dict[str, Any]) -> str:
    part = f"/{entry['part']}" if entry["part"] else ""
    return f"{entry['path']}" + (f"#{entry['series_uid']}{part}" if entry["series_uid"] else "")


def _line(entry: dict[str, Any]) -> str:
    """Status, what it is, size, and the name by which it can be read."""
    parts = [f"{entry['status']:<8}", entry["modality"] or "image"]
    if entry["description"]:
        parts.append(f"'{entry['description']}'")
    flat = 2 if entry["kind"] == "projection" else 1  # first of the axes (channel, z, y, x) to show
    if entry["shape"]:
        parts.append("x".join(map(str, entry["shape"][flat if entry["shape"][0] == 1 else 0 :])))
    if entry["spacing_mm"]:
        parts.append("x".join(f"{value:.3g}" for value in entry["spacing_mm"][flat - 1 :]) + " mm")
    return " ".join([*parts, _name(entry)])


def _show_rest(listing: dict[str, Any]) -> None:
    """Damaged files one by one; copies, and files that are no images, are counted."""
    from medseg.imaging.dicom.headers import NOT_DICOM

    copies, files = listing["copies"], listing["unreadable"]
    if copies:
        first = copies[0]
        print(
            f"copies   {len(copies)} file(s) of images that are here already: {first['path']} of {first['copy_of']} ..."
        )
    for folders in listing["patients_in_several_folders"]:
        print(f"note     one patient in {len(folders)} folders: {', '.join(folders[:SHOWN])}")
    others = [file for file in files if file["reason"] == NOT_DICOM]
    for file in files:
        if file["reason"] != NOT_DICOM:
            print(f"damaged  {file['path']}: {file['reason']}")
    if others:
        print(f"other    {len(others)} file(s) that are no images, such as {others[0]['path']}")


def convert(
    input: Annotated[Path, typer.Argument(help="image file or folder of one series")],
    output: Annotated[Path, typer.Argument(help=".nii.gz, .nii, .nrrd, .mha or .mhd")],
    series: Annotated[
        str | None,
        typer.Option(help="Series Instance UID, where the folder holds several; UID/part, where the series does"),
    ] = None,
    allow_irregular: Annotated[
        bool, typer.Option(help="resample slices that are missing or at unequal distances")
    ] = False,
) -> None:
    """Convert one series to NIfTI, NRRD or MHA."""
    import sys

    from medseg.imaging import read, write_volume

    volume = read(input, series_uid=series, allow_irregular=allow_irregular)
    for note in volume.notes:
        if note.warning:
            print(f"warning: {note.message}", file=sys.stderr)
    write_volume(output, volume)
    print(output)


COMMANDS = (inspect, convert)
