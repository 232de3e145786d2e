"""The manifest ``dataset.csv``: one row a case."""

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from medseg.errors import ManifestError, TableError
from medseg.files import is_safe_name, read_csv, write_csv
from medseg.imaging.formats import split_member

__all__ = ["COLUMNS", "UNCERTAIN", "Case", "Manifest", "load_manifest", "write_manifest"]

COLUMNS = (
    "case_id", "patient_id", "image", "mask", "boxes", "points", "label", "class", "reader", "group", "split",
    "modality", "view", "age", "sex", "ignore",
)  # fmt: skip
PARTS = ("train", "val", "test")
CLASS_LABEL = "label_"  # before the name of a class: whether the image shows it
UNCERTAIN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One row of a manifest.

    Parameters
    ----------
    images : tuple of str or None
        Absolute paths of the channels, the first never None; None where a further cell is empty: the channel is
        missing. A member of a NumPy stack ends in ``#number``, a series of a folder in ``#SERIES_UID``.
    mask, boxes, points : Path or None
        Annotation files, None where the cell is empty: the case is unlabelled in this way.
    label : int or None
        Label of the image; where the cell is empty, that of its `class_labels`: 1 with any, 0 with none of them.
    class_labels : tuple of (str, int)
        Columns ``label_NAME`` that have a value: whether the image shows that class, 1, 0, or -1 where it is uncertain
        (as in CheXpert, Irvin 2019, arXiv:1901.07031).
    name : str
        Class of the lesions (column ``class``).
    """

    case_id: str
    patient_id: str
    images: tuple[str | None, ...]
    mask: Path | None = None
    boxes: Path | None = None
    points: Path | None = None
    label: int | None = None
    class_labels: tuple[tuple[str, int], ...] = ()
    name: str = ""
    reader: str = ""
    group: str = ""
    split: str = ""
    modality: str = ""
    view: str = ""
    age: str = ""
    sex: str = ""
    ignore: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The images that are there: `images` without missing channels."""
        return tuple(image for image in self.images if image is not None)

    @property
    def annotation(self) -> str:
        """How the case is annotated: mask, boxes, points, label, or empty for unlabelled."""
        for kind in ("mask", "boxes", "points"):
            if getattr(self, kind) is not None:
                return kind
        known = self.label is not None or any(value != UNCERTAIN for _, value in self.class_labels)
        return "label" if known else ""

    @property
    def is_labelled(self) -> bool:
        """Whether a reader looked at the case; unlabelled cases are never negatives."""
        return self.annotation != ""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The cases of a data set, in the order of its file."""

    path: Path
    cases: tuple[Case, ...]


def load_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest.

    Parameters
    ----------
    path : str or Path
        The file, or the folder that holds ``dataset.csv``.

    Raises
    ------
    ManifestError
        Naming the row: unknown or missing column, doubled case, missing file, wrong value, patient in two parts.
    """
    path = Path(path)
    file = path / "dataset.csv" if path.is_dir() else path
    if not file.is_file():
        raise ManifestError(f"{file}: no such manifest; make one with `medseg prepare`")
    try:
        columns, rows = read_csv(file)
    except TableError as error:
        raise ManifestError(str(error)) from error
    channels = _check_columns(file, columns)
    if not rows:
        raise ManifestError(f"{file}: lists no case")
    cases: list[Case] = []
    names: set[str] = set()
    for line, row in enumerate(rows, start=2):
        where = f"{file.name}, line {line}"
        case = _case(where, row, channels, file.parent)
        if case.case_id in names:
            raise ManifestError(f"{where}: case {case.case_id} is listed twice")
        names.add(case.case_id)
        cases.append(case)
    _check_files(file, cases)
    _check_patients(file, cases)
    return Manifest(file, tuple(cases))


def _check_columns(file: Path, columns: list[str]) -> list[str]:
    channels = ["image"]
    for column in columns:
        if re.fullmatch(r"image_[0-9]+", column):
            channels.append(column)
        elif column.startswith(CLASS_LABEL) and column != CLASS_LABEL:
            continue
        elif column not in COLUMNS:
            close = difflib.get_close_matches(column, COLUMNS, n=1)
            hint = f" (did you mean {close[0]}?)" if close else ""
            separator = "; are the columns separated by commas?" if len(columns) == 1 else ""
            raise ManifestError(
                f"{file}: unknown column '{column}'{hint}; allowed are {', '.join(COLUMNS)}, image_2 ..., "
                f"{CLASS_LABEL}NAME{separator}"
            )
    for needed in ("case_id", "patient_id", "image"):
        if needed not in columns:
            raise ManifestError(f"{file}: the column {needed} is missing")
    channels.sort(key=_channel_number)
    for number, channel in enumerate(channels, start=1):
        if _channel_number(channel) != number:
            raise ManifestError(f"{file}: has the column {channel} but no image_{number}; number channels from 2")
    return channels


def _channel_number(column: str) -> int:
    return int(column.partition("_")[2] or 1)


def _case(where: str, row: dict[str, str], channels: list[str], root: Path) -> Case:
    case_id, patient_id = row["case_id"], row["patient_id"]
    if not is_safe_name(case_id):  # it becomes the name of a folder
        raise ManifestError(f"{where}: case_id '{case_id}' must start with a letter, digit or _ and name a file")
    if not patient_id:
        raise ManifestError(f"{where}: case {case_id} has no patient_id, without which patients could cross a split")
    if not row["image"]:
        raise ManifestError(f"{where}: case {case_id} has no image")
    files = {kind: _resolve(root, row[kind]) if row.get(kind) else None for kind in ("mask", "boxes", "points")}
    split = row.get("split", "")
    if split and split not in PARTS:
        raise ManifestError(f"{where}: split '{split}' of case {case_id}: allowed are {', '.join(PARTS)} or empty")
    class_labels = tuple(_class_labels(where, case_id, row))
    label = _label(where, case_id, row.get("label", ""))
    return Case(
        case_id=case_id,
        patient_id=patient_id,
        images=tuple(str(_resolve(root, row[channel])) if row[channel] else None for channel in channels),
        label=_of_classes([row[c] for c in row if c.startswith(CLASS_LABEL)], class_labels) if label is None else label,
        class_labels=class_labels,
        name=row.get("class", ""),
        split=split,
        ignore=row.get("ignore", "").lower() in ("1", "true", "yes"),
        **files,  # type: ignore[arg-type]
        **{key: row.get(key, "") for key in ("reader", "group", "modality", "view", "age", "sex")},  # type: ignore[arg-type]
    )


def _resolve(root: Path, cell: str) -> Path:
    return Path(os.path.normpath(os.path.abspath(root / cell)))


def _label(where: str, case_id: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal():
        raise ManifestError(f"{where}: label '{text}' of case {case_id} is not a whole number from 0")
    return int(text)


def _class_labels(where: str, case_id: str, row: dict[str, str]) -> Iterator[tuple[str, int]]:
    for column, text in row.items():
        if not column.startswith(CLASS_LABEL) or not text:
            continue
        if text not in ("0", "1", "-1", "0.0", "1.0", "-1.0"):
            raise ManifestError(
                f"{where}: {column} '{text}' of case {case_id}: allowed are 1, 0, -1 (uncertain) or empty (not read)"
            )
        yield column.removeprefix(CLASS_LABEL), int(float(text))


def _of_classes(cells: list[str], class_labels: tuple[tuple[str, int], ...]) -> int | None:
    """Label of an image from those of its classes: 1 with any, 0 where all are read and absent, else not known."""
    values = [value for _, value in class_labels]
    if 1 in values:
        return 1
    return 0 if values and len(values) == len(cells) and UNCERTAIN not in values else None


def _check_files(file: Path, cases: list[Case]) -> None:
    """Every named file must exist; members of a stack share one file, which is looked at once."""
    known: dict[str, bool] = {}
    missing: list[tuple[str, str]] = []
    for case in cases:
        for name in (*case.images, case.mask, case.boxes, case.points):
            if name is None:
                continue
            target = str(split_member(name)[0])
            if target not in known:
                known[target] = os.path.exists(target)
            if not known[target]:
                missing.append((case.case_id, target))
    if missing:
        case_id, target = missing[0]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ManifestError(f"{file}: case {case_id}: {target} does not exist{more}")


def _check_patients(file: Path, cases: list[Case]) -> None:
    parts: dict[str, tuple[str, str]] = {}
    for case in cases:
        if not case.split:
            continue
        part, other = parts.setdefault(case.patient_id, (case.split, case.case_id))
        if part != case.split:
            raise ManifestError(
                f"{file}: the patient of case {case.case_id} ({case.split}) is also in case {other} ({part}); "
                "a patient must be in one part only"
            )


def write_manifest(path: str | Path, cases: Iterable[Case]) -> None:
    """Write a manifest; paths become relative to its folder."""
    path = Path(path)
    root = os.path.abspath(path.parent)
    cases = list(cases)
    n_channels = max((len(case.images) for case in cases), default=1)
    channels = [f"image_{number}" for number in range(2, n_channels + 1)]
    classes = dict.fromkeys(CLASS_LABEL + name for case in cases for name, _ in case.class_labels)
    columns = [*COLUMNS[:3], *channels, *COLUMNS[3:], *classes]
    write_csv(path, columns, (_row(case, channels, root) for case in cases))


def _row(case: Case, channels: list[str], root: str) -> dict[str, object]:
    row: dict[str, object] = {
        name: getattr(case, name)
        for name in ("case_id", "patient_id", "label", "reader", "group", "split", "modality", "view", "age", "sex")
    }
    row |= {CLASS_LABEL + name: value for name, value in case.class_labels}
    row["class"] = case.name
    row["ignore"] = "1" if case.ignore else ""
    for column, image in zip(["image", *channels], case.images):
        row[column] = "" if image is None else os.path.relpath(image, root)
    for kind in ("mask", "boxes", "points"):
        target = getattr(case, kind)
        row[kind] = "" if target is None else os.path.relpath(target, root)
    return row
