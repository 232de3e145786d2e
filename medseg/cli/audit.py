"""``medseg audit``."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS"]


def audit(
    folder: Annotated[Path, typer.Argument(help="outputs to search: a folder or a file")],
    identifiers: Annotated[
        Path, typer.Option(help="the patients: DICOM file or folder, CSV, JSON, or a text with one identifier a line")
    ],
    json: Annotated[Path | None, typer.Option(help="write the findings as JSON")] = None,
    names: Annotated[
        str, typer.Option(help="what counts as a name: full, family (the family name alone too) or all (each part)")
    ] = "family",
    uids: Annotated[bool, typer.Option(help="search for study, series and instance UIDs")] = True,
    study_dates: Annotated[bool, typer.Option(help="search for dates of the study too")] = False,
    dicom_results: Annotated[bool, typer.Option(help="search DICOM results too, which name their patient")] = False,
    source_paths: Annotated[bool, typer.Option(help="search pseudonyms.json and the paths in dataset.csv too")] = False,
) -> None:
    """Search outputs for identifiers of patients; exit code 1 where one is found."""
    from medseg.files import write_json
    from medseg.privacy import audit as search
    from medseg.privacy import read_identifiers

    known = read_identifiers(identifiers, uids=uids, study_dates=study_dates)
    result = search(folder, known, names=names, dicom_results=dicom_results, source_paths=source_paths)
    for leak in result.leaks:
        print(f"leak: {leak.file}: {leak.place}: {leak.kind} {leak.identifier} x{leak.count}")
    for file, reason in result.excepted.items():
        print(f"excepted: {file}: {reason}")
    for file, reason in result.not_searched.items():
        print(f"not searched: {file}: {reason}")
    for identifier in result.too_short:
        print(f"too short to search: {identifier}")
    print(
        f"{result.n_files} files, {result.n_bytes / 1e6:.0f} MB: {len(result.leaks)} leaks, {len(result.excepted)} "
        f"excepted, {len(result.not_searched)} not searched"
    )
    if json is not None:
        write_json(json, result.to_json())
    if result.leaks or result.not_searched:
        raise typer.Exit(1 if result.leaks else 2)


COMMANDS = (audit,)
