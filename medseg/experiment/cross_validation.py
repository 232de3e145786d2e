"""Cross-validation: every fold of the development part is trained, each as a run of its own."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medseg.config import Pipeline, load_pipeline
from medseg.data.manifest import Manifest, load_manifest
from medseg.data.splits import split_patients
from medseg.errors import CheckpointError, ConfigError, ManifestError, MedsegError, OutputError
from medseg.experiment.folds import Fold, train_in_processes, train_one_by_one
from medseg.experiment.out_of_fold import OUT_OF_FOLD, choose_on_folds, predict_out_of_fold
from medseg.files import exclusive, read_json, write_json, write_text
from medseg.inference.devices import resolve_device
from medseg.inference.ensemble import CROSS_VALIDATION
from medseg.inference.model import WEIGHTS
from medseg.inference.results import FILES
from medseg.inference.score_calibration import FILE as SCORES
from medseg.parallel.ranks import is_one_of_several
from medseg.planning.input import settle_input
from medseg.training.loop import LAST
from medseg.training.train import loaded_pipeline

__all__ = ["CrossValidation", "cross_validate"]

logger = logging.getLogger(__name__)
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class CrossValidation:
    """What became of a cross-validation.

    Parameters
    ----------
    failures : dict of str to str
        Why a fold failed, by ``fold_N``.
    left_out : dict of str to str
        Why a case could not be used.
    """

    path: Path
    folds: tuple[Fold, ...]
    failures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def cross_validate(
    pipeline: Pipeline | str | Path,
    data: str | Path,
    run: str | Path,
    *,
    overrides: Sequence[str] = (),
    resume: bool = False,
    jobs: int = 1,
    device: str = "auto",
    save: Sequence[str] = (),
) -> CrossValidation:
    """Train every fold into ``fold_0`` … of `run`, each an ordinary run; the test part stays closed.

    When all are finished, thresholds and post-processing are chosen on their validation parts together, and
    ``out_of_fold`` becomes a prediction folder over the whole development part.

    A fold that fails does not stop the others. In three dimensions all folds work at one spacing, that of the whole
    development part, so that their maps can be averaged.

    Parameters
    ----------
    pipeline, data, overrides, device
        As of `train`.
    run : path
        Folder of the cross-validation.
    resume : bool
        Finished folds are left, those that were begun go on, the others begin.
    jobs : int
        Folds at a time, in processes of their own from 2 on; over several GPUs in turn.
    save : sequence of str
        What is written for each out-of-fold case, as of `predict`.

    Raises
    ------
    MedsegError
        ConfigError, ManifestError, CheckpointError, OutputError: what is wrong; also where every fold failed.
    Interrupted
        When it was asked to stop; the checkpoints are written.
    """
    settings, run = loaded_pipeline(pipeline, overrides), Path(run)
    _check_options(settings, jobs, device, save)
    manifest = load_manifest(data)
    _check_run(run, resume=resume)
    with exclusive(run):
        settings = _with_one_input(settings, manifest)
        _check_folds(settings, manifest)
        path = _keep_pipeline(settings, run)
        folds = [Fold(number, run / f"fold_{number}") for number in range(settings.split.folds)]
        for fold in folds:
            fold.state = "finished" if fold.is_finished else "waiting"

        def changed() -> None:
            _write_state(run, settings, folds)

        changed()
        with _unfinished_wait(folds, changed):
            todo = [fold for fold in folds if fold.state != "finished"]
            if jobs == 1:
                train_one_by_one(todo, changed, pipeline=settings, data=manifest.path, device=device)
            else:
                train_in_processes(todo, changed, jobs=jobs, pipeline=path, data=manifest.path, device=device)
        result = _result(run, folds)
        if not result.failures:
            content = choose_on_folds(folds, settings, manifest, device=device)
            predict_out_of_fold(folds, manifest, content, run / OUT_OF_FOLD, device=device, save=save)
            write_json(run / SCORES, content.pop("scores"))
            _write_state(run, settings, folds, content)
    return result


def _check_options(settings: Pipeline, jobs: int, device: str, save: Sequence[str]) -> None:
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: at least 1 fold at a time was expected")
    if is_one_of_several():
        raise ConfigError("--fold all starts its own processes; run it without torchrun, or each fold with --fold N")
    if jobs > 1 and settings.layout.ranks > 1:
        raise ConfigError(
            f"--jobs {jobs}: a fold has {settings.layout.ranks} processes already (layout.space, layout.data); "
            "use --jobs 1"
        )
    for kind in save:
        if kind not in FILES or (kind == "mask" and settings.detector.kind != "segmentation"):
            raise ConfigError(f"--save {kind}: not for out-of-fold cases of this pipeline; allowed are mask (of a "
                              "segmentation), probability, overlay")  # fmt: skip
    resolve_device(device)


def _check_run(run: Path, *, resume: bool) -> None:
    if (run / WEIGHTS).exists() or (run / LAST).exists():
        raise OutputError(f"{run}: holds a single run; choose another folder for the cross-validation")
    exists = (run / CROSS_VALIDATION).is_file() or any(run.glob("fold_*/checkpoints/*.pt"))
    if exists and not resume:
        raise OutputError(f"{run}: already holds a cross-validation; go on with --resume, or choose another folder")
    if resume and not exists:
        raise CheckpointError(f"{run}: nothing to resume, there is no {CROSS_VALIDATION}; start without --resume")


def _with_one_input(settings: Pipeline, manifest: Manifest) -> Pipeline:
    """Settle dimensions, spacing and grey values for all folds, so that they see the same image."""
    given = settings.input
    has_grid = given.dimensions == 2 or (given.dimensions == 3 and given.spacing_mm is not None)
    if has_grid and given.intensity.method != "auto":
        return settings
    parts = split_patients(manifest, settings.split, seed=settings.training.seed)
    cases = [c for c in manifest.cases if parts[c.case_id] != "test" and c.is_labelled and not c.ignore]
    settled = settle_input(settings, cases, workers=1)
    for name, reason in settled.reasons.items():
        logger.info("%s of all folds: %s", name, reason)
    chosen = settled.pipeline.input.model_copy(update={"spacing_mm": settled.spacing_mm})
    return settings.model_copy(update={"input": chosen})


def _check_folds(settings: Pipeline, manifest: Manifest) -> None:
    """Refuse more folds than there are patients with annotations for."""
    for number in range(settings.split.folds):
        parts = split_patients(manifest, settings.split, seed=settings.training.seed, fold=number)
        usable = {parts[case.case_id] for case in manifest.cases if case.is_labelled and not case.ignore}
        for part, name in (("train", "training"), ("val", "validation")):
            if part not in usable:
                raise ManifestError(
                    f"{manifest.path}: fold {number} of {settings.split.folds} has no labelled {name} case; "
                    "lower split.folds, or annotate more patients"
                )


def _keep_pipeline(settings: Pipeline, run: Path) -> Path:
    path = run / "pipeline.yaml"
    if path.is_file() and load_pipeline(path) != settings:
        raise CheckpointError(
            f"{run}: was started with other settings; resume with the same pipeline and overrides, or start a new "
            "folder"
        )
    content = settings.model_dump(mode="json")
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def _write_state(
    run: Path, settings: Pipeline, folds: Sequence[Fold], further: Mapping[str, Any] | None = None
) -> None:
    rows = [{"fold": fold.number, "state": fold.state, "error": fold.error or None} for fold in folds]
    content = {
        "schema_version": SCHEMA_VERSION, "pipeline": settings.name, "n_folds": len(folds),
        "seed": settings.training.seed, "folds": rows,
    }  # fmt: skip
    write_json(run / CROSS_VALIDATION, content | dict(further or {}))


@contextmanager
def _unfinished_wait(folds: Sequence[Fold], changed: Callable[[], None]) -> Iterator[None]:
    """Say of the folds that were stopped that they wait."""
    try:
        yield
    finally:
        for fold in folds:
            if fold.state == "running":
                fold.state = "waiting"
        changed()


def _result(run: Path, folds: Sequence[Fold]) -> CrossValidation:
    failures = {fold.run.name: fold.error for fold in folds if fold.state == "failed"}
    if len(failures) == len(folds):
        raise MedsegError(f"{run}: every fold failed; the first: {folds[0].error}")
    left_out: dict[str, str] = {}
    for fold in folds:
        if fold.state == "finished":
            left_out |= read_json(fold.run / "splits.json").get("left_out", {})
    return CrossValidation(run, tuple(folds), failures, left_out)
