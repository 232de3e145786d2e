"""Out-of-fold predictions: each case of the development part by the fold that was not trained on it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medseg.config import Pipeline
from medseg.data.cache import CachedCase, CacheOptions
from medseg.data.manifest import Manifest
from medseg.data.store import MEMORY_BYTES, CaseStore
from medseg.detectors.settings import ClassificationSettings, SegmentationSettings
from medseg.experiment.folds import Fold
from medseg.experiment.postprocessing import MaskComponents, choose_postprocessing, mask_components
from medseg.files import exclusive, read_json
from medseg.inference.batch import about_predictions, predict_part
from medseg.inference.ensemble import digest_of, with_choices
from medseg.inference.model import Model, load_model
from medseg.inference.prediction_folder import CaseRecord, PredictionFolder
from medseg.inference.score_calibration import ScoreCalibration
from medseg.progress import track, within
from medseg.training.score_file import score_file
from medseg.training.validation import Validation, calibrate, measure_case, measured

__all__ = ["OUT_OF_FOLD", "choose_on_folds", "measure_fold", "predict_out_of_fold"]

OUT_OF_FOLD = "out_of_fold"
NOTE = (
    "thresholds, probabilities and post-processing are chosen on out-of-fold predictions of the single models; the "
    "mean of the folds uses them as they are, so that its false positives a case differ somewhat, to either side"
)


def choose_on_folds(folds: Sequence[Fold], pipeline: Pipeline, manifest: Manifest, *, device: str) -> dict[str, Any]:
    """Measure every fold on its validation part, and choose thresholds and post-processing on all of them together.

    Returns
    -------
    dict
        ``calibration``, ``postprocessing`` (None unless it is asked for) and ``out_of_fold`` (figures on the working
        grid, by fold and of all cases) for ``cross_validation.json``, and ``scores`` for ``calibration.json``.
    """
    if pipeline.training.deterministic:
        torch.use_deterministic_algorithms(True)
    validations: list[Validation] = []
    components: list[MaskComponents] = []
    for fold in folds:
        model = load_model(fold.run, device=device, with_second_stage=False)
        validations.append(measure_fold(model, fold, manifest, components))
    pooled = measured(model, [row for validation in validations for row in validation.rows])
    calibration = calibrate(model, pooled)
    chosen = None
    if pipeline.training.choose_postprocessing and components and "mask_threshold" in calibration:
        chosen = choose_postprocessing(components, calibration["mask_threshold"])
    figures = {
        "metric": pooled.metric, "pooled": pooled.figures, "by_fold": [validation.figures for validation in validations]
    }  # fmt: skip
    patient_of = {case.case_id: case.patient_id for case in manifest.cases}
    scores = score_file(model, pooled, patient_of) | {"source": NOTE}
    return {
        "calibration": calibration, "postprocessing": chosen, "out_of_fold": figures, "note": NOTE, "scores": scores
    }  # fmt: skip


def measure_fold(
    model: Model, fold: Fold, manifest: Manifest, components: list[MaskComponents] | None = None
) -> Validation:
    """Measure a fold on its validation cases, as training has; `components` gets those of their masks."""
    left_out = read_json(fold.run / "splits.json").get("left_out", {})
    cases = [
        case for case in manifest.cases
        if model.splits.get(case.case_id) == "val" and case.is_labelled and not case.ignore
        and case.case_id not in left_out
    ]  # fmt: skip
    if not isinstance(model.pipeline.detector, ClassificationSettings):  # a label alone says nothing of the place
        cases = [case for case in cases if case.annotation != "label" or case.label == 0]
    patient_of = {case.case_id: case.patient_id for case in cases}
    options = CacheOptions(model.pipeline.input, model.plan.spacing_mm, model.pipeline.classes)
    n_classes = len(model.pipeline.classes)

    def look(case: CachedCase, maps: np.ndarray) -> None:
        reference = np.asarray(case.instances) > 0
        if components is not None and isinstance(model.pipeline.detector, SegmentationSettings) and reference.any():
            largest = maps[:n_classes].max(axis=0)
            components.append(mask_components(largest, reference, patient_of[case.case_id]))

    kept = 0 if model.team.spreads else MEMORY_BYTES  # volumes that are spread are read by rows
    with within(f"fold {fold.number}"):
        store, _ = CaseStore.build(cases, options, manifest.path.parent / "cache", kept_bytes=kept)
        rows = [measure_case(model, store[case.case_id], look) for case in track(store.cases, "measuring", len(cases))]
    return measured(model, rows)


def predict_out_of_fold(
    folds: Sequence[Fold], manifest: Manifest, content: dict[str, Any], folder: Path, *, device: str,
    save: Sequence[str],
) -> None:  # fmt: skip
    """Write the out-of-fold predictions as a prediction folder; cases that it has already are left.

    Parameters
    ----------
    content : dict
        Of `choose_on_folds`.
    """
    models = [load_model(fold.run, device=device, with_second_stage=False) for fold in folds]
    for model in models:
        with_choices(model, content)
        model.scores = ScoreCalibration()  # a probability fitted to the cases that are predicted says nothing of it
    about = about_predictions(models[0], "val", sorted(save), hide_names=False, show_reference=False)
    about |= {"model_sha256": digest_of(models, content), "out_of_fold": True, "n_folds": len(folds)}
    stamp = folder / "predictions.json"
    with exclusive(folder):
        if stamp.is_file() and _differs(read_json(stamp), about):
            shutil.rmtree(folder / "cases", ignore_errors=True)
            stamp.unlink()
        predictions = PredictionFolder(folder, about, resume=True)
        records: list[CaseRecord] = []
        for fold, model in zip(folds, models):
            with within(f"fold {fold.number}"):
                records += predict_part(model, manifest.path, "val", predictions, fold.number)
        order = {case.case_id: number for number, case in enumerate(manifest.cases)}
        predictions.finish(sorted(records, key=lambda record: order[record.case_id]))


def _differs(before: dict[str, Any], about: dict[str, Any]) -> bool:
    """Whether the folder holds what other models, thresholds or options have made."""
    return any(before.get(name) != about[name] for name in ("model_sha256", "operating_point", "save"))
