"""Predicted cases that the model is not for: in no figure, and counted."""

from collections.abc import Sequence
from pathlib import Path

from medseg.errors import ManifestError

__all__ = ["OUT_OF_SCOPE", "count_out_of_scope", "in_scope"]

OUT_OF_SCOPE = "out_of_scope"


def count_out_of_scope(rows: Sequence[dict[str, str]]) -> int:
    """How many of the predicted cases have no result because the model is not for them."""
    return sum(row["status"] == OUT_OF_SCOPE for row in rows)


def in_scope(rows: Sequence[dict[str, str]], folder: Path) -> list[dict[str, str]]:
    """Rows of ``cases.csv`` without those cases: the model refused to say anything, which is neither right nor wrong.

    Raises
    ------
    ManifestError
        When none is left.
    """
    kept = [row for row in rows if row["status"] != OUT_OF_SCOPE]
    if rows and not kept:
        raise ManifestError(f"{folder}: no case can be evaluated: all {len(rows)} are out of the model's scope")
    return kept
