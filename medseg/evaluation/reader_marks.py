"""Marks of several readers in several modalities, each matched apart."""

from collections.abc import Sequence
from typing import Any

from medseg.errors import TableError
from medseg.evaluation.matches import Matches
from medseg.evaluation.matching import match_marks
from medseg.evaluation.tables import Source, table_columns

__all__ = ["marks_of_readers", "match_readers"]

Pair = tuple[str, str]  # modality, reader


def match_readers(
    cases: Source,
    marks: Source,
    lesions: Source | None,
    *,
    modalities: Sequence[str] | None = None,
    readers: Sequence[str] | None = None,
    **options: Any,
) -> dict[Pair, Matches]:
    """Match the marks of each modality and reader (columns ``modality`` and ``reader``) apart.

    Parameters
    ----------
    cases, marks, lesions : path or mapping of columns
    modalities, readers : sequence of str, optional
        Those of the study, in the order of the result; by default those of the table.
    **options
        As in `match_marks`.

    Returns
    -------
    dict of (modality, reader) to Matches
        A reader without any mark is in it only where both modalities and readers are given.

    Raises
    ------
    TableError
        As `match_marks`, naming reader and modality, and for marks of one that is not listed.
    """
    found = {}
    for (modality, reader), own in marks_of_readers(marks, modalities=modalities, readers=readers).items():
        try:
            found[modality, reader] = match_marks(cases, own, lesions, **options)
        except TableError as error:
            raise TableError(f"reader {reader}, modality {modality}: {error}") from error
    return found


def marks_of_readers(
    source: Source, *, modalities: Sequence[str] | None = None, readers: Sequence[str] | None = None
) -> dict[Pair, dict[str, list[Any]]]:
    """Rows of a table of marks for each modality and reader, as `match_readers` takes them apart."""
    table = table_columns(source, "marks", ["case_id"])
    n = len(table["case_id"])
    found = [[str(value) for value in table.get(column, [""] * n)] for column in ("modality", "reader")]
    names: list[tuple[str, ...]] = []
    for column, values, given in zip(("modality", "reader"), found, (modalities, readers)):
        chosen = tuple(dict.fromkeys(values)) if given is None else tuple(str(value) for value in given)
        for value in values:
            if value not in chosen:
                raise TableError(f"marks: marks of {column} {value}, but those given are {', '.join(chosen)}")
        if len(set(chosen)) < len(chosen) or not chosen:
            raise TableError(f"marks: each {column} must be given once, found {', '.join(chosen) or 'none'}")
        names.append(chosen)
    rows: dict[Pair, list[int]] = {(modality, reader): [] for modality in names[0] for reader in names[1]}
    for row, pair in enumerate(zip(*found)):
        rows[pair].append(row)
    if modalities is None or readers is None:
        rows = {pair: where for pair, where in rows.items() if where}
    return {pair: {key: [values[i] for i in where] for key, values in table.items()} for pair, where in rows.items()}
