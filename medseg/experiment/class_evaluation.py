"""Figures of each class of a classifier that gives several labels an image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from medseg.evaluation.case_level import case_level
from medseg.evaluation.report import evidence_of_tables
from medseg.evaluation.settings import EvaluationSettings
from medseg.files import read_csv
from medseg.inference.prediction_folder import CLASS_SCORES

__all__ = ["class_figures"]


def class_figures(
    folder: Path,
    classes: Sequence[str],
    cases: Sequence[dict[str, Any]],
    labels: Sequence[np.ndarray],
    settings: EvaluationSettings,
) -> dict[str, dict[str, Any]]:
    """Case-level figures of each class, over the cases of which it is known whether they show it.

    Parameters
    ----------
    folder : Path
        The prediction folder, which holds the scores of the classes.
    cases : sequence of dict
        ``case_id, patient_id, status`` and what else the table of cases has.
    labels : sequence of ndarray of int, each shape (class,)
        1, 0, or -1 where it is not known, of each case.

    Returns
    -------
    dict of str to dict
        For each class what `case_level` gives, and ``n_positive, n_negative, n_unknown``.
    """
    _, rows = read_csv(folder / CLASS_SCORES, needs=("case_id", "class", "score"))
    scores = {(row["case_id"], row["class"]): row["score"] for row in rows}
    found: dict[str, dict[str, Any]] = {}
    for index, name in enumerate(classes):
        values = [int(label[index]) for label in labels]
        counts = {"n_positive": values.count(1), "n_negative": values.count(0), "n_unknown": values.count(-1)}
        known = [(case, value) for case, value in zip(cases, values) if value >= 0]
        if not known:
            found[name] = counts
            continue
        table = {key: [case[key] for case, _ in known] for key in ("case_id", "patient_id", "status")}
        table["label"] = [value for _, value in known]
        table["score"] = [scores.get((case["case_id"], name), "") for case, _ in known]
        found[name] = counts | case_level(evidence_of_tables(table, settings=settings), settings)
    return found
