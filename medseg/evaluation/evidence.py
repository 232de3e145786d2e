"""What an evaluation rests on: the cases with labels and scores, the matches, the masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from medseg.errors import TableError
from medseg.evaluation.lesionwise import LesionwiseF1
from medseg.evaluation.masks import MaskFigures
from medseg.evaluation.matches import Matches
from medseg.evaluation.pixel import PixelCounts
from medseg.evaluation.tables import Columns

__all__ = ["Evidence", "case_labels", "case_scores", "failed_cases", "localised_cases", "placed_matches"]


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Everything known of the cases, which can be cut to some of them.

    Parameters
    ----------
    table : dict of str to ndarray, each shape (n_cases,)
        The checked table of cases.
    label : ndarray of float, shape (n_cases,)
        1, 0, another class, or NaN where unknown.
    score : ndarray of float, shape (n_cases,)
        NaN where unknown.
    matches : Matches, optional
    masks : dict of str to (MaskFigures, LesionwiseF1)
        Figures of the predicted mask of each case that has a reference mask.
    pixels : dict of str to PixelCounts
    n_out_of_scope : int
        Cases that were left out because the model is not for them.
    """

    table: Columns
    label: np.ndarray
    score: np.ndarray
    matches: Matches | None
    masks: Mapping[str, tuple[MaskFigures, LesionwiseF1]] = field(default_factory=dict)
    pixels: Mapping[str, PixelCounts] = field(default_factory=dict)
    n_out_of_scope: int = 0

    @property
    def patient(self) -> np.ndarray:
        """Patient of each case."""
        return self.table["patient_id"]

    @property
    def strata(self) -> np.ndarray:
        """Whether the patient of each case has a positive case: patients are drawn within these, shape (n_cases,)."""
        return np.isin(self.patient, self.patient[self.label > 0]).astype(int)

    @property
    def placed(self) -> Matches | None:
        """Matches of the cases whose lesions have a place; None without any."""
        if self.matches is None or not self.table["localised"].any():
            return None
        return self.matches.of_cases(self.table["localised"])

    def in_scope(self) -> "Evidence":
        """Leave out the cases that the model is not for: it says nothing of them, neither right nor wrong.

        Raises
        ------
        TableError
            When no case is left.
        """
        outside = self.table["status"] == "out_of_scope"
        if not outside.any():
            return self
        if outside.all():
            raise TableError("cases: all are out of scope of the model, so that there is nothing to evaluate")
        return replace(self.of_cases(~outside), n_out_of_scope=int(outside.sum()))

    def of_cases(self, keep: np.ndarray) -> "Evidence":
        """Only some cases, `keep` of shape (n_cases,)."""
        names = set(self.table["case_id"][keep].tolist())
        return replace(
            self,
            table={name: values[keep] for name, values in self.table.items()},
            label=self.label[keep],
            score=self.score[keep],
            matches=None if self.matches is None else self.matches.of_cases(keep),
            masks={name: value for name, value in self.masks.items() if name in names},
            pixels={name: value for name, value in self.pixels.items() if name in names},
        )


def case_labels(table: Columns, matches: Matches | None) -> np.ndarray:
    """1, 0 or NaN for each case; where the label is missing, whether it has a lesion.

    Raises
    ------
    TableError
        For labels other than 0 and 1, unless predicted classes are compared with them.
    """
    label = table["label"].copy()
    known = ~np.isnan(label)
    classes = np.isfinite(table["predicted_label"]).any()
    odd = known & ((label < 0) | (label != np.floor(label)) if classes else (label != 0) & (label != 1))
    if odd.any():
        where = int(np.flatnonzero(odd)[0])
        what = "is no class (0, 1, 2 …)" if classes else "is neither 0 nor 1"
        raise TableError(f"cases: label {label[where]:g} of case {table['case_id'][where]} {what}")
    unplaced = ~table["localised"]
    if (unplaced & (label == 0)).any():
        name = table["case_id"][int(np.flatnonzero(unplaced & (label == 0))[0])]
        raise TableError(f"case {name} has the label 0 and localised 0, which says that it has lesions")
    label[unplaced & np.isnan(label)] = 1
    if matches is not None:
        against = matches.positive & (label == 0)
        if against.any():
            name = table["case_id"][int(np.flatnonzero(against)[0])]
            raise TableError(f"case {name} has the label 0 and a lesion")
        missing = np.isnan(label) & table["localised"]
        label[missing] = matches.positive[missing]
    return label


def localised_cases(table: Columns, matches: Matches) -> np.ndarray:
    """Cases that count for the lesion level: not those known to be positive, but not where, shape (n_cases,)."""
    return table["localised"] & ~((table["label"] == 1) & ~matches.positive)


def placed_matches(table: Columns, matches: Matches) -> Matches:
    """Matches of the cases that count for the lesion level.

    Raises
    ------
    TableError
        For labels that contradict the lesions.
    """
    case_labels(table, matches)
    return matches.of_cases(localised_cases(table, matches))


def failed_cases(table: Columns) -> np.ndarray:
    """Whether each case has no result: it keeps its lesions, has no marks and gets the lowest score."""
    return ~np.isin(table["status"], ("", "ok"))


def case_scores(table: Columns, marks: Columns | None) -> np.ndarray:
    """Score of each case, that of its highest mark where none is given; failed cases get the lowest."""
    score = table["score"].copy()
    if marks is not None and np.isnan(score).all():
        lowest = marks["score"].min(initial=np.inf)
        score = np.full(len(score), 0.0 if lowest > 0 else lowest - 1)  # without a mark: below every mark
        np.maximum.at(score, marks["case"], marks["score"])
    failed = failed_cases(table)
    if failed.any():
        known = score[~failed & ~np.isnan(score)]
        lowest = known.min() if len(known) else 0.0
        score[failed] = min(lowest - 1, np.nextafter(lowest, -np.inf))  # 1e16 - 1 is 1e16
    return score
