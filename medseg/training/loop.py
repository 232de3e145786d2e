"""The training loop, from top to bottom."""

import logging
import math
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from medseg.data.samples import TrainingSamples
from medseg.detectors.base import Detector
from medseg.errors import CheckpointError, MedsegError
from medseg.planning.plan import Plan
from medseg.progress import Progress
from medseg.training.checkpoint import load_checkpoint, save_checkpoint
from medseg.training.log import TrainingLog
from medseg.training.measure import autocast, to_memory_format
from medseg.training.optimisation import AveragedWeights, build_optimizer, learning_rate
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
    best_weights: dict[str, torch.Tensor] = field(default_factory=dict)


def fit(
    network: nn.Module,
    detector: Detector,
    samples: TrainingSamples,
    plan: Plan,
    settings: TrainingSettings,
    run: Path,
    *,
    validate: Callable[[dict[str, torch.Tensor]], Validation] | None,
    resume: bool,
) -> TrainingState:
    """Train `network` in place; return the state with the best weights (averaged ones where there are)."""
    device = next(network.parameters()).device
    dimensions = len(plan.patch_size)
    to_memory_format(network, plan.channels_last, dimensions)
    compiled = torch.compile(network) if plan.compiled else network
    optimizer = build_optimizer(network, settings)
    average = AveragedWeights(network, settings.ema_decay) if settings.ema_decay else None
    scaler = torch.amp.GradScaler(device.type, enabled=plan.precision == "float16")
    state = TrainingState()
    if resume:
        _restore(run, state, network, optimizer, average, scaler)
    last_step = _last_step(settings, plan)
    log = TrainingLog(run, first_step=state.step, tensorboard=settings.tensorboard)
    batches = iter(_loader(samples, plan.batch_size, state.step, settings, device))
    began = time.monotonic() - state.seconds
    saved_at = time.monotonic()
    waited = 0.0

    def save() -> None:
        log.flush()
        save_checkpoint(run / LAST, _content(state, network, optimizer, average, scaler))

    with _stop_signals() as stopped, Progress("training", _total(settings, last_step), interval_seconds=30) as progress:
        network.train()
        first_step, loop_began = state.step, time.monotonic()
        while not _finished(state, settings, last_step):
            done = _progress(state, settings, last_step)
            rate = learning_rate(settings, step=state.step, progress=done)
            for group in optimizer.param_groups:
                group["lr"] = rate

            wait_began = time.monotonic()
            image, target = next(batches)
            waited += time.monotonic() - wait_began
            image = to_memory_format(image.to(device, non_blocking=True), plan.channels_last, dimensions)
            target = target.to(device, non_blocking=True)

            with autocast(plan.precision, device):
                output = compiled(image)
            loss = detector.loss(output, target)
            norm = _update(loss, network, optimizer, scaler, settings, state)
            state.step += 1
            if average is not None and state.skipped_in_a_row == 0:
                average.update(network, state.step)
            state.seconds = time.monotonic() - began

            lasted = time.monotonic() - loop_began
            row: dict[str, Any] = {
                "step": state.step, "epoch": (state.step - 1) // plan.steps_per_epoch, "loss": float(loss.detach()),
                "lr": rate, "grad_norm": norm, "skipped": state.skipped, "seconds": round(state.seconds, 3),
                "samples_per_second": round((state.step - first_step) * plan.batch_size / lasted, 2),
                "wait_share": round(waited / lasted, 4),
            }  # fmt: skip
            if validate is not None and _validation_due(state, settings, plan, last_step):
                weights = average.state if average is not None else network.state_dict()
                _validate(validate, weights, state, row)
                network.train()
                state.seconds = time.monotonic() - began
                state.validated_at = state.seconds
            log.write(row)
            note = f"loss {row['loss']:.3f} {row['samples_per_second']:.1f} samples/s waiting {row['wait_share']:.0%}"
            if state.best > -math.inf:
                note += f" best {state.best:.3f}"
            progress.update(_done(state, settings), note=note)
            if time.monotonic() - saved_at >= settings.checkpoint_seconds or stopped():
                save()
                saved_at = time.monotonic()
            if stopped():
                log.close()
                raise Interrupted(f"stopped after step {state.step}; go on with --resume")
    if not state.best_weights:
        source = average.state if average is not None else network.state_dict()
        state.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in source.items()}
    save()
    log.close()
    return state


def _update(
    loss: torch.Tensor,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    settings: TrainingSettings,
    state: TrainingState,
) -> float:
    """One optimiser step; a loss or gradient that is not finite skips it, and too many in a row end it."""
    optimizer.zero_grad(set_to_none=True)
    norm = math.nan
    if torch.isfinite(loss):
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        limit = settings.gradient_clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(network.parameters(), limit))
        scaler.step(optimizer) if scaler.is_enabled() or math.isfinite(norm) else None
        scaler.update()
    if math.isfinite(norm):
        state.skipped_in_a_row = 0
        return norm
    state.skipped += 1
    state.skipped_in_a_row += 1
    if state.skipped_in_a_row >= settings.max_bad_steps:
        raise MedsegError(
            f"the loss was not finite in {state.skipped_in_a_row} steps in a row up to step {state.step + 1}: "
            "lower training.learning_rate, or look for odd grey values in the images"
        )
    return norm


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
    if result.value >= state.best or state.best == -math.inf:  # while nothing is measured: the latest
        state.best = result.value if math.isfinite(result.value) else state.best
        state.best_weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


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
    return _progress(state, settings, last_step) >= 1


def _total(settings: TrainingSettings, last_step: int | None) -> int:
    return last_step if last_step else round((settings.max_minutes or 0) * 60)


def _done(state: TrainingState, settings: TrainingSettings) -> int:
    by_step = settings.max_steps or settings.max_epochs
    return state.step if by_step else round(state.seconds)


def _loader(
    samples: TrainingSamples, batch_size: int, first_step: int, settings: TrainingSettings, device: torch.device
) -> DataLoader:
    """Batches from `first_step` on; sample numbers go on where the checkpoint stopped."""
    workers = max(1, (os.cpu_count() or 2) // 2) if settings.workers is None else settings.workers
    return DataLoader(
        samples,
        batch_size=batch_size,
        sampler=range(first_step * batch_size, len(samples)),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=_quiet_worker,
        generator=torch.Generator().manual_seed(0),  # leaves the global state alone; samples have seeds of their own
    )


def _quiet_worker(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides what Ctrl-C means


def _content(
    state: TrainingState,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
    scaler: torch.amp.GradScaler,
) -> dict[str, Any]:
    return {
        "format": 1,
        "state": {name: getattr(state, name) for name in TrainingState.__slots__},
        "weights": network.state_dict(),
        "average": average.state if average is not None else {},
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore(
    run: Path,
    state: TrainingState,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: AveragedWeights | None,
    scaler: torch.amp.GradScaler,
) -> None:
    content = load_checkpoint(run / LAST)
    try:
        network.load_state_dict(content["weights"])
        optimizer.load_state_dict(content["optimizer"])
        scaler.load_state_dict(content["scaler"])
        for name, value in content["state"].items():
            setattr(state, name, value)
        if average is not None:
            for name, tensor in content["average"].items():
                average.state[name].copy_(tensor)
        torch.set_rng_state(content["random"])
        if content["random_cuda"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(content["random_cuda"])
    except (KeyError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{run / LAST}: does not fit this run's pipeline ({type(error).__name__})") from error


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a flag that is looked at between steps; a second SIGINT interrupts."""
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: the caller handles signals
        before = {}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
