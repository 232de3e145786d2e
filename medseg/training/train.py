"""From a pipeline and a data set to a run."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from medseg.config import Pipeline, apply_overrides, load_pipeline, pipeline_from_dict
from medseg.data.manifest import Case, Manifest, load_manifest
from medseg.data.samples import TrainingSamples
from medseg.data.splits import split_patients
from medseg.data.store import CaseStore
from medseg.detectors.factory import build_detector
from medseg.drawing.filters import FIRST_LAYER, draw_filters
from medseg.errors import CheckpointError, ManifestError, OutputError
from medseg.files import atomic_path, exclusive, read_json, write_json, write_text
from medseg.inference.devices import resolve_device
from medseg.inference.model import WEIGHTS, Model, network_for
from medseg.inference.score_calibration import FILE as SCORES
from medseg.parallel.launch import run_ranks
from medseg.parallel.ranks import is_one_of_several, own_device, process_group
from medseg.parallel.signs import busy
from medseg.parallel.team import Team
from medseg.planning.plan import Plan, read_plan
from medseg.planning.resolve import resolve
from medseg.seeds import seed_everything
from medseg.training.checkpoint import save_checkpoint
from medseg.training.hard_negatives import hard_negative_search
from medseg.training.initial_weights import begin_with, with_initial_plan
from medseg.training.loop import LAST, fit
from medseg.training.measure import choose_compilation, choose_execution
from medseg.training.preparation import prepare_training, training_samples
from medseg.training.score_file import score_file
from medseg.training.validation import Validation, calibrate, validate

__all__ = ["loaded_pipeline", "train", "train_here"]

logger = logging.getLogger(__name__)


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
    settings = loaded_pipeline(pipeline, overrides)
    arguments: dict[str, Any] = {
        "pipeline": settings, "data": Path(data), "run": Path(run), "fold": fold, "resume": resume, "device": device,
        "workers": workers,
    }  # fmt: skip
    if not is_one_of_several():
        _check_run(settings, Path(run), resume=resume)  # before processes are started
    layout = settings.layout
    if layout.ranks == 1 and not is_one_of_several():
        train_here(**arguments)
    else:
        run_ranks(f"{__name__}:train_here", arguments, n=layout.ranks, hang_seconds=layout.hang_seconds)
    return Path(run)


def train_here(
    *, pipeline: Pipeline, data: Path, run: Path, fold: int | None, resume: bool, device: str, workers: int
) -> None:
    """Train in this process, which is the only one or one of those that the pipeline's layout asks for."""
    with process_group(resolve_device(device), hang_seconds=pipeline.layout.hang_seconds) as rank:
        team = Team(pipeline.layout, own_device(rank, resolve_device(device)))
        manifest = load_manifest(data)
        with ExitStack() as held:
            team.led(lambda: _hold(held, pipeline, run, resume=resume))
            _train(pipeline, manifest, run, team, fold=fold, resume=resume, workers=workers)


def _hold(held: ExitStack, pipeline: Pipeline, run: Path, *, resume: bool) -> None:
    _check_run(pipeline, run, resume=resume)
    held.enter_context(exclusive(run))


def _train(
    pipeline: Pipeline, manifest: Manifest, run: Path, team: Team, *, fold: int | None, resume: bool, workers: int
) -> None:
    seed_everything(pipeline.training.seed)
    if pipeline.training.deterministic:
        torch.use_deterministic_algorithms(True)
    splits = _splits(manifest, pipeline, run, fold, resume=resume)
    made = read_plan(run / "plan.json") if resume else None

    def prepare() -> tuple[dict[str, CaseStore], Plan, dict[str, str]]:
        return prepare_training(pipeline, manifest, splits, workers=workers, device=team.device.type, plan=made)

    if not team.is_alone:  # the others then find the cache filled, and take the first one's plan
        made = team.led(lambda: prepare()[1])
    with busy(), nullcontext() if team.is_alone else _quietly():  # the first has said what there is to say
        stores, plan, left_out = prepare()
    asked, pipeline = pipeline, resolve(pipeline, plan)
    detector = build_detector(pipeline.detector, pipeline.classes, class_weights=plan.class_weights)
    network = network_for(pipeline, plan, detector).to(team.device)
    samples = training_samples(pipeline, stores["train"], detector, plan)
    if not resume:
        plan = begin_with(network, plan, pipeline.training)
        plan = _choose(network, detector, samples, plan, pipeline)
        seed_everything(pipeline.training.seed)  # whatever the measurements have drawn
        team.led(lambda: _open_run(run, asked, plan, splits, manifest, left_out, trained_on=stores["train"].cases))

    # while training, without mirror images: a multiple faster, and the ranking of checkpoints hardly changes
    quick = pipeline.inference.model_copy(update={"flip_axes": ()})
    quick_pipeline = pipeline.model_copy(update={"inference": quick})

    def check(weights: dict[str, torch.Tensor]) -> Validation:
        return _validated(_model(quick_pipeline, plan, weights, team), stores["val"])

    state = fit(
        network, detector, samples, plan, pipeline.training, run, team=team,
        validate=check if stores["val"].cases else None, resume=resume,
        search=hard_negative_search(
            pipeline, plan, stores["train"], lambda weights: _model(quick_pipeline, plan, weights, team)
        ),
    )  # fmt: skip
    _finish(run, pipeline, plan, state.best_weights, stores["val"], team)


@contextmanager
def _quietly() -> Iterator[None]:
    ours = logging.getLogger("medseg")
    before = ours.level
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(before)


def _validated(model: Model, store: CaseStore) -> Validation:
    """Measure on the validation cases, led by the first process."""
    return model.team.led(lambda: validate(model, store), model.follow)


def _choose(network: torch.nn.Module, detector: Any, samples: TrainingSamples, plan: Plan, pipeline: Pipeline) -> Plan:
    settings, layout = pipeline.training, pipeline.layout
    if layout.ranks > 1 or layout.slabs > 1:
        return plan.with_choice(
            "as given, without measurements: the work is spread",
            precision="float32" if settings.precision == "auto" else settings.precision,
            channels_last=settings.channels_last == "on" and layout.space * layout.slabs == 1,
            compiled=False,
        )
    pairs = [samples[index] for index in range(plan.batch_size)]
    batch = (
        torch.from_numpy(np.stack([image for image, _ in pairs])),
        torch.from_numpy(np.stack([target for _, target in pairs])),
    )
    plan = choose_execution(network, detector.loss, batch, plan, pipeline.training)
    return choose_compilation(network, detector.loss, batch, plan, pipeline.training)


def _check_run(pipeline: Pipeline, run: Path, *, resume: bool) -> None:
    """Make sure that the run folder holds what is to be resumed, or nothing."""
    if resume:
        if not (run / LAST).is_file():
            raise CheckpointError(f"{run}: nothing to resume, there is no {LAST}; start without --resume")
        saved = load_pipeline(run / "pipeline.yaml")
        if pipeline.layout.data == saved.layout.data:  # how volumes are cut does not change the numbers
            saved = saved.model_copy(update={"layout": pipeline.layout})
        if pipeline != saved:
            raise CheckpointError(
                f"{run}: was started with other settings ({_differences(saved, pipeline)}); "
                "resume with the same pipeline and overrides, or start a new run folder"
            )
    elif (run / WEIGHTS).exists() or (run / LAST).exists():  # a run without a checkpoint has nothing to lose
        raise OutputError(f"{run}: already holds a run; go on with --resume, or choose another folder")


def loaded_pipeline(pipeline: Pipeline | str | Path, overrides: Sequence[str]) -> Pipeline:
    """The pipeline that is given, named or in a file, with the overrides."""
    if isinstance(pipeline, Pipeline):
        content = pipeline.model_dump(mode="json")
        settings = pipeline_from_dict(apply_overrides(content, overrides)) if overrides else pipeline
    else:
        settings = load_pipeline(pipeline, overrides)
    return with_initial_plan(settings)


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


def _model(pipeline: Pipeline, plan: Plan, weights: dict[str, torch.Tensor], team: Team) -> Model:
    detector = build_detector(pipeline.detector, pipeline.classes)
    network = network_for(pipeline, plan, detector)
    network.load_state_dict(weights)
    return Model(pipeline, plan, network.to(team.device).eval(), detector, team=team)


def _finish(
    run: Path,
    pipeline: Pipeline,
    plan: Plan,
    weights: dict[str, torch.Tensor],
    validation_cases: CaseStore,
    team: Team,
) -> None:
    """Choose the thresholds on validation and write the model."""
    calibration: dict[str, float] = {}
    figures: dict[str, float] = {}
    if validation_cases.cases:
        model = _model(pipeline, plan, weights, team)
        result = _validated(model, validation_cases)
        calibration, figures = calibrate(model, result), result.figures
        patient_of = {case.case_id: case.patient_id for case in validation_cases.cases}
        team.led(lambda: write_json(run / SCORES, score_file(model, result, patient_of)))
        logger.info("validation: %s", ", ".join(f"{name} {value:.3f}" for name, value in figures.items()))
    content = {"format": 1, "weights": weights, "calibration": calibration, "validation": figures}
    team.led(lambda: _write_model(run, content))


def _write_model(run: Path, content: dict[str, Any]) -> None:
    _draw_first_layer(content["weights"], run / FIRST_LAYER)
    save_checkpoint(run / WEIGHTS, content)


def _draw_first_layer(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Draw the first convolution's kernels, where they are flat: (filter, channel, y, x)."""
    first = next((tensor for tensor in weights.values() if tensor.ndim == 4 and min(tensor.shape[2:]) > 1), None)
    if first is None:
        return
    picture = draw_filters(first.detach().cpu().float().numpy())
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG")
