"""The models of a cross-validation's folds as one: the mean of what they say, decoded once."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.config import Pipeline
from medseg.data.npy_rows import NpyRows
from medseg.data.preprocess import Prepared
from medseg.detectors.factory import build_detector
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import CheckpointError
from medseg.files import read_json
from medseg.inference.class_maps import ClassOutput
from medseg.inference.model import Model, at_operating_point, load_model, pipeline_of
from medseg.inference.score_calibration import read_score_calibration
from medseg.inference.second_stage import stage_files
from medseg.inference.spread import Spread
from medseg.inference.spread_of_scores import MapSpread
from medseg.parallel.team import Team

__all__ = [
    "CROSS_VALIDATION",
    "Ensemble",
    "digest_of",
    "load_ensemble",
    "mean_of",
    "with_choices",
    "with_postprocessing",
]

logger = logging.getLogger(__name__)
CROSS_VALIDATION = "cross_validation.json"


@dataclass(slots=True, eq=False)
class Ensemble(Model):
    """Several models whose maps and class probabilities are averaged; everything else is that of one model.

    Two sets of maps are held at a time, however many members there are.

    Parameters
    ----------
    members : tuple of Model
        All of one working grid and one detector.
    """

    members: tuple[Model, ...] = ()

    @property
    def makes_uncertainty(self) -> bool:
        """Whether a prediction has a map of how much members and mirror images differ."""
        return not self.team.spreads and not isinstance(self.pipeline.detector, ClassificationSettings)

    def maps(self, prepared: Prepared, spread: MapSpread | None = None) -> np.ndarray:
        """Mean of the members' activated maps, shape (map, z, y, x); see `Model.maps`.

        `spread` is given the maps of each mirror image by each member.
        """
        if self.team.spreads:
            return Model.maps(self, prepared)
        return _mean_maps(member.maps(prepared, spread) for member in self.members)

    def classify(self, prepared: Prepared) -> ClassOutput:
        """Mean of the members' class probabilities and activation maps."""
        if self.team.spreads:
            return Model.classify(self, prepared)
        return _mean_output(member.classify(prepared) for member in self.members)

    @property
    def _spread(self) -> "SpreadMean":  # type: ignore[override]
        return SpreadMean(self.team, [member._spread for member in self.members])


class SpreadMean(Spread[Any]):
    """The mean of what several networks say of images that are spread; all processes take the networks in one order."""

    def __init__(self, team: Team, members: list[Any]) -> None:
        self._team, self._members = team, members

    def _over(self, image: NpyRows) -> Any:
        answers = (member._over(image) for member in self._members)
        first = next(answers)
        rest = (answer for group in ([first], answers) for answer in group)
        return _mean_output(rest) if isinstance(first, ClassOutput) else _mean_maps(rest)


def _mean_maps(all_maps: Iterable[np.ndarray]) -> np.ndarray:
    """Mean of float32 arrays of shape (map, z, y, x), slice by slice into the first of them."""
    total, n = np.zeros((0, 0)), 0
    for maps in all_maps:
        n += 1
        if n == 1:
            total = maps if maps.flags.writeable else maps.copy()
            continue
        for sum_zyx, zyx in zip(total, maps):
            for sum_yx, yx in zip(sum_zyx, zyx):
                sum_yx += yx
    for sum_zyx in total:
        for sum_yx in sum_zyx:
            sum_yx /= n
    return total


def _mean_output(outputs: Iterable[ClassOutput]) -> ClassOutput:
    known = list(outputs)  # activation maps of a classifier are small
    probabilities = np.mean([output.probabilities for output in known], axis=0)
    maps = [output.maps for output in known if output.maps is not None]
    passes = np.concatenate([output.passes for output in known])  # of all members, each with its mirror images
    return ClassOutput(probabilities, _mean_maps(maps) if maps else None, passes)


def load_ensemble(path: Path, *, device: str, operating_point: float | str | None, team: Team | None) -> Ensemble:
    """Load the folds of a cross-validation; arguments as of `load_model`.

    Thresholds, named operating points and probabilities are those of out-of-fold predictions. All cases of the
    development part count as trained on.

    Raises
    ------
    CheckpointError
        When a fold is not finished, or the folds do not work on one grid.
    """
    content = read_json(path / CROSS_VALIDATION, needs=("folds",), error=CheckpointError)
    try:
        states = {int(row["fold"]): str(row["state"]) for row in content["folds"]}
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path / CROSS_VALIDATION}: damaged ({error})") from error
    for number, state in states.items():
        if state != "finished":
            raise CheckpointError(f"{path}: fold {number} is {state}; finish it with `medseg train -f all --resume`")
    if not states or "calibration" not in content:
        raise CheckpointError(f"{path}: no thresholds are chosen yet; finish it with `medseg train -f all --resume`")
    scores = read_score_calibration(path)
    pipeline = at_operating_point(pipeline_of(path), scores, operating_point, path.name)
    members: list[Model] = []
    for number in sorted(states):
        fold = path / f"fold_{number}"
        if stage_files(fold):
            logger.warning("%s: its second stage is not used, the mean of the folds has none", fold)
        members.append(load_model(fold, device=device, team=team, with_second_stage=False))
        team = team or members[0].team
    try:
        ensemble = mean_of(members, pipeline)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}; set input.spacing_mm and train anew") from None
    ensemble.scores = scores
    try:
        with_choices(ensemble, content)
    except (AttributeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path / CROSS_VALIDATION}: damaged, its thresholds or post-processing cannot be read "
            f"({type(error).__name__})"
        ) from error
    ensemble.digest = digest_of(members, content)
    return ensemble


def mean_of(members: Sequence[Model], pipeline: Pipeline | None = None) -> Ensemble:
    """Average models; the thresholds are the first one's.

    Parameters
    ----------
    pipeline : Pipeline, optional
        The first member's unless given.

    Raises
    ------
    CheckpointError
        When they do not work on one grid, or say different things.
    """
    first = members[0]
    for number, member in enumerate(members):
        if member.plan.spacing_mm != first.plan.spacing_mm or member.pipeline.input != first.pipeline.input:
            raise CheckpointError(
                f"model {number} works at {member.plan.spacing_mm} mm, model 0 at {first.plan.spacing_mm} mm, or with "
                "other input settings, so their maps cannot be averaged"
            )
        if member.pipeline.detector.kind != first.pipeline.detector.kind:
            raise CheckpointError(f"model {number} is a detector of another kind than model 0")
        if member.pipeline.classes != first.pipeline.classes:
            raise CheckpointError(f"model {number} has other classes than model 0")
    return Ensemble(
        pipeline or first.pipeline, first.plan, first.network, first.detector, first.calibration, _parts(members),
        frozenset().union(*(member.training_patients for member in members)),
        hashlib.sha256("/".join(member.digest for member in members).encode()).hexdigest(), first.team,
        members=tuple(members),
    )  # fmt: skip


def with_choices(model: Model, content: dict[str, Any]) -> None:
    """Give a model the thresholds and the post-processing that a cross-validation has chosen.

    Parameters
    ----------
    content : dict
        Of ``cross_validation.json``.
    """
    model.calibration = {str(name): float(value) for name, value in content["calibration"].items()}
    model.pipeline = with_postprocessing(model.pipeline, content.get("postprocessing") or {})
    model.detector = build_detector(model.pipeline.detector, model.pipeline.classes)


def with_postprocessing(pipeline: Pipeline, chosen: dict[str, Any]) -> Pipeline:
    """The pipeline with fields of its detector as chosen."""
    detector = pipeline.detector.model_copy(update=chosen.get("detector", {}))
    return pipeline.model_copy(update={"detector": detector})


def digest_of(members: Iterable[Model], content: dict[str, Any]) -> str:
    """Digest of the members' weights and of what was chosen for them."""
    chosen = json.dumps({name: content.get(name) for name in ("calibration", "postprocessing")}, sort_keys=True)
    return hashlib.sha256("/".join([*(member.digest for member in members), chosen]).encode()).hexdigest()


def _parts(members: Sequence[Model]) -> dict[str, str]:
    """Part of each case: every one that a fold was trained or validated on counts as training."""
    parts: dict[str, str] = {}
    for member in members:
        parts |= {name: "test" if part == "test" else "train" for name, part in member.splits.items()}
    return parts
