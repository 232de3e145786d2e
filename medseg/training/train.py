"""From a pipeline and a data set to a run."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from medseg.config import Pipeline, apply_overrides, load_pipeline, pipeline_from_dict
from medseg.data.annotations import check_annotations
from medseg.data.cache import CacheOptions
from medseg.data.manifest import Case, Manifest, load_manifest
from medseg.data.samples import TrainingSamples
from medseg.data.splits import split_patients
from medseg.data.store import CaseStore, is_stack
from medseg.detectors.factory import build_detector
from medseg.detectors.settings import ClassificationSettings
from medseg.drawing.filters import FIRST_LAYER, draw_filters
from medseg.errors import CheckpointError, ManifestError, MedsegError, OutputError, naming_case
from medseg.files import atomic_path, exclusive, read_json, write_json, write_text
from medseg.imaging import read
from medseg.inference.model import WEIGHTS, Model, network_for, resolve_device
from medseg.planning.plan import Plan, make_plan, read_plan
from medseg.seeds import child_seed, seed_everything
from medseg.training.checkpoint import save_checkpoint
from medseg.training.loop import LAST, fit
from medseg.training.measure import choose_compilation, choose_execution
from medseg.training.validation import Validation, calibrate, validate

__all__ = ["prepare_training", "train"]

logger = logging.getLogger(__name__)
ENDLESS = 1 << 40  # samples when the clock ends the training
SPACING_CASES = 50  # enough for a median


def train(
    pipeline: Pipeline | str | Path,
    data: str | Path,
    run: str | Path,
    *,
    overrides: Sequence[str] = (),
    fold: int | None = None,
    resume: bool = False,
    device: str = "auto",
    workers: int = 2,
) -> Path:
    """Train a detector.

    Parameters
    ----------
    pipeline : Pipeline, str or Path
        A pipeline, a pipeline file or the name of a shipped one.
    data : str or Path
        Manifest, or the folder that holds ``dataset.csv``.
    run : str or Path
        Folder for the run.
    overrides : sequence of str
        ``key=value`` changes of the pipeline.
    fold : int, optional
        Number of the cross-validation fold; none trains on the one training part.
    resume : bool
        Go on with the checkpoint in `run`; the pipeline saved there is used.

    Returns
    -------
    Path
        The run folder.

    Raises
    ------
    MedsegError
        ConfigError, ManifestError, CheckpointError, OutputError: what is wrong, in one line.
    """
    run = Path(run)
    pipeline = _pipeline_of(pipeline, run, overrides, resume=resume)
    manifest = load_manifest(data)
    torch_device = resolve_device(device)
    with exclusive(run):
        _train(pipeline, manifest, run, torch_device, fold=fold, resume=resume, workers=workers)
    return run


def _train(
    pipeline: Pipeline,
    manifest: Manifest,
    run: Path,
    torch_device: torch.device,
    *,
    fold: int | None,
    resume: bool,
    workers: int,
) -> None:
    seed_everything(pipeline.training.seed)
    if pipeline.training.deterministic:
        torch.use_deterministic_algorithms(True)
    splits = _splits(manifest, pipeline, run, fold, resume=resume)
    stores, plan, left_out = prepare_training(pipeline, manifest, splits, workers=workers)
    detector = build_detector(pipeline.detector, pipeline.classes)
    if resume:
        plan = read_plan(run / "plan.json")
    network = network_for(pipeline, plan, detector).to(torch_device)
    samples = _samples(pipeline, stores["train"], detector, plan)
    if not resume:
        plan = _choose(network, detector, samples, plan, pipeline)
        seed_everything(pipeline.training.seed)  # whatever the measurements have drawn
        _open_run(run, pipeline, plan, splits, manifest, left_out, trained_on=stores["train"].cases)

    # while training, without mirror images: a multiple faster, and the ranking of checkpoints hardly changes
    quick = pipeline.inference.model_copy(update={"flip_axes": ()})
    quick_pipeline = pipeline.model_copy(update={"inference": quick})

    def check(weights: dict[str, torch.Tensor]) -> Validation:
        return validate(_model(quick_pipeline, plan, weights, torch_device), stores["val"])

    state = fit(
        network, detector, samples, plan, pipeline.training, run,
        validate=check if stores["val"].cases else None, resume=resume,
    )  # fmt: skip
    _finish(run, pipeline, plan, state.best_weights, stores["val"], torch_device)


def prepare_training(
    pipeline: Pipeline, manifest: Manifest, splits: dict[str, str], *, workers: int
) -> tuple[dict[str, CaseStore], Plan, dict[str, str]]:
    """Fill the cache for the training and validation cases and plan; the test part stays closed."""
    check_annotations(manifest.cases)
    parts: dict[str, list[Case]] = {"train": [], "val": []}
    for case in manifest.cases:
        part = splits.get(case.case_id)
        if part in parts and case.is_labelled and not case.ignore:
            parts[part].append(case)
    unused = sum(not case.is_labelled for case in manifest.cases if splits.get(case.case_id) in parts)
    if unused:
        logger.warning("%d case(s) for training and validation are unlabelled and not used", unused)
    if isinstance(pipeline.detector, ClassificationSettings):
        _check_labels(parts, len(pipeline.classes))
    spacing, reason = _spacing(pipeline, parts["train"])
    options = CacheOptions(pipeline.input, spacing, pipeline.classes)
    folder = manifest.path.parent / "cache"
    stores: dict[str, CaseStore] = {}
    failures: dict[str, str] = {}
    if not isinstance(pipeline.detector, ClassificationSettings):
        for part, cases in parts.items():
            placeless = [case for case in cases if case.annotation == "label" and case.label]
            failures |= {case.case_id: "label above 0 without mask, boxes or points" for case in placeless}
            parts[part] = [case for case in cases if case.case_id not in failures]
    for part, cases in parts.items():
        if part == "val" and pipeline.training.max_validation_cases:
            cases = cases[: pipeline.training.max_validation_cases]
        stores[part], failed = CaseStore.build(cases, options, folder, workers=workers)
        failures |= failed
    for name, failure in failures.items():
        logger.warning("left out: %s", naming_case(failure, name))
    if failures and not stores["train"].cases:
        raise ManifestError(f"no training case can be used; the first reason: {next(iter(failures.values()))}")
    shapes, positives = _facts(stores["train"])
    if positives and all(positives) and not isinstance(pipeline.detector, ClassificationSettings):
        logger.warning("no training case is without a lesion: false alarms on normal images cannot be learned away")
    plan = make_plan(pipeline, shapes, positives, spacing_mm=spacing, spacing_reason=reason)
    return stores, plan, failures


def _facts(store: CaseStore) -> tuple[list[tuple[int, int, int]], list[bool]]:
    if store.cases and all(is_stack(case) for case in store.cases):  # images of one size, which need not be read
        shape = store[store.cases[0].case_id].grid.shape
        return [shape] * len(store.cases), [bool(case.label) for case in store.cases]
    cases = [store[case.case_id] for case in store.cases]
    return [case.grid.shape for case in cases], [case.has_lesion for case in cases]


def _check_labels(parts: dict[str, list[Case]], n_classes: int) -> None:
    for cases in parts.values():
        for case in cases:
            if case.label is None or not 0 <= case.label < n_classes:
                raise ManifestError(
                    f"case {case.case_id}: label {case.label} is out of range; the pipeline has {n_classes} classes, "
                    f"so labels are 0 to {n_classes - 1}"
                )


def _spacing(pipeline: Pipeline, cases: list[Case]) -> tuple[tuple[float, float, float] | None, str]:
    if pipeline.input.dimensions == 2:
        return None, "two-dimensional: images are resized, if at all"
    if pipeline.input.spacing_mm is not None:
        return pipeline.input.spacing_mm, "given in the pipeline"
    if not cases:
        return None, "no training case"
    from medseg.data.resample import canonical_grid

    spacings = []
    for case in cases[:SPACING_CASES]:
        try:
            spacings.append(canonical_grid(read(case.files[0]).grid).spacing)
        except MedsegError:
            continue  # named, with its reason, when the cache is built
    if not spacings:
        return None, "no training case could be read"
    median = np.median(np.array(spacings), axis=0)
    return (float(median[0]), float(median[1]), float(median[2])), f"median of {len(spacings)} training images"


def _samples(pipeline: Pipeline, store: CaseStore, detector: Any, plan: Plan) -> TrainingSamples:
    settings = pipeline.training
    bounded = settings.max_steps or settings.max_epochs
    steps = [settings.max_steps, settings.max_epochs and settings.max_epochs * plan.steps_per_epoch]
    length = min(n for n in steps if n) * plan.batch_size if bounded else ENDLESS
    return TrainingSamples(
        store, detector, patch_size=plan.patch_size, sampling=pipeline.sampling, augmentation=pipeline.augmentation,
        positives=_facts(store)[1], length=length, seed=child_seed(settings.seed, "samples"),
    )  # fmt: skip


def _choose(network: torch.nn.Module, detector: Any, samples: TrainingSamples, plan: Plan, pipeline: Pipeline) -> Plan:
    pairs = [samples[index] for index in range(plan.batch_size)]
    batch = (
        torch.from_numpy(np.stack([image for image, _ in pairs])),
        torch.from_numpy(np.stack([target for _, target in pairs])),
    )
    plan = choose_execution(network, detector.loss, batch, plan, pipeline.training)
    return choose_compilation(network, detector.loss, batch, plan, pipeline.training)


def _pipeline_of(pipeline: Pipeline | str | Path, run: Path, overrides: Sequence[str], *, resume: bool) -> Pipeline:
    if resume:
        if not (run / LAST).is_file():
            raise CheckpointError(f"{run}: nothing to resume, there is no {LAST}; start without --resume")
        saved = load_pipeline(run / "pipeline.yaml")
        given = _loaded(pipeline, overrides)
        if given != saved:
            raise CheckpointError(
                f"{run}: was started with other settings ({_differences(saved, given)}); "
                "resume with the same pipeline and overrides, or start a new run folder"
            )
        return saved
    if (run / WEIGHTS).exists() or (run / LAST).exists():  # a run without a checkpoint has nothing to lose
        raise OutputError(f"{run}: already holds a run; go on with --resume, or choose another folder")
    return _loaded(pipeline, overrides)


def _loaded(pipeline: Pipeline | str | Path, overrides: Sequence[str]) -> Pipeline:
    if isinstance(pipeline, Pipeline):
        content = pipeline.model_dump(mode="json")
        return pipeline_from_dict(apply_overrides(content, overrides)) if overrides else pipeline
    return load_pipeline(pipeline, overrides)


def _differences(saved: Pipeline, given: Pipeline) -> str:
    from medseg.config.describe import describe_fields

    before = {name: value for name, value, _ in describe_fields(saved)}
    after = {name: value for name, value, _ in describe_fields(given)}
    changed = [f"{name} was {before.get(name)!r}" for name in after if before.get(name) != after[name]]
    return ", ".join(changed[:3]) or "other fields"


def _splits(manifest: Manifest, pipeline: Pipeline, run: Path, fold: int | None, *, resume: bool) -> dict[str, str]:
    if resume:
        saved: dict[str, str] = read_json(run / "splits.json", needs=("cases",), error=CheckpointError)["cases"]
        unknown = sorted(set(saved) - {case.case_id for case in manifest.cases})
        if unknown:
            raise ManifestError(f"{manifest.path}: case {unknown[0]} of the run is not in the data set any more")
        return saved
    return split_patients(manifest, pipeline.split, seed=pipeline.training.seed, fold=fold)


def _open_run(
    run: Path,
    pipeline: Pipeline,
    plan: Plan,
    splits: dict[str, str],
    manifest: Manifest,
    left_out: dict[str, str],
    *,
    trained_on: list[Case],
) -> None:
    write_json(
        run / "splits.json",
        {
            "schema_version": 1,
            "cases": splits,
            "training_patients": sorted({case.patient_id for case in trained_on}),
            "unlabelled": [case.case_id for case in manifest.cases if not case.is_labelled],
            "left_out": left_out,
        },
    )
    plan.write(run / "plan.json")
    content = pipeline.model_dump(mode="json")
    write_text(run / "pipeline.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _model(pipeline: Pipeline, plan: Plan, weights: dict[str, torch.Tensor], device: torch.device) -> Model:
    detector = build_detector(pipeline.detector, pipeline.classes)
    network = network_for(pipeline, plan, detector)
    network.load_state_dict(weights)
    return Model(pipeline, plan, network.to(device).eval(), detector)


def _finish(
    run: Path,
    pipeline: Pipeline,
    plan: Plan,
    weights: dict[str, torch.Tensor],
    validation_cases: CaseStore,
    device: torch.device,
) -> None:
    """Choose the thresholds on validation and write the model."""
    calibration: dict[str, float] = {}
    figures: dict[str, float] = {}
    if validation_cases.cases:
        model = _model(pipeline, plan, weights, device)
        result = validate(model, validation_cases)
        calibration, figures = calibrate(model, result), result.figures
        logger.info("validation: %s", ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    _draw_first_layer(weights, run / FIRST_LAYER)
    save_checkpoint(run / WEIGHTS, {"format": 1, "weights": weights, "calibration": calibration, "validation": figures})


def _draw_first_layer(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Draw the first convolution's kernels, where they are flat: (filter, channel, y, x)."""
    first = next((tensor for tensor in weights.values() if tensor.ndim == 4 and min(tensor.shape[2:]) > 1), None)
    if first is None:
        return
    picture = draw_filters(first.detach().cpu().float().numpy())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
