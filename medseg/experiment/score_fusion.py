"""Two models on the same cases as one: a detector that says where, another, such as a classifier, that says whether."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from medseg.data.manifest import Manifest, load_manifest
from medseg.detectors.fusion import Fusion, fit_fusion
from medseg.errors import ConfigError, OutputError
from medseg.experiment.candidates import IGNORED, POSITIVE, CandidateSet, read_candidates
from medseg.files import exclusive, read_json
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder, read_records
from medseg.training.operating_points import threshold_at

__all__ = ["fuse_predictions"]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two prediction folders of the same cases."""

    first: Path
    second: Path
    about: dict[str, Any]
    records: list[CaseRecord]
    others: dict[str, CaseRecord]

    @property
    def both(self) -> list[tuple[CaseRecord, CaseRecord]]:
        """The cases that both have predicted."""
        pairs = [(one, self.others[one.case_id]) for one in self.records]
        return [(a, b) for a, b in pairs if a.status == b.status == "ok"]


def fuse_predictions(
    first: str | Path, second: str | Path, data: str | Path, output: str | Path, *, fit: tuple[str | Path, str | Path]
) -> Path:
    """Fuse the scores of a detector with the case scores of a second model, in a new prediction folder.

    Two logistic regressions (`fit_fusion`) are fitted on the predictions of validation cases, which neither model was
    trained on: of the case from both case scores, and of each finding from its own score and the second model's case
    score. Findings stay, their order may change. A case that one of the models could not predict has failed.

    Parameters
    ----------
    first, second : path
        Prediction folders of the same cases; the findings are those of `first`.
    data : path
        The manifest with the reference of the validation cases.
    output : path
        The new prediction folder: tables, no images.
    fit : tuple of path
        Predictions of the validation part by both models, in the same order.

    Returns
    -------
    Path
        `output`.

    Raises
    ------
    MedsegError
        When folders do not have the same cases, a model was trained on validation cases, or there are too few.
    """
    known, asked, manifest = _pair(*fit), _pair(first, second), load_manifest(data)
    for record in (*known.records, *known.others.values()):
        if record.training_case:
            raise ConfigError(f"{known.first}, {known.second}: a model was trained on case {record.case_id}; give "
                              "predictions of the validation part (`predict --subset val`)")  # fmt: skip
    candidates = read_candidates(known.first, manifest)
    of_case = _fit_cases(known, candidates, manifest)
    of_finding = _fit_findings(known, candidates)
    threshold = _operating_point(known, candidates, of_finding)
    about = _about(asked, of_case, of_finding, threshold)
    with exclusive(Path(output)):
        folder = PredictionFolder(Path(output), about, resume=False)
        records = [_fused(record, asked.others[record.case_id], of_case, of_finding) for record in asked.records]
        for record in records:
            record.operating_point = threshold
            folder.add(record)
        folder.finish(records)
    return Path(output)


def _pair(first: str | Path, second: str | Path) -> _Pair:
    abouts = [read_json(Path(path) / "predictions.json") for path in (first, second)]
    for path, about in zip((first, second), abouts):
        if not about.get("complete"):
            raise OutputError(f"{path}: the predictions are not complete; go on with `medseg predict --resume`")
    if not abouts[0].get("localises", True):
        raise ConfigError(
            f"{first}: has no findings; the first folder is that of the detector, the second may have none"
        )
    records, others = read_records(Path(first)), {one.case_id: one for one in read_records(Path(second))}
    only = {record.case_id for record in records} ^ set(others)
    if only:
        raise ConfigError(f"{first} and {second} do not have the same cases: {len(only)} are in one of them alone")
    return _Pair(Path(first), Path(second), abouts[0], records, others)


def _fit_cases(known: _Pair, candidates: CandidateSet, manifest: Manifest) -> Fusion:
    positive = {candidate.case_id for candidate in candidates.candidates if candidate.outcome == POSITIVE}
    truth: dict[str, bool] = {case.case_id: bool(case.label) for case in manifest.cases if case.label is not None}
    truth |= {name: name in positive for name in candidates.case_ids}
    pairs = [(a, b) for a, b in known.both if a.case_id in truth]
    return fit_fusion(
        np.array([truth[a.case_id] for a, _ in pairs], bool),
        np.array([a.score for a, _ in pairs], float), np.array([b.score for _, b in pairs], float),
    )  # fmt: skip


def _fit_findings(known: _Pair, candidates: CandidateSet) -> Fusion:
    score = {b.case_id: b.score for _, b in known.both}
    used = [c for c in candidates.candidates if not c.added and c.outcome != IGNORED and c.case_id in score]
    return fit_fusion(
        np.array([c.outcome == POSITIVE for c in used], bool),
        np.array([c.score for c in used], float), np.array([score[c.case_id] for c in used], float),
    )  # fmt: skip


def _operating_point(known: _Pair, candidates: CandidateSet, fusion: Fusion) -> float:
    """By the rule of the first model, on the validation cases."""
    score = {b.case_id: b.score for _, b in known.both}
    fused = np.array([
        _one(fusion, c.score, score[c.case_id]) if c.case_id in score and not c.added else -np.inf
        for c in candidates.candidates
    ])  # fmt: skip
    lesions, false = (v[np.isfinite(v)] for v in candidates.best_scores(fused, candidates.case_ids))
    per_case = float(known.about["settings"]["inference"]["operating_point_fp"])
    allowed = int(per_case * len(candidates.case_ids))
    return threshold_at(sorted(false.tolist(), reverse=True), lesions.tolist(), allowed=allowed, floor=0.0)


def _one(fusion: Fusion, first: float | None, second: float | None) -> float:
    return float(fusion.apply(np.array([first], float), np.array([second], float))[0])


def _about(asked: _Pair, of_case: Fusion, of_finding: Fusion, threshold: float) -> dict[str, Any]:
    digests: Sequence[Mapping[str, Any]] = (asked.about, read_json(asked.second / "predictions.json"))
    parts = [str(about.get("model_sha256")) for about in digests]
    fused = {"case": of_case.content(), "finding": of_finding.content()}
    return {
        **{name: value for name, value in asked.about.items() if name not in ("complete", "n_cases")},
        "model_sha256": hashlib.sha256("/".join(parts).encode()).hexdigest(),
        "operating_point": threshold, "second_stage": fused, "fused_from": parts, "save": [],
    }  # fmt: skip


def _fused(record: CaseRecord, other: CaseRecord, of_case: Fusion, of_finding: Fusion) -> CaseRecord:
    if record.status != "ok" or other.status != "ok":
        worse = record if record.status != "ok" else other
        return replace(record, status=worse.status, error=worse.error, score=None, findings=[])
    findings = [
        replace(
            finding, score=_one(of_finding, finding.score, other.score), score_first=finding.score,
            score_second=other.score, probability=None, score_sd=None,
        )
        for finding in record.findings
    ]  # fmt: skip
    findings.sort(key=lambda finding: -finding.score)
    seen = None if None in (record.training_case, other.training_case) else record.training_case or other.training_case
    return replace(
        record, score=_one(of_case, record.score, other.score), findings=findings, training_case=seen,
        probability=None, score_sd=None,
    )  # fmt: skip
