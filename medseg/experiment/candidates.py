"""Candidates of a detector as training data: which of them lie on a lesion, and which lesions have none."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.config.load import evaluation_settings
from medseg.data.manifest import Manifest
from medseg.errors import ConfigError
from medseg.evaluation.hits import check_rule, hits_of
from medseg.evaluation.settings import EvaluationSettings
from medseg.evaluation.tables import cases_table, lesions_table, marks_table
from medseg.experiment.prediction_tables import Tables, collect, matching_tables, read_predictions

__all__ = ["IGNORED", "NEGATIVE", "POSITIVE", "Candidate", "CandidateSet", "read_candidates"]

logger = logging.getLogger(__name__)
POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that a first stage found, or a lesion that it did not find.

    Parameters
    ----------
    x, y, z : float
        LPS mm, or pixels of the original image with z = 0 (as the grid of the image).
    score : float
        Of the first stage; NaN for an added lesion.
    outcome : int
        `POSITIVE`: on a lesion that counts; `NEGATIVE`: on none; `IGNORED`: on ignored lesions alone.
    lesion : int
        Number of a lesion that it lies on, in the table of lesions; -1 for none.
    added : bool
        A lesion without a candidate: for training only, no candidate of any evaluation.
    """

    case_id: str
    patient_id: str
    x: float
    y: float
    z: float
    score: float
    outcome: int
    lesion: int = -1
    added: bool = False


@dataclass(frozen=True, slots=True)
class CandidateSet:
    """The candidates of the cases of a prediction folder whose reference says where lesions are.

    Parameters
    ----------
    candidates : tuple of Candidate
        Those of the folder in its order, then the lesions that were added.
    case_ids : tuple of str
        All such cases, also those without any candidate.
    hits : tuple of (int, int)
        (number of the candidate, number of the lesion that counts): every pair of them.
    rule : str
        By which they were matched.
    """

    candidates: tuple[Candidate, ...]
    case_ids: tuple[str, ...]
    hits: tuple[tuple[int, int], ...]
    rule: str

    def of_cases(self, names: Sequence[str] | set[str]) -> tuple[Candidate, ...]:
        """Return the candidates and added lesions of some cases."""
        wanted = set(names)
        return tuple(candidate for candidate in self.candidates if candidate.case_id in wanted)

    def best_scores(self, scores: np.ndarray, names: Sequence[str] | set[str]) -> tuple[np.ndarray, np.ndarray]:
        """Highest score on each lesion of some cases that has a candidate, and scores of all negatives.

        Parameters
        ----------
        scores : ndarray, shape (n_candidates,)
            In the order of `candidates`.
        """
        wanted = set(names)
        best: dict[int, float] = {}
        for number, lesion in self.hits:
            if self.candidates[number].case_id in wanted:
                best[lesion] = max(best.get(lesion, -np.inf), float(scores[number]))
        false = [
            float(score)
            for candidate, score in zip(self.candidates, scores)
            if candidate.outcome == NEGATIVE and candidate.case_id in wanted
        ]
        return np.array(list(best.values())), np.array(false)


def read_candidates(
    predictions: str | Path, manifest: Manifest, *, settings: EvaluationSettings | None = None
) -> CandidateSet:
    """Read every finding of a prediction folder and match it with the reference as `medseg evaluate` does.

    Further marks on a lesion, which count as neither in an evaluation, lie on a lesion all the same: they are
    positive. Unlabelled cases, and cases of which nobody knows where the lesions are, have no candidates here.

    Parameters
    ----------
    settings : EvaluationSettings, optional
        Those that the folder names, unless given.

    Raises
    ------
    ConfigError
        When the model was trained on a case of the folder or on its patient, unless the folder says that it is
        out of fold.
    MedsegError
        When the folder cannot be read.
    """
    folder = Path(predictions)
    about, rows, findings = read_predictions(folder)
    _refuse_training_cases(folder, about, rows)
    settings = settings or evaluation_settings((), about["evaluation"])
    tables, failures, _ = collect(folder, manifest, about, rows, findings, settings, with_maps=False)
    for reason in failures.values():
        logger.warning("left out: %s", reason)
    return _matched(tables, settings)


def _refuse_training_cases(folder: Path, about: Mapping[str, Any], rows: list[dict[str, str]]) -> None:
    if about.get("out_of_fold") is True:
        return
    count = Counter(row.get("training_case", "") for row in rows)
    if count["1"]:
        raise ConfigError(
            f"{folder}: the model was trained on {count['1']} of the {len(rows)} cases or on their patients, so their "
            "candidates are not like those of new images; give out-of-fold predictions (`medseg train -f all`), or "
            "predictions of cases that the model has not seen"
        )
    if count[""]:
        logger.warning("%d of %d case(s): it is not known whether the model was trained on them", count[""], len(rows))


def _matched(tables: Tables, settings: EvaluationSettings) -> CandidateSet:
    to_match = matching_tables(tables, settings.rule)
    rule, pairs = to_match["rule"], to_match["pairs"]
    check_rule(rule)
    cases = cases_table({name: [row[name] for row in tables.cases] for name in ("case_id", "patient_id", "status")})
    marks, lesions = (make(to_match[name], cases["case_id"]) for name, make in _TABLES.items())
    if pairs is None:
        mark, lesion, _ = hits_of(cases, marks, lesions, rule, class_aware=settings.class_aware)
    else:
        mark, lesion = np.array(pairs, np.int64).reshape(-1, 2).T
        if settings.class_aware:
            same = marks["class"][mark] == lesions["class"][lesion]
            mark, lesion = mark[same], lesion[same]
    counts = ~lesions["ignore"][lesion]
    outcome = np.full(len(tables.marks), NEGATIVE)
    outcome[mark[~counts]] = IGNORED
    outcome[mark[counts]] = POSITIVE  # lesions that count match first
    on = np.full(len(tables.marks), -1)
    on[mark[counts]] = lesion[counts]
    found = [
        _of_mark(row, tables, int(cases_row), int(result), int(place))
        for row, cases_row, result, place in zip(tables.marks, marks["case"], outcome, on)
    ]
    missed = np.flatnonzero(~lesions["ignore"] & ~np.isin(np.arange(len(tables.lesions)), lesion[counts]))
    failed = {row["case_id"] for row in tables.cases if row["status"] != "ok"}  # their images may not be readable
    found += [
        _of_lesion(int(n), tables, int(lesions["case"][n]))
        for n in missed
        if tables.lesions[n]["case_id"] not in failed
    ]
    placed = tuple(row["case_id"] for row in tables.cases if row["localised"])
    hits = tuple((int(m), int(n)) for m, n in zip(mark[counts], lesion[counts]))
    return CandidateSet(tuple(found), placed, hits, rule)


_TABLES = {"marks": marks_table, "lesions": lesions_table}


def _of_mark(row: Mapping[str, Any], tables: Tables, case: int, outcome: int, lesion: int) -> Candidate:
    about = tables.cases[case]
    place = (float(row["x"]), float(row["y"]), float(row["z"]))
    return Candidate(about["case_id"], about["patient_id"], *place, float(row["score"]), outcome, lesion)


def _of_lesion(number: int, tables: Tables, case: int) -> Candidate:
    row, about = tables.lesions[number], tables.cases[case]
    return Candidate(
        about["case_id"], about["patient_id"], row["x"], row["y"], row["z"], float("nan"), POSITIVE,
        number, added=True,
    )  # fmt: skip
