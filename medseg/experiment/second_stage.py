"""Train a run's second stage: candidates, crops, network, fusion and operating point."""

import logging
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.data.manifest import Case, Manifest, load_manifest
from medseg.detectors.fusion import Fusion, check_enough, fit_fusion
from medseg.detectors.second_stage_settings import SecondStageSettings
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import ConfigError, ImageError, MedsegError, OutputError, naming_case
from medseg.evaluation import roc_auc
from medseg.experiment.candidates import IGNORED, POSITIVE, Candidate, CandidateSet, read_candidates
from medseg.files import exclusive, write_json
from medseg.inference.batch import predict_batch
from medseg.inference.ensemble import CROSS_VALIDATION
from medseg.inference.model import Model, load_model
from medseg.inference.reading import open_case
from medseg.inference.second_stage import FOLDER, STAGE, WEIGHTS, crop_scores, crops_at
from medseg.progress import track
from medseg.training.crop_batches import CropSet, crop_margin
from medseg.training.operating_points import threshold_at
from medseg.training.second_stage import CHECKPOINT, fit_crops, write_weights

__all__ = ["train_second_stage"]

logger = logging.getLogger(__name__)
VALIDATION = "validation"


@dataclass(slots=True)
class _Cropped:
    """Crops of the candidates whose images could be read."""

    candidates: list[Candidate]
    crops: np.ndarray

    @property
    def data(self) -> CropSet:
        return CropSet(self.crops, np.array([c.outcome == POSITIVE for c in self.candidates], dtype=bool))


def train_second_stage(
    settings: SecondStageSettings, predictions: str | Path, data: str | Path, run: str | Path, *, resume: bool = False,
    device: str = "auto",
) -> Path:  # fmt: skip
    """Train the second stage of a run on the candidates of a prediction folder.

    It learns from the candidates, and from the lesions without one, of the run's training part. The scores are fused
    and the operating point is chosen on the candidates that the run's own first stage finds in its validation part.
    Cases of the test part are left out, whatever the folder holds.

    Parameters
    ----------
    predictions : path
        Prediction folder whose model was not trained on its cases: the ``out_of_fold`` of a cross-validation.
    data : path
        The manifest with the reference.
    run : path
        RUN folder with a finished first stage.
    resume : bool
        Go on with a second stage that was begun.

    Returns
    -------
    Path
        ``RUN/second_stage``.

    Raises
    ------
    MedsegError
        When there is nothing to learn from, the candidates are those of training images, or a folder does not fit.
    """
    run = Path(run)
    folder = run / FOLDER
    if (run / CROSS_VALIDATION).is_file():
        raise ConfigError(
            f"{run}: is a cross-validation, a second stage belongs to one run; give a run folder, or one fold of it"
        )
    model = load_model(run, device=device, with_second_stage=False)
    if isinstance(model.pipeline.detector, ClassificationSettings):
        raise ConfigError(f"{run}: a second stage judges candidates of segmentation and heatmap detectors")
    manifest = load_manifest(data)
    found = read_candidates(predictions, manifest)
    with exclusive(run):
        _open(folder, resume=resume)
        with tempfile.TemporaryDirectory(prefix="crops-", dir=folder) as scratch:
            _train(settings, model, manifest, found, folder, Path(scratch), resume=resume)
    return folder


def _open(folder: Path, *, resume: bool) -> None:
    if (folder / STAGE).is_file():
        raise OutputError(f"{folder}: already holds a second stage; remove it to train another")
    if folder.exists() and not resume:
        if (folder / CHECKPOINT).is_file():
            raise OutputError(f"{folder}: a second stage was begun here; go on with --resume, or remove the folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _train(
    settings: SecondStageSettings, model: Model, manifest: Manifest, found: CandidateSet, folder: Path, scratch: Path,
    *, resume: bool,
) -> None:  # fmt: skip
    parts = {part: {name for name, own in model.splits.items() if own == part} for part in ("train", "val")}
    learned = [c for c in found.of_cases(parts["train"]) if c.outcome != IGNORED]
    if not learned:
        raise ConfigError(
            "second stage: no candidate of the predictions is in the run's training part; was the cross-validation "
            "made with the same data, split and seed?"
        )
    training = _crop(model, manifest, learned, settings, scratch / "train.npy", margin=crop_margin(settings))
    own, cropped = _own_candidates(settings, model, manifest, parts["val"], folder, scratch)
    judged = [n for n, c in enumerate(cropped.candidates) if not c.added and c.outcome != IGNORED]
    check_enough(cropped.data.positive[judged])  # before hours of training
    checked = CropSet(cropped.crops[judged], cropped.data.positive[judged])
    network = fit_crops(
        training.data, settings, folder, validation=checked, resume=resume, device=model.team.device
    )  # fmt: skip
    second = crop_scores(network, cropped.crops)
    first = np.array([c.score for c in cropped.candidates])
    fusion = fit_fusion(cropped.data.positive[judged], first[judged], second[judged])
    fused = fusion.apply(np.nan_to_num(first), second)
    write_weights(network, folder / WEIGHTS)
    content = _about(settings, model, training, fusion)
    content["operating_point"] = _operating_point(model, own, cropped, fused)
    content["validation"] = _figures(cropped.data.positive[judged], first[judged], second[judged], fused[judged])
    content["rule"] = found.rule
    logger.info("second stage: %s", ", ".join(f"{name} {value:.3f}" for name, value in content["validation"].items()))
    write_json(folder / STAGE, content)  # last: without it there is no second stage


def _own_candidates(
    settings: SecondStageSettings, model: Model, manifest: Manifest, names: set[str], folder: Path, scratch: Path
) -> tuple[CandidateSet, _Cropped]:
    """What the run's first stage finds in its validation part, of which the scores that are fused are those in use."""
    predicted = predict_batch(model, manifest.path, folder / VALIDATION, subset="val", save=(), resume=True)
    own = read_candidates(predicted.path, manifest)
    candidates = [c for c in own.of_cases(names) if not c.added]
    return own, _crop(model, manifest, candidates, settings, scratch / "val.npy", margin=0)


def _crop(
    model: Model, manifest: Manifest, candidates: Sequence[Candidate], settings: SecondStageSettings, path: Path, *,
    margin: int,
) -> _Cropped:  # fmt: skip
    """Cut the crops of all candidates into a file, case by case; those of images that cannot be read are left out."""
    cases = {case.case_id: case for case in manifest.cases}
    by_case: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_case.setdefault(candidate.case_id, []).append(candidate)
    kept: list[Candidate] = []
    stored: np.ndarray | None = None
    for name, own in track(by_case.items(), "cutting crops", len(by_case)):
        try:
            crops = _of_case(model, cases[name], own, settings, margin)
        except MedsegError as error:
            logger.warning("left out: %s", naming_case(str(error), name))
            continue
        if stored is None:  # half the size, and finer than grey values are
            shape = (len(candidates), *crops.shape[1:])
            stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        stored[len(kept) : len(kept) + len(own)] = crops
        kept += own
    if stored is None:
        raise ConfigError(f"second stage: no candidate's image can be used, of {len(candidates)} candidate(s)")
    return _Cropped(kept, stored[: len(kept)])


def _of_case(
    model: Model, case: Case, candidates: Iterable[Candidate], settings: SecondStageSettings, margin: int
) -> np.ndarray:
    with open_case(case.images, case.case_id, model) as image:
        if image.prepared is None:
            raise ImageError(f"out of scope: {image.outside}")
        places = np.array([(c.x, c.y, c.z) for c in candidates])
        return crops_at(image.prepared, places, settings, margin=margin)


def _operating_point(model: Model, own: CandidateSet, cropped: _Cropped, fused: np.ndarray) -> float:
    """Chosen anew, by the rule that chose that of the first stage, on the cases whose candidates could be judged."""
    score = {id(candidate): value for candidate, value in zip(cropped.candidates, fused)}
    scores = np.array([score.get(id(candidate), -np.inf) for candidate in own.candidates])
    lesions, false = own.best_scores(scores, own.case_ids)
    allowed = int(model.pipeline.inference.operating_point_fp * len(own.case_ids))
    false, lesions = (values[np.isfinite(values)] for values in (false, lesions))
    return threshold_at(sorted(false.tolist(), reverse=True), lesions.tolist(), allowed=allowed, floor=0.0)


def _figures(positive: np.ndarray, first: np.ndarray, second: np.ndarray, fused: np.ndarray) -> dict[str, float]:
    """Areas under the ROC curve over the validation candidates; that of the fused score was fitted on them."""
    scores = {"auc_first": first, "auc_second": second, "auc_fused": fused}
    return {name: float(roc_auc(positive, values)) for name, values in scores.items()}


def _about(settings: SecondStageSettings, model: Model, training: _Cropped, fusion: Fusion) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "settings": settings.model_dump(mode="json"),
        "in_channels": int(training.crops.shape[1]),
        "dimensions": training.crops.ndim - 2,
        "first_stage_sha256": model.digest,
        "fusion": fusion.content(),
        "training": {
            "n_positive": sum(c.outcome == POSITIVE and not c.added for c in training.candidates),
            "n_negative": sum(c.outcome != POSITIVE for c in training.candidates),
            "n_added": sum(c.added for c in training.candidates),
        },
    }
