"""A table of figures as CSV and as LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medseg.files import write_csv, write_text

__all__ = ["latex_table", "write_table"]

LONG = 45  # rows that fit a page
HEADS = {"p_value": "$p$", "p_holm": "$p$ (Holm)", "ci_method": "interval", "value_a": "A", "value_b": "B"}
SPECIAL = {
    "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def write_table(stem: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, title: str) -> None:
    """Write ``stem.csv`` with full precision and ``stem.tex`` for a paper."""
    write_csv(stem.with_suffix(".csv"), columns, rows)
    write_text(stem.with_suffix(".tex"), latex_table(columns, rows, title=title))


def latex_table(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, title: str) -> str:
    """A LaTeX table (package ``booktabs``; ``longtable`` from 46 rows on) with three decimals.

    Columns that are empty throughout are left out. A value with its bounds (columns ``ci_low`` and ``ci_high``) becomes
    one cell.

    Examples
    --------
    >>> row = {"figure": "AUC", "value": 0.81234, "ci_low": 0.7, "ci_high": 0.9}
    >>> "AUC & 0.812 (0.700 to 0.900)" in latex_table(["figure", "value", "ci_low", "ci_high"], [row], title="Figures")
    True
    """
    kept = [
        column
        for column in columns
        if column not in ("ci_low", "ci_high")
        and (column == "value" or any(row.get(column) not in (None, "") for row in rows))
    ]
    head = " & ".join(HEADS.get(column, _escaped(column.replace("_", " "))) for column in kept) + r" \\"
    body = [" & ".join(_cell(row, column) for column in kept) + r" \\" for row in rows]
    caption, layout = rf"\caption{{{_escaped(title)}}}", "l" * len(kept)
    if len(rows) > LONG:  # over several pages: package longtable
        start = [rf"\begin{{longtable}}{{{layout}}}", caption + r" \\", r"\toprule", head, r"\midrule", r"\endhead"]
        end = [r"\bottomrule", r"\end{longtable}", ""]
    else:
        start = [
            r"\begin{table}",
            r"\centering",
            caption,
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            head,
            r"\midrule",
        ]
        end = [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join([*start, *body, *end])


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if value is None or value == "":
        return "--"
    if not isinstance(value, float):
        return _escaped(" ".join(str(value).split()))
    if column.startswith("p_"):
        return "$<$0.001" if value < 0.001 else f"{value:.3f}"
    text = f"{value:.3f}" if abs(value) < 1000 else f"{value:.0f}"
    low, high = row.get("ci_low"), row.get("ci_high")
    if column in ("value", "difference") and low is not None and high is not None:
        text += f" ({low:.3f} to {high:.3f})" if abs(value) < 1000 else f" ({low:.0f} to {high:.0f})"
    return text


def _escaped(text: str) -> str:
    return "".join(SPECIAL.get(character, character) for character in text)
