"""Operating points that validation chooses: by false positives a case, by sensitivity or by specificity of cases."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medseg.evaluation.case_level import case_operating_point
from medseg.evaluation.evidence import Evidence
from medseg.evaluation.lesion_level import lesion_operating_point
from medseg.evaluation.operating_points import choose_threshold
from medseg.evaluation.settings import EvaluationSettings

__all__ = ["FP_PER_CASE", "SHARES", "case_points", "lesion_points", "threshold_at"]

FP_PER_CASE = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
SHARES = (0.8, 0.9, 0.95)  # of cases, as sensitivity and as specificity


def threshold_at(false: Sequence[float], found: Sequence[float], *, allowed: int, floor: float) -> float:
    """Score with the highest sensitivity that at most `allowed` false positives reach.

    Of the scores that have it, it is the one in the middle between the lowest lesion found and the next false positive
    below it.

    Parameters
    ----------
    false : sequence of float
        Scores of false positives, falling.
    found : sequence of float
        Score of the best candidate on each lesion that has one.
    floor : float
        Lowest score of a candidate.
    """
    lowest = float(np.nextafter(false[allowed], 2)) if allowed < len(false) else floor
    kept = [score for score in found if score >= lowest]
    if not kept:
        return lowest
    below = max((score for score in false if score < min(kept)), default=floor)
    return max(lowest, (min(kept) + below) / 2)


def lesion_points(evidence: Evidence, settings: EvaluationSettings, *, floor: float) -> list[dict[str, Any]]:
    """Points with at most so many false positives a case, with what they reach on the cases that chose them."""
    matches = evidence.placed
    if matches is None or not matches.n_lesions:
        return []
    false = np.sort(matches.false_score)[::-1].tolist()
    found = matches.lesion_score[np.isfinite(matches.lesion_score)].tolist()
    points = []
    for rate in FP_PER_CASE:
        threshold = threshold_at(false, found, allowed=int(rate * matches.n_cases), floor=floor)
        points.append(
            {
                "name": f"fp_{rate:g}", "criterion": "false positives a case at most", "target": rate,
                "threshold": threshold, "n_cases": matches.n_cases, "n_lesions": matches.n_lesions,
                "lesion_level": lesion_operating_point(matches, settings, threshold),
            }
        )  # fmt: skip
    return points


def case_points(evidence: Evidence, settings: EvaluationSettings, *, floor: float) -> list[dict[str, Any]]:
    """Points with a sensitivity or a specificity of cases of at least so much.

    The threshold lies in the middle between the lowest score that is called positive and the next below.

    Parameters
    ----------
    floor : float
        Lowest score that a case with a finding can have.
    """
    known = evidence.of_cases(~np.isnan(evidence.score) & np.isin(evidence.label, (0, 1)))
    truth, score = known.label == 1, known.score
    if truth.all() or not truth.any():
        return []
    points = []
    for criterion in ("sensitivity", "specificity"):
        for share in SHARES:
            lowest = choose_threshold(truth, score, criterion=criterion, at_least=share)  # type: ignore[arg-type]
            about = {
                "name": f"{criterion}_{share:g}", "criterion": f"{criterion} of cases at least", "target": share,
                "n_cases": len(truth), "n_positive": int(truth.sum()),
            }  # fmt: skip
            if not max(floor, 0) < lowest <= 1:
                called = "no case" if lowest > 1 else "every case"
                points.append(about | {"threshold": None, "reason": f"only by calling {called} positive"})
                continue
            below = max((float(value) for value in score if value < lowest), default=floor)
            threshold = (lowest + max(below, floor)) / 2
            points.append(
                about | {"threshold": threshold, "case_level": case_operating_point(known, settings, threshold)}
            )
    return points
