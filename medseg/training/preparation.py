"""From a pipeline and a data set to prepared cases, a plan and samples."""

import logging
from pathlib import Path
from typing import Any

from medseg.config import Pipeline
from medseg.data.annotations import check_annotations
from medseg.data.cache import CacheOptions
from medseg.data.manifest import Case, Manifest
from medseg.data.samples import TrainingSamples
from medseg.data.store import MEMORY_BYTES, CaseStore, is_stack
from medseg.detectors.settings import ClassificationSettings
from medseg.errors import ManifestError, naming_case
from medseg.planning.input import SettledInput, settle_input
from medseg.planning.plan import Plan, make_plan
from medseg.planning.resolve import resolve
from medseg.seeds import child_seed
from medseg.training.class_weights import plan_class_weights

__all__ = ["prepare_training", "training_samples"]

logger = logging.getLogger(__name__)
ENDLESS = 1 << 40  # samples when the clock ends the training


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
    parts = _labelled_parts(manifest, splits)
    classifier = pipeline.detector if isinstance(pipeline.detector, ClassificationSettings) else None
    if classifier is not None and not classifier.multi_label:
        _check_labels(parts, len(pipeline.classes))
    if plan is None:
        settled = settle_input(pipeline, parts["train"], workers=workers)
    else:
        settled = SettledInput(pipeline=resolve(pipeline, plan), spacing_mm=plan.spacing_mm)
    pipeline = settled.pipeline
    options = CacheOptions(pipeline.input, settled.spacing_mm, pipeline.classes)
    stores, failures = _build_stores(parts, pipeline, options, manifest.path.parent / "cache", workers)
    shapes, positives = case_facts(stores["train"])
    if positives and all(positives) and classifier is None:
        logger.warning("no training case is without a lesion: false alarms on normal images cannot be learned away")
    if plan is not None:
        return stores, plan, failures
    plan = make_plan(
        pipeline, shapes, positives, spacing_mm=settled.spacing_mm, spacing_reason=settled.reasons["spacing_mm"],
        device=device, estimate=estimate,
    )  # fmt: skip
    plan = settled.noted_in(plan)
    if classifier is not None:
        weights, reason = plan_class_weights(classifier, pipeline.classes, stores["train"])
        plan = plan.with_choice(reason, class_weights=weights)
    return stores, plan, failures


def _labelled_parts(manifest: Manifest, splits: dict[str, str]) -> dict[str, list[Case]]:
    """The cases for training and validation that can teach something."""
    parts: dict[str, list[Case]] = {"train": [], "val": []}
    for case in manifest.cases:
        part = splits.get(case.case_id)
        if part in parts and case.is_labelled and not case.ignore:
            parts[part].append(case)
    unused = sum(not case.is_labelled for case in manifest.cases if splits.get(case.case_id) in parts)
    if unused:
        logger.warning("%d case(s) for training and validation are unlabelled and not used", unused)
    return parts


def _build_stores(
    parts: dict[str, list[Case]], pipeline: Pipeline, options: CacheOptions, folder: Path, workers: int
) -> tuple[dict[str, CaseStore], dict[str, str]]:
    """Fill the cache; the cases of each part, and why a case is left out."""
    layout = pipeline.layout
    kept = 0 if layout.space > 1 or layout.slabs > 1 else MEMORY_BYTES  # volumes that are spread are read by rows
    stores: dict[str, CaseStore] = {}
    failures: dict[str, str] = {}
    needs_places = not isinstance(pipeline.detector, ClassificationSettings)
    for part, cases in parts.items():
        if needs_places:
            placeless = [case for case in cases if case.annotation == "label" and case.label != 0]
            failures |= {case.case_id: "label other than 0 without mask, boxes or points" for case in placeless}
            cases = [case for case in cases if case.case_id not in failures]
        if part == "val" and pipeline.training.max_validation_cases:
            cases = cases[: pipeline.training.max_validation_cases]
        stores[part], failed = CaseStore.build(cases, options, folder, workers=workers, kept_bytes=kept)
        failures |= failed
    for name, failure in failures.items():
        logger.warning("left out: %s", naming_case(failure, name))
    if failures and not stores["train"].cases:
        raise ManifestError(f"no training case can be used; the first reason: {next(iter(failures.values()))}")
    return stores, failures


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


def training_samples(pipeline: Pipeline, store: CaseStore, detector: Any, plan: Plan) -> TrainingSamples:
    """Samples of the training cases, as many as the training can use."""
    settings = pipeline.training
    bounded = settings.max_steps or settings.max_epochs
    steps = [settings.max_steps, settings.max_epochs and settings.max_epochs * plan.steps_per_epoch]
    length = min(n for n in steps if n) * plan.batch_size if bounded else ENDLESS
    return TrainingSamples(
        store, detector, patch_size=plan.patch_size, sampling=pipeline.sampling, augmentation=pipeline.augmentation,
        positives=case_facts(store)[1], length=length, seed=child_seed(settings.seed, "samples"),
        n_channels=pipeline.input.channels,
    )  # fmt: skip
