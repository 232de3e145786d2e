"""A trained model: load it from a run, predict one image."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from medseg.config import Pipeline, load_pipeline
from medseg.data.domain import contradiction, facts_of
from medseg.data.manifest import Case
from medseg.data.preprocess import Prepared, prepare_image
from medseg.detectors.base import Detector
from medseg.detectors.candidates import to_finding
from medseg.detectors.classification import ClassificationDetector
from medseg.detectors.factory import build_detector
from medseg.detectors.mask_components import lower_components
from medseg.detectors.settings import ClassificationSettings, SegmentationSettings
from medseg.errors import CheckpointError, ConfigError, ImageError
from medseg.files import content_hash, read_json
from medseg.imaging.slabs import SlabReader
from medseg.inference.class_maps import ClassOutput, classify, flips_of
from medseg.inference.devices import in_turn, resolve_device
from medseg.inference.prediction import Prediction
from medseg.inference.prediction_scores import calibrated, standard_deviation, with_spread
from medseg.inference.result_map import ResultMap
from medseg.inference.score_calibration import ScoreCalibration, read_score_calibration
from medseg.inference.second_stage import SecondStage, load_second_stage, stage_files
from medseg.inference.spread import SpreadMaps
from medseg.inference.spread_classes import SpreadClasses
from medseg.inference.spread_of_scores import MapSpread
from medseg.inference.windows import predict_maps
from medseg.networks.factory import build_network
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.signs import busy
from medseg.parallel.team import Team
from medseg.planning.plan import Plan, read_plan
from medseg.planning.resolve import resolve
from medseg.volume import Volume

__all__ = ["Model", "at_operating_point", "load_model", "pipeline_of"]

WEIGHTS = Path("checkpoints") / "model.pt"


@dataclass(slots=True, eq=False)
class Model:
    """A network with everything that is needed to use it.

    Parameters
    ----------
    calibration : dict
        Thresholds chosen on validation: ``operating_point``, ``mask_threshold``.
    training_patients : frozenset of str
        Pseudonyms of the patients that the network was trained on.
    team : Team
        The processes (or slabs in turn) that a volume is spread over.
    scores : ScoreCalibration
        What validation says of the scores: probabilities and named operating points.
    second_stage : SecondStage, optional
        What judges the candidates; their score is then the fused one.
    """

    pipeline: Pipeline
    plan: Plan
    network: nn.Module
    detector: Detector
    calibration: dict[str, float] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    training_patients: frozenset[str] = frozenset()
    digest: str = ""
    team: Team = field(default_factory=lambda: Team(LayoutSettings(), torch.device("cpu")))
    scores: ScoreCalibration = field(default_factory=ScoreCalibration)
    second_stage: SecondStage | None = None

    @property
    def operating_point(self) -> float:
        """Score from which a finding is reported."""
        chosen = self.pipeline.inference.operating_point
        return float(self.calibration.get("operating_point", 0.5) if chosen is None else chosen)

    @property
    def makes_mask(self) -> bool:
        """Whether a prediction has a mask."""
        return isinstance(self.pipeline.detector, SegmentationSettings)

    @property
    def makes_uncertainty(self) -> bool:
        """Whether a prediction has a map of how much mirror images differ."""
        several = len(flips_of(self.pipeline.inference, self.pipeline.input.n_dimensions)) > 1
        known = self.second_stage is None and not isinstance(self.pipeline.detector, ClassificationSettings)
        return several and known and not self.team.spreads

    @property
    def makes_map(self) -> bool:
        """Whether a prediction has a map of probabilities, and so findings."""
        detector = self.pipeline.detector
        return not isinstance(detector, ClassificationSettings) or detector.activation_map != "none"

    def maps(self, prepared: Prepared, spread: MapSpread | None = None) -> np.ndarray:
        """Activated maps of the detector on the working grid, shape (map, z, y, x).

        Of a volume that is spread over processes, the first of them has the maps; the others `follow`. `spread` is
        given the maps of each mirror image, except of volumes that are spread.
        """
        if self.team.spreads:
            return cast(np.ndarray, self._spread.lead(prepared.image))
        return predict_maps(
            self.network, self.detector, prepared.image,
            patch_size=self.plan.patch_size, settings=self.pipeline.inference, autocast=self._autocast,
            spread=spread,
        )  # fmt: skip

    def classify(self, prepared: Prepared) -> ClassOutput:
        """Class probabilities and activation maps of a classifier; spread as of `maps`."""
        if self.team.spreads:
            return cast(ClassOutput, self._spread.lead(prepared.image))
        assert isinstance(self.detector, ClassificationDetector)
        return classify(
            self.network, self.detector, prepared.image,
            dimensions=self.pipeline.input.n_dimensions, settings=self.pipeline.inference,
        )  # fmt: skip

    def follow(self) -> None:
        """Do this process's part of every image that the first process predicts, until that says that it has ended."""
        if self.team.spreads:
            self._spread.follow()
        else:
            self.team.told()

    @property
    def _autocast(self) -> torch.autocast | None:
        if self.plan.precision == "float32":
            return None
        return torch.autocast(self.team.device.type, getattr(torch, self.plan.precision))

    @property
    def _spread(self) -> SpreadMaps | SpreadClasses:
        how: dict[str, Any] = {
            "dimensions": self.pipeline.input.n_dimensions, "row_step": self.plan.row_step,
            "settings": self.pipeline.inference, "autocast": self._autocast,
        }  # fmt: skip
        if isinstance(self.pipeline.detector, ClassificationSettings):
            return SpreadClasses(self.team, self.network, self.detector, **how)
        return SpreadMaps(self.team, self.network, self.detector, patch_size=self.plan.patch_size, **how)

    def out_of_scope(self, image: Volume | SlabReader, case: Case | None = None) -> str:
        """Why an image is not one that the model is for, as far as it is known what it is; empty if it may be."""
        return contradiction(facts_of(image, case), self.pipeline.input)

    def predict(self, volume: Volume) -> Prediction:
        """Find lesions in one image.

        Raises
        ------
        MedsegError
            When the image does not fit the pipeline (modality, channels, geometry, content).
        """
        if outside := self.out_of_scope(volume):
            raise ImageError(f"out of scope: {outside}")
        prepared = prepare_image(volume, self.pipeline.input, spacing=self.plan.spacing_mm)
        return self.predict_prepared(prepared)

    def predict_prepared(self, prepared: Prepared) -> Prediction:
        """Find lesions in an image that is prepared already, with the probabilities that validation gave their scores.

        This process holds the maps of the working grid (mapped from a file from 1 GiB on) and what the detector makes
        of them while it looks for candidates: for masks two more values a voxel.
        """
        answer = self.classify(prepared) if isinstance(self.pipeline.detector, ClassificationSettings) else None
        said = {} if answer is None else self.said(answer)
        if answer is not None and answer.maps is None:
            return calibrated(Prediction([], operating_point=self.operating_point, **said), self.scores)
        n_classes = len(self.pipeline.classes)
        spread = MapSpread(n_classes) if self.makes_uncertainty else None
        maps = self.maps(prepared, spread) if answer is None or answer.maps is None else answer.maps
        _refuse_not_finite(maps)
        settings = self.pipeline.inference
        with busy():
            candidates = self.detector.decode(
                maps, min_score=settings.min_score, max_candidates=settings.max_candidates
            )
        findings = [
            to_finding(c, working=prepared.grid, source=prepared.source, classes=self.pipeline.classes)
            for c in candidates
        ]
        if self.second_stage is not None:
            with busy():
                findings = self.second_stage.judge(findings, prepared)
        said.setdefault("score", findings[0].score if findings else 0.0)
        prediction = Prediction(
            findings, operating_point=self.operating_point,
            map=ResultMap(self._masked(maps[:n_classes]), prepared.grid, prepared.source),
            mask_threshold=self.mask_threshold if self.makes_mask else None, **said,
        )  # fmt: skip
        return calibrated(prediction if spread is None else with_spread(prediction, candidates, spread), self.scores)

    def _masked(self, maps: np.ndarray) -> np.ndarray:
        """The maps without the components that the mask is to lose; candidates are listed before."""
        settings = self.pipeline.detector
        if not isinstance(settings, SegmentationSettings) or not (settings.mask_min_voxels or settings.mask_largest):
            return maps
        return lower_components(
            maps, threshold=self.mask_threshold, min_voxels=settings.mask_min_voxels,
            largest_only=settings.mask_largest,
        )  # fmt: skip

    def said(self, answer: ClassOutput) -> dict[str, Any]:
        """Score, probabilities and, with one label an image, the predicted class."""
        assert isinstance(self.pipeline.detector, ClassificationSettings)
        values = answer.probabilities
        _refuse_not_finite(values[:, None])
        said: dict[str, Any] = {"class_probabilities": tuple(map(float, values))}
        best, passes = int(values.argmax()), answer.passes
        if self.pipeline.detector.multi_label:
            return said | {"score": float(values.max()), "score_sd": standard_deviation(passes[:, best])}
        seen = self.makes_map or len(values) == 2  # the first class is 'nothing found'
        score = float(1 - values[0] if seen else values[best])
        return said | {
            "score": score,
            "score_sd": standard_deviation(passes[:, 0 if seen else best]),
            "class_index": best,
        }

    @property
    def mask_threshold(self) -> float:
        """Probability from which a voxel belongs to the mask."""
        assert isinstance(self.pipeline.detector, SegmentationSettings)
        return float(self.calibration.get("mask_threshold", self.pipeline.detector.mask_threshold))


def _refuse_not_finite(output: np.ndarray) -> None:
    if not all(np.isfinite(row).all() for row in output.reshape(-1, *output.shape[2:])):
        raise ImageError("the network's output is not finite: is the model damaged, or are the grey values extreme?")


def load_model(
    path: str | Path, *, device: str = "auto", operating_point: float | str | None = None, team: Team | None = None,
    with_second_stage: bool = True,
) -> Model:  # fmt: skip
    """Load the model of a run folder.

    A model whose volumes were spread over processes (or slabs) in training takes as many slabs in turn here, so that
    memory stays bounded; a `team` of one process without slabs makes it take volumes whole.

    Parameters
    ----------
    path : str or Path
        RUN folder; that of a cross-validation gives the mean of its folds (`Ensemble`).
    operating_point : float or str, optional
        Report findings from this score on, or from the operating point of this name (of ``calibration.json``), instead
        of the one chosen on validation.
    team : Team, optional
        The processes that predict together, its device being that of this one; this process alone unless given.
    with_second_stage : bool
        Let the run's second stage, where it has one, judge the candidates.

    Raises
    ------
    CheckpointError
        When the folder is not a run with a finished checkpoint.
    ConfigError
        When the model has no operating point of that name.
    """
    from medseg.inference.ensemble import CROSS_VALIDATION, load_ensemble

    run = Path(path)
    if (run / CROSS_VALIDATION).is_file():
        return load_ensemble(run, device=device, operating_point=operating_point, team=team)
    judged = with_second_stage and bool(stage_files(run))  # by other scores than those that validation calibrated
    if isinstance(operating_point, str) and judged:
        raise ConfigError(
            f"--operating-point {operating_point}: named points are of the first stage's scores, {run} has a second "
            "stage; give a score by --threshold"
        )
    scores = ScoreCalibration() if judged else read_score_calibration(run)
    plan = read_plan(run / "plan.json")
    pipeline = resolve(at_operating_point(pipeline_of(run), scores, operating_point, run.name), plan)
    detector = build_detector(pipeline.detector, pipeline.classes)
    network = network_for(pipeline, plan, detector)
    calibration = _take_weights(network, run / WEIGHTS)
    spreads = team.layout if team is not None else pipeline.layout
    if getattr(pipeline.detector, "activation_map", "") == "grad_cam" and max(spreads.space, spreads.slabs) > 1:
        raise ConfigError(f"{run}: maps by grad_cam cannot be spread; predict with --space 1 --slabs 1")
    if team is None:
        own = resolve_device(device)
        team = Team(in_turn(pipeline.layout, max(pipeline.layout.space, pipeline.layout.slabs), own), own)
    network.to(team.device).eval()
    splits, digest = _splits(run), content_hash([run / WEIGHTS])
    second = load_second_stage(run, first_stage_sha256=digest, device=team.device) if with_second_stage else None
    if second is not None:
        calibration["operating_point"] = second.operating_point
        digest = content_hash([run / WEIGHTS, *stage_files(run)])
    return Model(
        pipeline, plan, network, detector, calibration, splits.get("cases", {}),
        frozenset(splits.get("training_patients", ())), digest, team, scores, second,
    )  # fmt: skip


def _take_weights(network: nn.Module, path: Path) -> dict[str, float]:
    """Give a network its weights; the thresholds that stand beside them."""
    from medseg.training.checkpoint import load_checkpoint

    content = load_checkpoint(path)
    try:
        network.load_state_dict(content["weights"])
        return {str(name): float(value) for name, value in content["calibration"].items()}
    except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged, or does not fit the run's pipeline.yaml") from error


def at_operating_point(
    pipeline: Pipeline, scores: ScoreCalibration, operating_point: float | str | None, name: str
) -> Pipeline:
    """Return the pipeline with an operating point in place of the chosen one, by its score or by its name.

    Raises
    ------
    ConfigError
        When the model `name` has no point of that name.
    """
    if operating_point is None:
        return pipeline
    threshold = scores.threshold(operating_point, name) if isinstance(operating_point, str) else operating_point
    inference = pipeline.inference.model_copy(update={"operating_point": threshold})
    return pipeline.model_copy(update={"inference": inference})


def pipeline_of(run: Path) -> Pipeline:
    """Read the pipeline of a run.

    Raises
    ------
    CheckpointError
        When the folder is not a run.
    """
    if not run.is_dir():
        raise CheckpointError(f"model {run}: no such folder; expected a run made by `medseg train`")
    if not (run / "pipeline.yaml").is_file():
        raise CheckpointError(f"model {run}: holds no pipeline.yaml, so it is not a run of `medseg train`")
    return load_pipeline(run / "pipeline.yaml")


def _splits(run: Path) -> dict[str, Any]:
    path = run / "splits.json"
    return read_json(path, needs=("cases", "training_patients"), error=CheckpointError) if path.is_file() else {}


def network_for(pipeline: Pipeline, plan: Plan, detector: Detector) -> nn.Module:
    """Build the network of a pipeline for the planned patch."""
    return build_network(
        pipeline.network,
        in_channels=pipeline.input.network_channels,
        out_channels=detector.output_channels(pipeline.input.n_dimensions),
        patch_size=plan.patch_size,
        quiet_head=detector.quiet_start,
        topology=plan.topology,
    )
