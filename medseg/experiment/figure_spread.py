"""How figures differ between runs that should say the same: seeds, folds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import OutputError
from medseg.experiment.summary import named_figures
from medseg.files import read_json

__all__ = ["SPREAD_COLUMNS", "spread", "spread_lines"]

SPREAD_COLUMNS = ("level", "figure", "n", "mean", "sd", "min", "max")


def spread(evaluations: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Mean and standard deviation of every figure over evaluations, for instance of runs that differ in their seed.

    Parameters
    ----------
    evaluations : sequence of path
        Folders made by ``medseg evaluate``.

    Returns
    -------
    list of dict
        ``level, figure, n, mean, sd, min, max`` of each figure that all have; `n` counts those in which it is defined,
        `sd` (of n - 1) is None below two.

    Raises
    ------
    OutputError
        With fewer than two evaluations, or when a folder holds none.
    """
    if len(evaluations) < 2:
        raise OutputError(f"a spread needs at least two evaluations, found {len(evaluations)}")
    found = []
    for folder in map(Path, evaluations):
        content = read_json(folder / "evaluation.json", needs=("counts",))
        found.append({(level, name): figure["value"] for level, name, figure in named_figures(content)})
    rows = []
    for level, name in found[0]:
        if any((level, name) not in one for one in found):  # such as those at an operating point of its own
            continue
        values = np.array([one[level, name] for one in found if one[level, name] is not None], float)
        if not len(values):
            continue
        rows.append(
            {
                "level": level, "figure": name, "n": len(values), "mean": float(values.mean()),
                "sd": float(values.std(ddof=1)) if len(values) > 1 else None, "min": float(values.min()),
                "max": float(values.max()),
            }
        )  # fmt: skip
    return rows


def spread_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines for a terminal."""
    return [
        f"{row['figure']:<52} {row['mean']:.3f}" + ("" if row["sd"] is None else f" SD {row['sd']:.3f}")
        + f" ({row['min']:.3f} to {row['max']:.3f}, n {row['n']})"
        for row in rows
    ]  # fmt: skip
