"""Our tables of annotations: one row a box, a point or a mask, many cases in one file."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

from medseg.data.manifest import Case
from medseg.errors import AnnotationError, TableError
from medseg.files import read_csv

__all__ = [
    "BOX_COLUMNS",
    "MASK_COLUMNS",
    "POINT_COLUMNS",
    "annotation_rows",
    "case_rows",
    "check_annotations",
    "has_mask_table",
    "is_ignored",
    "n_readers",
    "reader_of",
]

logger = logging.getLogger(__name__)
Row = dict[str, str]
BOX_COLUMNS: tuple[str, ...] = ("case_id", "x_min", "y_min", "x_max", "y_max")
POINT_COLUMNS: tuple[str, ...] = ("case_id", "x", "y", "z")
MASK_COLUMNS: tuple[str, ...] = ("case_id", "mask")
BETWEEN_READERS = ";"  # in the manifest's column reader


@lru_cache(maxsize=8)
def _table(path: Path, modified: int, needed: tuple[str, ...]) -> dict[str, list[Row]]:
    if path.suffix.lower() != ".csv":
        raise AnnotationError(
            f"{path}: a table {', '.join(needed)} was expected; `medseg prepare FOLDER` makes it from annotations in "
            "other formats"
        )
    try:
        _, rows = read_csv(path, needs=needed)
    except TableError as error:
        raise AnnotationError(str(error)) from error
    by_case: dict[str, list[Row]] = {}
    for row in rows:
        by_case.setdefault(row["case_id"], []).append(row)
    return by_case


def annotation_rows(path: Path, needed: tuple[str, ...]) -> dict[str, list[Row]]:
    """Read a table into the rows of each case.

    Raises
    ------
    AnnotationError
        When there is no such table, or it lacks one of the columns `needed`.
    """
    try:
        return _table(path, path.stat().st_mtime_ns, needed)
    except FileNotFoundError:
        raise AnnotationError(f"{path}: no such annotation file") from None


def has_mask_table(case: Case) -> bool:
    """Whether the case's mask cell names a table of masks, and not a mask."""
    return case.mask is not None and case.mask.suffix.lower() == ".csv"


def _tables(case: Case) -> list[tuple[Path, tuple[str, ...]]]:
    """Tables that a case names, with the columns they need; the first is the one that counts."""
    masks = case.mask if has_mask_table(case) else None
    kinds = ((masks, MASK_COLUMNS), (case.boxes, BOX_COLUMNS), (case.points, POINT_COLUMNS))
    return [(path, columns) for path, columns in kinds if path is not None]


def case_rows(case: Case) -> list[Row]:
    """Rows of the case in its table of masks, else of boxes, else of points; none where it has a mask of its own."""
    if case.mask is not None and not has_mask_table(case):
        return []
    for path, columns in _tables(case):
        return annotation_rows(path, columns).get(case.case_id, [])
    return []


def check_annotations(cases: Iterable[Case]) -> None:
    """Look for rows of the tables that belong to no case: a name that is misspelt hides a lesion.

    Raises
    ------
    AnnotationError
        When not one row of a table belongs to a case; a few that do not are warned of.
    """
    known: dict[tuple[Path, tuple[str, ...]], set[str]] = defaultdict(set)
    for case in cases:
        for path, columns in _tables(case):
            known[path, columns].add(case.case_id)
    for (path, columns), names in known.items():
        rows = annotation_rows(path, columns)
        unknown = sorted(set(rows) - names)
        if unknown and len(unknown) == len(rows):
            raise AnnotationError(f"{path}: none of its rows belongs to a case; the first is of case '{unknown[0]}'")
        if unknown:
            logger.warning("%s: rows of %d case(s) that are not here, the first '%s'", path, len(unknown), unknown[0])


def is_ignored(row: Row) -> bool:
    """Whether a row asks that marks on its lesion count as neither hit nor false positive."""
    return row.get("ignore", "").lower() in ("1", "true", "yes")


def reader_of(case: Case, row: Row) -> str:
    """Who drew a row."""
    return row.get("reader", "") or case.reader


def n_readers(case: Case, rows: Sequence[Row]) -> int:
    """How many readers looked at a case: those its rows name, and the manifest's, who may have found nothing."""
    named = {row["reader"] for row in rows if row.get("reader")}
    return len(named | set(filter(None, case.reader.split(BETWEEN_READERS)))) if named else 1
