"""Validation by the detector's own metric, and the thresholds a model is shipped with."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from medseg.data.cache import CachedCase
from medseg.data.preprocess import Prepared
from medseg.data.store import CaseStore
from medseg.detectors.candidates import Candidate
from medseg.detectors.settings import ClassificationSettings, SegmentationSettings
from medseg.evaluation import froc, match_pairs, partial_auc_weighted, roc_auc
from medseg.inference.model import Model
from medseg.lesion import Finding
from medseg.training.class_validation import class_aucs, known_labels, weak_hits
from medseg.training.operating_points import threshold_at

__all__ = ["MASK_THRESHOLDS", "ValidatedCase", "Validation", "calibrate", "measure_case", "measured", "validate"]

MASK_THRESHOLDS = tuple(np.round(np.arange(0.1, 0.95, 0.05), 2).tolist())


@dataclass(slots=True)
class Validation:
    """What validation measured.

    Parameters
    ----------
    value : float
        The metric by which checkpoints are chosen; NaN where it is undefined.
    figures : dict of str to float
        Everything measured, for the log.
    """

    metric: str
    value: float
    figures: dict[str, float]
    rows: list["ValidatedCase"] = field(default_factory=list)


@dataclass(slots=True)
class ValidatedCase:
    """What validation measured of one case."""

    name: str
    positive: bool
    score: float
    correct: bool | None
    findings: list[Finding]
    hits: list[tuple[int, int]]  # (finding, lesion number from 0)
    n_lesions: int
    dice: np.ndarray | None = None  # at each of MASK_THRESHOLDS
    placed: bool = True  # it is known where the lesions are
    candidates: list[Candidate] = field(default_factory=list)
    neither: set[int] = field(default_factory=set)  # findings that are neither hits nor false
    labels: np.ndarray | None = None  # of each class
    probabilities: np.ndarray | None = None


def validate(model: Model, store: CaseStore) -> Validation:
    """Predict every case of `store` on its working grid and measure."""
    return measured(model, [measure_case(model, store[case.case_id]) for case in store.cases])


def measured(model: Model, rows: list["ValidatedCase"]) -> Validation:
    """The figures of measured cases."""
    figures: dict[str, float] = {}
    positive = np.array([row.positive for row in rows])
    score = np.array([row.score for row in rows])
    if isinstance(model.pipeline.detector, ClassificationSettings):
        figures |= _of_classes(model.pipeline.classes, rows)
    if "mean_auc" not in figures and len(model.pipeline.classes) <= 2 and positive.any() and not positive.all():
        figures["auc"] = float(roc_auc(positive, score))
        figures["partial_auc"] = float(partial_auc_weighted(positive, score, np.ones((1, len(score))))[0])
    if isinstance(model.pipeline.detector, SegmentationSettings):
        dice = _mean_dice(rows)  # at the threshold that `calibrate` would choose
        figures["dice"] = float("nan") if dice is None else float(dice.max())
    if model.makes_map:
        figures["froc_partial_area"] = _froc_area([row for row in rows if row.placed])
    metric = model.detector.validation_metric
    return Validation(metric, figures.get(metric, float("nan")), figures, rows)


def _of_classes(names: tuple[str, ...], rows: list[ValidatedCase]) -> dict[str, float]:
    if all(row.correct is None for row in rows):  # several labels an image
        labels, scores = (np.array([getattr(row, name) for row in rows]) for name in ("labels", "probabilities"))
        return class_aucs(names, labels, scores)
    return {"accuracy": float(np.mean([bool(row.correct) for row in rows]))}


def measure_case(
    model: Model, case: CachedCase, look: Callable[[CachedCase, np.ndarray], None] = lambda case, maps: None
) -> ValidatedCase:
    """Predict a case on its working grid and measure; `look` is shown the maps, shape (map, z, y, x)."""
    prepared = Prepared(case.image, case.grid, case.source)
    answer = model.classify(prepared) if isinstance(model.pipeline.detector, ClassificationSettings) else None
    maps = model.maps(prepared) if answer is None else answer.maps
    if maps is None:
        row = ValidatedCase(case.case_id, False, 0.0, None, [], [], 0)
    else:
        look(case, maps)
        row = _localised(model, case, maps)
    if answer is None:
        return row
    said = model.said(answer)
    row.labels = known_labels(case, len(answer.probabilities), multi_label=model.detector.settings.multi_label)  # type: ignore[attr-defined]
    row.positive, row.score, row.probabilities = case.has_lesion, said["score"], answer.probabilities
    row.correct = said["class_index"] == case.label if "class_index" in said else None
    if row.n_lesions == 0:
        row.hits, row.neither, row.n_lesions = weak_hits(row.candidates, row.labels)
        row.placed = row.n_lesions == 0 and not row.neither
    return row


def _localised(model: Model, case: CachedCase, maps: np.ndarray) -> ValidatedCase:
    instances = np.asarray(case.instances)
    numbers = np.flatnonzero(np.bincount(instances.ravel())[1:]) + 1  # those that the working grid shows
    n_lesions, place = len(numbers), {int(number): place for place, number in enumerate(numbers)}
    settings = model.pipeline.inference
    candidates = model.detector.decode(maps, min_score=settings.min_score, max_candidates=settings.max_candidates)
    by_class, hits = model.pipeline.evaluation.class_aware, []
    limit = np.array(instances.shape) - 1
    for number, candidate in enumerate(candidates):
        zyx = np.clip(np.round(candidate.centre[::-1]).astype(int), 0, limit)
        lesion = int(instances[tuple(zyx)])
        if lesion and not (by_class and case.class_of[lesion] != candidate.class_index):
            hits.append((number, place[lesion]))
    dice = None
    if isinstance(model.pipeline.detector, SegmentationSettings) and n_lesions:
        if by_class:
            present = np.unique(case.class_of[numbers]).tolist()
            dice = np.mean([_dice(maps[c], (instances > 0) & (case.class_of[instances] == c)) for c in present], axis=0)
        else:
            dice = _dice(maps[: len(model.pipeline.classes)].max(axis=0), instances > 0)
    findings = [
        Finding(*candidate.centre, case.grid.unit, candidate.voxels, 0.0, candidate.score, "", (0.0,) * 6)  # type: ignore[arg-type]
        for candidate in candidates
    ]
    score = candidates[0].score if candidates else 0.0
    return ValidatedCase(
        case.case_id, n_lesions > 0, score, None, findings, hits, n_lesions, dice, candidates=candidates
    )


def _dice(probability: np.ndarray, reference: np.ndarray) -> np.ndarray:
    bins = np.digitize(probability, MASK_THRESHOLDS)  # bin i: at or above threshold i - 1
    counts = np.bincount(bins.ravel(), minlength=len(MASK_THRESHOLDS) + 1)
    inside = np.bincount(bins[reference], minlength=len(MASK_THRESHOLDS) + 1)
    predicted, overlap = counts[::-1].cumsum()[::-1][1:], inside[::-1].cumsum()[::-1][1:]
    return 2 * overlap / (predicted + reference.sum())


def _mean_dice(rows: list[ValidatedCase]) -> np.ndarray | None:
    """Mean over the cases with a lesion at each of `MASK_THRESHOLDS`; None without such a case."""
    dice = [row.dice for row in rows if row.dice is not None]
    return np.mean(dice, axis=0) if dice else None


def _matches(rows: list[ValidatedCase]):  # type: ignore[no-untyped-def]
    cases = {"case_id": [row.name for row in rows]}
    marks: dict[str, list] = {"case_id": [], "x": [], "y": [], "z": [], "score": []}
    lesions: dict[str, list] = {"case_id": [], "x": [], "y": [], "z": [], "diameter_mm": []}
    pairs = []
    for row in rows:
        first_mark, first_lesion = len(marks["score"]), len(lesions["x"])
        for finding in row.findings:
            for key, value in zip(("case_id", "x", "y", "z"), (row.name, finding.x, finding.y, finding.z)):
                marks[key].append(value)
            marks["score"].append(finding.score)
        for _ in range(row.n_lesions):
            for key in lesions:
                lesions[key].append(row.name if key == "case_id" else 0.0)
        pairs += [(first_mark + mark, first_lesion + lesion) for mark, lesion in row.hits]
    return match_pairs(cases, marks, lesions, pairs)


def _froc_area(rows: list[ValidatedCase]) -> float:
    if not any(row.n_lesions for row in rows):
        return float("nan")
    curve = froc(_matches(rows))
    return float(np.mean([curve.sensitivity_at(rate) for rate in (0.125, 0.25, 0.5, 1, 2, 4, 8)]))


def calibrate(model: Model, validation: Validation) -> dict[str, float]:
    """Choose the operating point and the mask threshold on validation.

    The operating point has the highest sensitivity that keeps false positives within
    ``inference.operating_point_fp`` a case (`threshold_at`); 0.5 for a classifier without activation maps. Where it is
    known what an image shows and not where, see `weak_hits`.
    """
    rows = validation.rows
    chosen: dict[str, float] = {}
    if isinstance(model.pipeline.detector, SegmentationSettings):
        dice = _mean_dice(rows)
        if dice is not None:
            chosen["mask_threshold"] = float(MASK_THRESHOLDS[int(dice.argmax())])
    if not model.makes_map:
        chosen["operating_point"] = 0.5
        return chosen
    hit = {(id(row), mark) for row in rows for mark, _ in row.hits}
    false = [
        f.score
        for row in rows
        for number, f in enumerate(row.findings)
        if (id(row), number) not in hit and number not in row.neither
    ]
    settings = model.pipeline.inference
    allowed = int(settings.operating_point_fp * len(rows))
    chosen["operating_point"] = threshold_at(
        sorted(false, reverse=True), _lesion_scores(rows), allowed=allowed, floor=settings.min_score
    )
    return chosen


def _lesion_scores(rows: list[ValidatedCase]) -> list[float]:
    """Score of the best candidate on each lesion that has one."""
    best: dict[tuple[int, int], float] = {}
    for number, row in enumerate(rows):
        for mark, lesion in row.hits:
            best[number, lesion] = max(best.get((number, lesion), 0.0), row.findings[mark].score)
    return list(best.values())
