"""What validation says of a model's scores: ``calibration.json`` of a run. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from medseg.errors import CheckpointError, ConfigError
from medseg.files import content_hash, read_json

__all__ = ["FILE", "NamedPoint", "ProbabilityMap", "ScoreCalibration", "log_odds", "read_score_calibration"]

FILE = "calibration.json"
SCHEMA_VERSION = 1
CLOSEST = 1e-6  # to 0 and 1, where log-odds are infinite


def log_odds(score: np.ndarray, lowest: float) -> np.ndarray:
    """Logarithm of the odds of scores; those below `lowest` count as it, such as 0 of a case without candidate."""
    inside = np.clip(np.asarray(score, float), max(lowest, CLOSEST), 1 - CLOSEST)
    return np.log(inside / (1 - inside))


@dataclass(frozen=True, slots=True)
class ProbabilityMap:
    """From a score to a probability; it never falls.

    Parameters
    ----------
    method : {"platt", "isotonic"}
        ``platt``: ``1 / (1 + exp(-(slope log_odds(score) + intercept)))``; ``isotonic``: linear between the points
        `scores`, `probabilities`, flat beyond.
    lowest : float
        Lower scores count as this one, for ``platt``.
    """

    method: Literal["platt", "isotonic"]
    slope: float = 1.0
    intercept: float = 0.0
    lowest: float = CLOSEST
    scores: tuple[float, ...] = ()
    probabilities: tuple[float, ...] = ()

    def __call__(self, score: float) -> float:
        """Probability of one score."""
        if self.method == "isotonic":
            return float(np.interp(score, self.scores, self.probabilities))
        odds = self.slope * float(log_odds(np.array(score), self.lowest)) + self.intercept
        return float(0.5 * (1 + np.tanh(odds / 2)))  # the logistic function, without overflow


@dataclass(frozen=True, slots=True)
class NamedPoint:
    """An operating point that validation chose.

    Parameters
    ----------
    threshold : float or None
        Score from which a finding is reported; None where no score does what was asked.
    """

    name: str
    threshold: float | None


@dataclass(frozen=True, slots=True)
class ScoreCalibration:
    """What is known of the scores of a model; nothing of runs without the file.

    Parameters
    ----------
    candidate, case : ProbabilityMap or None
        To the probability that a candidate is a lesion, and that a case has one; None where too few cases say so.
    digest : str
        Of the file.
    """

    candidate: ProbabilityMap | None = None
    case: ProbabilityMap | None = None
    points: tuple[NamedPoint, ...] = field(default=())
    digest: str = ""

    def threshold(self, name: str, model: str) -> float:
        """Score of the operating point called `name`.

        Raises
        ------
        ConfigError
            When the model has none of that name, saying which there are.
        """
        known = {point.name: point.threshold for point in self.points if point.threshold is not None}
        if name not in known:
            there = ", ".join(known) or "none (it was trained without validation cases, or before they were stored)"
            raise ConfigError(f"--operating-point {name}: the model {model} has no such point; it has {there}")
        return known[name]


def read_score_calibration(run: Path) -> ScoreCalibration:
    """Read ``calibration.json`` of a run; runs without it have no probabilities and no named operating points.

    Raises
    ------
    CheckpointError
        When it is damaged or of a later version.
    """
    path = run / FILE
    if not path.is_file():
        return ScoreCalibration()
    content = read_json(path, needs=("schema_version", "candidate", "case", "operating_points"), error=CheckpointError)
    if content["schema_version"] != SCHEMA_VERSION:
        found = content["schema_version"]
        raise CheckpointError(f"{path}: is of version {found}, expected {SCHEMA_VERSION}; use the medseg that wrote it")
    try:
        points = tuple(NamedPoint(str(p["name"]), _number(p["threshold"])) for p in content["operating_points"])
        maps = {name: _map(content[name]) for name in ("candidate", "case")}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}); train again, or remove it") from error
    return ScoreCalibration(points=points, digest=content_hash([path]), **maps)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _map(content: Mapping[str, Any]) -> ProbabilityMap | None:
    if content["method"] is None:
        return None
    if content["method"] == "platt":
        slope, intercept, lowest = (float(content[name]) for name in ("slope", "intercept", "lowest"))
        return ProbabilityMap("platt", slope, intercept, lowest)
    if content["method"] != "isotonic":
        raise ValueError(content["method"])
    scores, values = (tuple(map(float, content[name])) for name in ("scores", "probabilities"))
    if not scores or len(scores) != len(values):
        raise ValueError("points")
    return ProbabilityMap("isotonic", scores=scores, probabilities=values)
