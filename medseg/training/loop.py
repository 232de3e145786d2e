"""The training loop, from top to bottom."""

import logging
import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medseg.data.hard_negatives import HardNegative
from medseg.data.samples import TrainingSamples
from medseg.detectors.base import Detector
from medseg.errors import CheckpointError, MedsegError
from medseg.parallel.signs import beat
from medseg.parallel.team import Team
from medseg.planning.plan import Plan
from medseg.processes import handling
from medseg.progress import Progress
from medseg.seeds import child_seed
from medseg.training.batches import Batch, batches
from medseg.training.checkpoint import load_checkpoint, save_checkpoint
from medseg.training.hard_negatives import HardNegativeSearch
from medseg.training.learner import Learner
from medseg.training.log import TrainingLog
from medseg.training.optimisation import learning_rate
from medseg.training.settings import TrainingSettings
from medseg.training.validation import Validation

__all__ = ["Interrupted", "TrainingState", "fit"]

logger = logging.getLogger(__name__)
LAST = Path("checkpoints") / "last.pt"


class Interrupted(MedsegError):
    """The training was stopped from outside; its checkpoint is written."""


@dataclass(slots=True)
class TrainingState:
    """Where a training stands; everything in it is in the checkpoint."""

    step: int = 0  # steps done
    seconds: float = 0.0  # time spent in the loop, over all resumptions
    skipped: int = 0  # steps whose loss or gradient was not finite
    skipped_in_a_row: int = 0
    best: float = -math.inf
    validated_at: float = 0.0  # seconds
    without_gain: int = 0  # validations in a row whose figure was not better
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)
    hard_negatives: list[HardNegative] = field(default_factory=list)


def fit(
    network: nn.Module,
    detector: Detector,
    samples: TrainingSamples,
    plan: Plan,
    settings: TrainingSettings,
    run: Path,
    *,
    team: Team,
    validate: Callable[[dict[str, torch.Tensor]], Validation] | None,
    resume: bool,
    search: HardNegativeSearch | None = None,
) -> TrainingState:
    """Train `network` in place; return the state with the best weights (averaged ones where there are)."""
    context = team.context()
    learner = Learner(network, detector, plan, settings, team, context)
    state = TrainingState()
    if resume:
        _restore(run, state, learner)
    if team.data_rank:  # dropout of its own; what shares a volume draws the same
        torch.manual_seed(child_seed(settings.seed, "group", team.data_rank, state.step))
    last_step = _last_step(settings, plan)
    source = _source(samples, plan, settings, team, context, state)
    log = TrainingLog(run, first_step=state.step, tensorboard=settings.tensorboard) if team.is_first else None
    clock = _Clock(state.seconds)

    def save() -> None:
        if log is not None:
            log.flush()
            content = {"format": 1, "state": {name: getattr(state, name) for name in TrainingState.__slots__}}
            save_checkpoint(run / LAST, content | learner.content())
        clock.saved()

    with _stop_signals() as stopped, Progress("training", _total(settings, last_step), interval_seconds=30) as progress:
        network.train()
        first_step = state.step
        while not _finished(state, settings, last_step):
            rate = learning_rate(settings, step=state.step, progress=_progress(state, settings, last_step))
            with clock.waiting():
                image, target = next(source)
            loss, norm = learner.step(image, target, rate=rate, number=state.step + 1)
            _count(state, settings, norm)
            state.seconds = team.agreed(clock.seconds())
            beat(state.step)
            row = _row(state, plan, loss=loss, lr=rate, grad_norm=norm)
            row |= clock.speed((state.step - first_step) * plan.batch_size)
            if validate is not None and _validation_due(state, settings, plan, last_step):
                _validate(validate, learner.weights, state, row)
                network.train()
                state.seconds = state.validated_at = team.agreed(clock.seconds())
            if search is not None and search.is_due(state.step) and not _finished(state, settings, last_step):
                state.hard_negatives = search.found(learner.weights, state.hard_negatives, state.step)
                source = _source(samples, plan, settings, team, context, state)  # prepared ones lack them
                state.seconds = team.agreed(clock.seconds())
            if log is not None:
                log.write(row)
            progress.update(_done(state, settings), note=_note(row, state))
            stop = team.any(stopped())
            if stop or clock.since_saved() >= settings.checkpoint_seconds:
                save()
            if stop:
                if log is not None:
                    log.close()
                raise Interrupted(f"stopped after step {state.step}; go on with --resume")
    _say_hopeless(state, settings)
    if not state.best_weights:
        state.best_weights = _kept(learner.weights)
    save()
    if log is not None:
        log.close()
    return state


def _row(state: TrainingState, plan: Plan, **measured: float) -> dict[str, Any]:
    """Row of the log."""
    epoch = (state.step - 1) // plan.steps_per_epoch
    return {
        "step": state.step, "epoch": epoch, **measured, "skipped": state.skipped, "seconds": round(state.seconds, 3)
    }  # fmt: skip


def _say_hopeless(state: TrainingState, settings: TrainingSettings) -> None:
    if _is_hopeless(state, settings):
        logger.info("step %d: no better figure in %d validations, the training ends here (best %.4f)",
                    state.step, state.without_gain, state.best)  # fmt: skip


def _source(
    samples: TrainingSamples, plan: Plan, settings: TrainingSettings, team: Team, context: Any, state: TrainingState
) -> Iterator[Batch]:
    """Batches from where the training stands."""
    samples.hard_negatives = state.hard_negatives
    return batches(
        samples, settings, team, context, team.bounds(plan.patch_size[0], plan.row_step),
        batch_size=plan.batch_size, first_step=state.step,
    )  # fmt: skip


class _Clock:
    """Time spent in the loop, over all resumptions, and what it was spent on."""

    def __init__(self, seconds_before: float) -> None:
        self._loop_began = self._saved = time.monotonic()
        self._began = self._loop_began - seconds_before
        self._waited = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def since_saved(self) -> float:
        return time.monotonic() - self._saved

    def saved(self) -> None:
        self._saved = time.monotonic()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count what it takes to get a batch."""
        began = time.monotonic()
        yield
        self._waited += time.monotonic() - began

    def speed(self, n_samples: int) -> dict[str, float]:
        """Samples a second since the loop began, and the share of time spent waiting for them."""
        lasted = time.monotonic() - self._loop_began
        return {"samples_per_second": round(n_samples / lasted, 2), "wait_share": round(self._waited / lasted, 4)}


def _count(state: TrainingState, settings: TrainingSettings, norm: float) -> None:
    """Count a step; too many in a row whose loss or gradient is not finite end the training."""
    state.step += 1
    if math.isfinite(norm):
        state.skipped_in_a_row = 0
        return
    state.skipped += 1
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row >= settings.max_bad_steps:
        raise MedsegError(
            f"the loss was not finite in {state.skipped_in_a_row} steps in a row up to step {state.step}: "
            "lower training.learning_rate, or look for odd grey values in the images"
        )


def _note(row: dict[str, Any], state: TrainingState) -> str:
    note = f"loss {row['loss']:.3f} {row['samples_per_second']:.1f} samples/s waiting {row['wait_share']:.0%}"
    return note + (f" best {state.best:.3f}" if state.best > -math.inf else "")


def _kept(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _validate(
    validate: Callable[[dict[str, torch.Tensor]], Validation],
    weights: dict[str, torch.Tensor],
    state: TrainingState,
    row: dict[str, Any],
) -> None:
    result = validate(weights)
    row["validation_metric"], row["validation_value"] = result.metric, result.value
    row["validation"] = " ".join(f"{name}={value:.4f}" for name, value in result.figures.items())
    logger.info("step %d: %s", state.step, row["validation"])
    if not math.isfinite(result.value) and state.best == -math.inf:
        logger.warning("step %d: %s is not defined on the validation cases; the latest weights are kept",
                       state.step, result.metric)  # fmt: skip
    if math.isfinite(result.value):
        state.without_gain = 0 if result.value > state.best else state.without_gain + 1
    if result.value >= state.best or state.best == -math.inf:  # while nothing is measured: the latest
        state.best = result.value if math.isfinite(result.value) else state.best
        state.best_weights = _kept(weights)


def _validation_due(state: TrainingState, settings: TrainingSettings, plan: Plan, last_step: int | None) -> bool:
    if _finished(state, settings, last_step):
        return True
    if settings.validate_every_minutes is not None:
        return state.seconds - state.validated_at >= settings.validate_every_minutes * 60
    return state.step % max(1, round(settings.validate_every_epochs * plan.steps_per_epoch)) == 0


def _last_step(settings: TrainingSettings, plan: Plan) -> int | None:
    limits = [settings.max_steps, settings.max_epochs and settings.max_epochs * plan.steps_per_epoch]
    known = [limit for limit in limits if limit]
    return min(known) if known else None


def _progress(state: TrainingState, settings: TrainingSettings, last_step: int | None) -> float:
    by_step = state.step / last_step if last_step else 0.0
    by_clock = state.seconds / (settings.max_minutes * 60) if settings.max_minutes else 0.0
    return max(by_step, by_clock)


def _finished(state: TrainingState, settings: TrainingSettings, last_step: int | None) -> bool:
    return _progress(state, settings, last_step) >= 1 or _is_hopeless(state, settings)


def _is_hopeless(state: TrainingState, settings: TrainingSettings) -> bool:
    return settings.patience_validations is not None and state.without_gain >= settings.patience_validations


def _total(settings: TrainingSettings, last_step: int | None) -> int:
    return last_step if last_step else round((settings.max_minutes or 0) * 60)


def _done(state: TrainingState, settings: TrainingSettings) -> int:
    by_step = settings.max_steps or settings.max_epochs
    return state.step if by_step else round(state.seconds)


def _restore(run: Path, state: TrainingState, learner: Learner) -> None:
    content = load_checkpoint(run / LAST)
    try:
        for name, value in content["state"].items():
            setattr(state, name, value)
        learner.restore(content)
    except (KeyError, AttributeError, CheckpointError) as error:
        reason = error if isinstance(error, CheckpointError) else f"does not fit this run ({type(error).__name__})"
        raise CheckpointError(f"{run / LAST}: {reason}") from error


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag that is looked at between steps; a second SIGINT interrupts."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    with handling(note, signal.SIGINT, signal.SIGTERM):
        yield lambda: bool(received)
