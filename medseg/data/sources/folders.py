"""Folders of images: ``imagesTr`` / ``labelsTr``, LUNA16-style annotations, plain."""

import re
from collections import defaultdict
from pathlib import Path

from medseg.data.manifest import Case
from medseg.data.pseudonyms import Pseudonyms
from medseg.errors import ManifestError
from medseg.files import read_csv, safe_name, write_csv
from medseg.imaging import find_inputs
from medseg.imaging.find import ImageSource, stem_of

__all__ = ["from_image_folder", "from_training_folders"]

CHANNEL = re.compile(r"^(?P<case>.+)_(?P<channel>[0-9]{4})$")  # case_0000.nii.gz, case_0001.nii.gz


def from_training_folders(source: Path) -> list[Case]:
    """``imagesTr/NAME[_0000].EXT`` with ``labelsTr/NAME.EXT``; a patient a case.

    Cases without a file in ``labelsTr`` are unlabelled.
    """
    channels: dict[str, dict[int, Path]] = defaultdict(dict)
    for path in sorted((source / "imagesTr").iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        match = CHANNEL.match(stem_of(path))
        name, channel = (match["case"], int(match["channel"])) if match else (stem_of(path), 0)
        channels[name][channel] = path
    labels = {stem_of(path): path for path in sorted((source / "labelsTr").glob("*")) if not path.name.startswith(".")}
    if not channels:
        raise ManifestError(f"{source / 'imagesTr'}: holds no image")
    return [
        Case(
            case_id=safe_name(name), patient_id=name, images=tuple(str(files[c].resolve()) for c in sorted(files)),
            mask=labels[name].resolve() if name in labels else None,
        )
        for name, files in channels.items()
    ]  # fmt: skip


def from_image_folder(source: Path, output: Path, pseudonyms: Pseudonyms) -> list[Case]:
    """Images without annotation, one case an image, or with a LUNA16-style ``annotations.csv``.

    Its points are written, in our columns, to ``points.csv`` in `output`; the source is left as it is.
    """
    found = find_inputs(source.resolve(), name_series=pseudonyms.of_series, exclude=output)
    if not found:
        raise ManifestError(f"{source}: no image found; expected PNG, JPEG, NIfTI, NRRD, MHA or DICOM files")
    table = source / "annotations.csv"
    points = _luna_points(table, output / "points.csv", found) if table.is_file() else None
    return [
        Case(
            case_id=item.case_id, patient_id=item.patient_id or item.case_id,
            images=(item.name,), points=points, modality=item.modality,
        )
        for item in found
    ]  # fmt: skip


def _luna_points(table: Path, target: Path, found: list[ImageSource]) -> Path:
    """Check an ``annotations.csv`` (seriesuid, coordX, coordY, coordZ, diameter_mm) and put it into our columns."""
    _, rows = read_csv(table, needs=("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"))
    names = {item.series.partition("/")[0]: item.case_id for item in found if item.series}
    renamed = (
        {
            "case_id": names.get(r["seriesuid"], r["seriesuid"]),
            "x": r["coordX"],
            "y": r["coordY"],
            "z": r["coordZ"],
            "diameter_mm": r["diameter_mm"],
        }
        for r in rows
    )
    write_csv(target, ("case_id", "x", "y", "z", "diameter_mm"), renamed)
    return target.resolve()
