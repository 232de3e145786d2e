"""From a pipeline and a data set to prepared cases, a plan and samples."""

import logging
from typing import Any

import numpy as np

from medseg.config import Pipeline
from medseg.data.annotations import check_annotations
from medseg.data.cache import CacheOptions
from medseg.data.manifest import Case, Manifest
from medseg.data.samples import TrainingSamples
from medseg.data.store import MEMORY_BYTES, CaseStore, is_stack
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import ManifestError, MedsegError, naming_case
from medseg.imaging import read
from medseg.planning.plan import Plan, make_plan
from medseg.seeds import child_seed
from medseg.training.class_weights import plan_class_weights

__all__ = ["choose_spacing", "prepare_training", "training_samples"]

logger = logging.getLogger(__name__)
ENDLESS = 1 << 40  # samples when the clock ends the training
SPACING_CASES = 50  # enough for a median


def prepare_training(
    pipeline: Pipeline,
    manifest: Manifest,
    splits: dict[str, str],
    *,
    workers: int,
    device: str = "cpu",
    plan: Plan | None = None,
    estimate: bool = False,
) -> tuple[dict[str, CaseStore], Plan, dict[str, str]]:
    """Fill the cache for the training and validation cases and plan; the test part stays closed.

    Parameters
    ----------
    device : {'cpu', 'cuda'}
        Kind of device that trains, for its memory.
    plan : Plan, optional
        One that was made already, and is given back.
    estimate : bool
        Estimate the memory of a step even where no choice depends on it.

    Returns
    -------
    stores, plan, left_out : dict, Plan, dict
        The cases of each part; the plan; why a case is left out.
    """
    check_annotations(manifest.cases)
    parts: dict[str, list[Case]] = {"train": [], "val": []}
    for case in manifest.cases:
        part = splits.get(case.case_id)
        if part in parts and case.is_labelled and not case.ignore:
            parts[part].append(case)
    unused = sum(not case.is_labelled for case in manifest.cases if splits.get(case.case_id) in parts)
    if unused:
        logger.warning("%d case(s) for training and validation are unlabelled and not used", unused)
    classifier = pipeline.detector if isinstance(pipeline.detector, ClassificationSettings) else None
    if classifier is not None and not classifier.multi_label:
        _check_labels(parts, len(pipeline.classes))
    spacing, reason = choose_spacing(pipeline, parts["train"])
    options = CacheOptions(pipeline.input, spacing, pipeline.classes)
    layout = pipeline.layout
    kept = 0 if layout.space > 1 or layout.slabs > 1 else MEMORY_BYTES  # volumes that are spread are read by rows
    folder = manifest.path.parent / "cache"
    stores: dict[str, CaseStore] = {}
    failures: dict[str, str] = {}
    if classifier is None:
        for part, cases in parts.items():
            placeless = [case for case in cases if case.annotation == "label" and case.label != 0]
            failures |= {case.case_id: "label other than 0 without mask, boxes or points" for case in placeless}
            parts[part] = [case for case in cases if case.case_id not in failures]
    for part, cases in parts.items():
        if part == "val" and pipeline.training.max_validation_cases:
            cases = cases[: pipeline.training.max_validation_cases]
        stores[part], failed = CaseStore.build(cases, options, folder, workers=workers, kept_bytes=kept)
        failures |= failed
    for name, failure in failures.items():
        logger.warning("left out: %s", naming_case(failure, name))
    if failures and not stores["train"].cases:
        raise ManifestError(f"no training case can be used; the first reason: {next(iter(failures.values()))}")
    shapes, positives = case_facts(stores["train"])
    if positives and all(positives) and classifier is None:
        logger.warning("no training case is without a lesion: false alarms on normal images cannot be learned away")
    if plan is not None:
        return stores, plan, failures
    plan = make_plan(
        pipeline, shapes, positives, spacing_mm=spacing, spacing_reason=reason, device=device, estimate=estimate
    )
    if classifier is not None:
        weights, reason = plan_class_weights(classifier, pipeline.classes, stores["train"])
        plan = plan.with_choice(reason, class_weights=weights)
    return stores, plan, failures


def case_facts(store: CaseStore) -> tuple[list[tuple[int, int, int]], list[bool]]:
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


def choose_spacing(pipeline: Pipeline, cases: list[Case]) -> tuple[tuple[float, float, float] | None, str]:
    """The working spacing, (z, y, x) in mm, and why: as given, else the median over the first images."""
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


def training_samples(pipeline: Pipeline, store: CaseStore, detector: Any, plan: Plan) -> TrainingSamples:
    """Samples of the training cases, as many as the training can use."""
    settings = pipeline.training
    bounded = settings.max_steps or settings.max_epochs
    steps = [settings.max_steps, settings.max_epochs and settings.max_epochs * plan.steps_per_epoch]
    length = min(n for n in steps if n) * plan.batch_size if bounded else ENDLESS
    return TrainingSamples(
        store, detector, patch_size=plan.patch_size, sampling=pipeline.sampling, augmentation=pipeline.augmentation,
        positives=case_facts(store)[1], length=length, seed=child_seed(settings.seed, "samples"),
    )  # fmt: skip
