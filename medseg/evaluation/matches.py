"""What matching found: the primitive results from which every lesion-level figure is computed."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import TableError
from medseg.files import read_csv, write_csv

__all__ = ["Matches", "read_matches"]

COLUMNS = ("kind", "case_id", "patient_id", "score", "weight", "diameter", "class", "rule", "positive")


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Result of matching; every lesion-level figure is a function of it.

    Parameters
    ----------
    case_id, patient_id : ndarray of str, shape (n_cases,)
        All cases, also those without marks and lesions.
    lesion_case : ndarray of int, shape (n_lesions,)
        Case of each lesion that counts (ignored lesions are left out), as its place in `case_id`.
    lesion_score : ndarray of float, shape (n_lesions,)
        Score of the mark that counts for it, minus infinity where it is unmarked.
    lesion_weight : ndarray of float, shape (n_lesions,)
        Weights within a case, summing to 1.
    lesion_diameter : ndarray of float, shape (n_lesions,)
        In the unit of the table.
    lesion_class : ndarray of str, shape (n_lesions,)
    false_case, false_score, false_class : ndarray, shape (n_false,)
        Marks that are false positives.
    neither_case, neither_score, neither_class : ndarray, shape (n_neither,)
        Marks that count as neither: further hits of a lesion, hits of ignored lesions.
    rule : str
        How they were matched.
    positive : ndarray of bool, shape (n_cases,)
        Whether each case has a lesion that counts, also where it was left out by `with_lesions`: such a case is not
        lesion-free.
    """

    case_id: np.ndarray
    patient_id: np.ndarray
    lesion_case: np.ndarray
    lesion_score: np.ndarray
    lesion_weight: np.ndarray
    lesion_diameter: np.ndarray
    lesion_class: np.ndarray
    false_case: np.ndarray
    false_score: np.ndarray
    false_class: np.ndarray
    neither_case: np.ndarray
    neither_score: np.ndarray
    neither_class: np.ndarray
    rule: str
    positive: np.ndarray

    def __repr__(self) -> str:
        found = int(np.isfinite(self.lesion_score).sum())
        return (
            f"Matches({self.n_cases} cases, {self.n_lesions} lesions, {found} found, {len(self.false_score)} false "
            f"positives, {self.n_neither} neither, rule '{self.rule}')"
        )

    @property
    def n_cases(self) -> int:
        """All cases."""
        return len(self.case_id)

    @property
    def n_lesions(self) -> int:
        """Lesions that count."""
        return len(self.lesion_case)

    @property
    def n_neither(self) -> int:
        """Marks that are neither hit nor false positive."""
        return len(self.neither_score)

    @property
    def patient(self) -> np.ndarray:
        """Number of each case's patient, from 0, shape (n_cases,)."""
        return np.unique(self.patient_id, return_inverse=True)[1].reshape(-1)

    @property
    def highest_false(self) -> np.ndarray:
        """Score of each case's highest false positive, minus infinity without one, shape (n_cases,)."""
        highest = np.full(self.n_cases, -np.inf)
        np.maximum.at(highest, self.false_case, self.false_score)
        return highest

    @property
    def highest_true(self) -> np.ndarray:
        """Score of each case's highest mark on a lesion, minus infinity without one, shape (n_cases,)."""
        highest = np.full(self.n_cases, -np.inf)
        np.maximum.at(highest, self.lesion_case, self.lesion_score)
        return highest

    def of_cases(self, keep: np.ndarray) -> "Matches":
        """Only some cases.

        Parameters
        ----------
        keep : ndarray of bool, shape (n_cases,)
        """
        place = np.cumsum(keep) - 1
        parts: dict[str, Any] = {name: getattr(self, name)[keep] for name in ("case_id", "patient_id", "positive")}
        parts["rule"] = self.rule
        for kind in ("lesion", "false", "neither"):
            case = getattr(self, f"{kind}_case")
            own = keep[case]
            for name in self.__slots__:
                if name.startswith(f"{kind}_"):
                    parts[name] = getattr(self, name)[own]
            parts[f"{kind}_case"] = place[case[own]]
        return Matches(**parts)

    def reordered(self, order: np.ndarray) -> "Matches":
        """The cases in another order, and the lesions and marks by case.

        Parameters
        ----------
        order : ndarray of int, shape (n_cases,)
            Place of each case in the new order.
        """
        place = np.empty(len(order), int)
        place[order] = np.arange(len(order))
        parts: dict[str, Any] = {name: getattr(self, name)[order] for name in ("case_id", "patient_id", "positive")}
        for kind in ("lesion", "false", "neither"):
            case = place[getattr(self, f"{kind}_case")]
            by_case = np.argsort(case, kind="stable")
            parts |= {name: getattr(self, name)[by_case] for name in self.__slots__ if name.startswith(f"{kind}_")}
            parts[f"{kind}_case"] = case[by_case]
        return replace(self, **parts)

    def with_lesions(self, keep: np.ndarray) -> "Matches":
        """Only some lesions, for instance those of a size; false positives and cases stay as they are.

        Parameters
        ----------
        keep : ndarray of bool, shape (n_lesions,)
        """
        names = ("lesion_case", "lesion_score", "lesion_weight", "lesion_diameter", "lesion_class")
        kept = {name: getattr(self, name)[keep] for name in names}
        case, weight = kept["lesion_case"], kept["lesion_weight"]
        total = np.bincount(case, weight, self.n_cases)[case]
        number = np.bincount(case, minlength=self.n_cases)[case]
        kept["lesion_weight"] = np.where(total > 0, weight, 1) / np.where(total > 0, total, number)
        return replace(self, **kept)

    def of_class(self, name: str) -> "Matches":
        """Lesions and false positives of one class."""
        false, neither = self.false_class == name, self.neither_class == name
        only = self.with_lesions(self.lesion_class == name)
        return replace(
            only,
            false_case=self.false_case[false], false_score=self.false_score[false],
            false_class=self.false_class[false], neither_case=self.neither_case[neither],
            neither_score=self.neither_score[neither], neither_class=self.neither_class[neither],
        )  # fmt: skip

    def with_scores(self, lesion: np.ndarray, false: np.ndarray) -> "Matches":
        """The same matches with other scores, for instance ranks."""
        return replace(self, lesion_score=lesion, false_score=false)

    def followed_by(self, other: "Matches") -> "Matches":
        """The cases of both, those of `other` after these."""
        joined: dict[str, Any] = {"rule": self.rule}
        for name in self.__slots__:
            if name != "rule":
                second = getattr(other, name)
                shift = self.n_cases if name.endswith("_case") else None
                joined[name] = np.concatenate([getattr(self, name), second if shift is None else second + shift])
        return Matches(**joined)

    def write(self, path: str | Path) -> None:
        """Write as a table, from which `read_matches` makes the same again.

        Columns ``kind, case_id, patient_id, score, weight, diameter, class, rule, positive``: one row of kind ``case``
        a case, then one for each ``lesion`` (score empty: unmarked), each ``false`` mark and each mark that is
        ``neither``.
        """
        rows: list[dict[str, Any]] = [
            {
                "kind": "case", "case_id": case_id, "patient_id": patient, "rule": self.rule,
                "positive": int(positive),
            }
            for case_id, patient, positive in zip(self.case_id, self.patient_id, self.positive)
        ]  # fmt: skip
        for number, case in enumerate(self.lesion_case):
            score = self.lesion_score[number]
            rows.append(
                {
                    "kind": "lesion", "case_id": self.case_id[case],
                    "score": float(score) if score > -np.inf else None, "weight": float(self.lesion_weight[number]),
                    "diameter": float(self.lesion_diameter[number]), "class": self.lesion_class[number],
                }
            )  # fmt: skip
        for kind in ("false", "neither"):
            columns = (getattr(self, f"{kind}_{name}") for name in ("case", "score", "class"))
            rows += [
                {"kind": kind, "case_id": self.case_id[case], "score": float(score), "class": name}
                for case, score, name in zip(*columns)
            ]
        write_csv(path, COLUMNS, rows)


def read_matches(path: str | Path) -> Matches:
    """Read what `Matches.write` wrote.

    Raises
    ------
    TableError
        For a table that is none, naming the row.
    """
    _, rows = read_csv(path, needs=COLUMNS)
    kinds: dict[str, list[dict[str, str]]] = {"case": [], "lesion": [], "false": [], "neither": []}
    for number, row in enumerate(rows, start=2):
        if row["kind"] not in kinds:
            raise TableError(f"{path}: line {number}: kind '{row['kind']}' is none of {', '.join(kinds)}")
        kinds[row["kind"]].append(row)
    if not kinds["case"]:
        raise TableError(f"{path}: lists no case")
    case_id = np.array([row["case_id"] for row in kinds["case"]])
    place = {name: number for number, name in enumerate(case_id)}

    def cases(kind: str) -> np.ndarray:
        try:
            return np.array([place[row["case_id"]] for row in kinds[kind]], dtype=np.int64)
        except KeyError as error:
            raise TableError(f"{path}: case {error.args[0]} of a {kind} row has no case row") from None

    def numbers(kind: str, column: str, empty: float) -> np.ndarray:
        try:
            return np.array([float(row[column]) if row[column] else empty for row in kinds[kind]], dtype=np.float64)
        except ValueError as error:
            raise TableError(f"{path}: a {column} of a {kind} row is no number ({error})") from None

    def classes(kind: str) -> np.ndarray:
        return np.array([row["class"] for row in kinds[kind]], dtype=np.str_)

    return Matches(
        case_id=case_id, patient_id=np.array([row["patient_id"] for row in kinds["case"]]),
        lesion_case=cases("lesion"), lesion_score=numbers("lesion", "score", -np.inf),
        lesion_weight=numbers("lesion", "weight", np.nan), lesion_diameter=numbers("lesion", "diameter", np.nan),
        lesion_class=classes("lesion"), false_case=cases("false"), false_score=numbers("false", "score", np.nan),
        false_class=classes("false"), neither_case=cases("neither"),
        neither_score=numbers("neither", "score", np.nan), neither_class=classes("neither"),
        rule=kinds["case"][0]["rule"],
        positive=np.array([row["positive"] == "1" for row in kinds["case"]]),
    )  # fmt: skip
