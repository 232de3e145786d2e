"""Precision, memory format and compilation, chosen by measurement."""

import logging
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, cast

import torch
from torch import nn

from medseg.planning.plan import Plan
from medseg.training.settings import TrainingSettings

__all__ = ["autocast", "choose_compilation", "choose_execution", "to_memory_format"]

logger = logging.getLogger(__name__)
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
WORTH = 0.97  # a variant must be at least this much faster, or the simpler one stays
COMPILE_AFTER = {"cpu": 1800.0, "cuda": 600.0}  # seconds of training from which compiling (half a minute) is tried

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def autocast(precision: str, device: torch.device) -> Any:
    """Context in which a network runs in `precision`."""
    return torch.autocast(device.type, DTYPES[precision]) if precision in DTYPES else nullcontext()


def to_memory_format(tensor_or_module: Any, channels_last: bool | None, dimensions: int) -> Any:
    """Bring a tensor or a module to the channels-last memory format; False leaves it, None makes it ordinary."""
    if channels_last is None:
        return tensor_or_module.to(memory_format=torch.contiguous_format)
    if not channels_last:
        return tensor_or_module
    return tensor_or_module.to(memory_format=torch.channels_last if dimensions == 2 else torch.channels_last_3d)


def choose_execution(
    network: nn.Module, loss: Loss, batch: tuple[torch.Tensor, torch.Tensor], plan: Plan, settings: TrainingSettings
) -> Plan:
    """Measure the variants that `settings` leave open on a real batch, and put the fastest into the plan.

    The network's weights and buffers are as before when this returns.
    """
    device = next(network.parameters()).device
    if settings.deterministic:
        return plan.with_choice("deterministic mode", precision="float32", channels_last=False, compiled=False)
    lower = ["bfloat16"] if device.type == "cpu" or torch.cuda.is_bf16_supported() else ["float16"]
    precisions = ["float32", *lower] if settings.precision == "auto" else [settings.precision]
    formats = {"auto": [False, True], "on": [True], "off": [False]}[settings.channels_last]
    saved = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    was_training = network.training
    seconds: dict[tuple[str, bool], float] = {}
    try:
        network.train()
        for precision in precisions:
            for channels_last in formats:
                seconds[precision, channels_last] = _step_seconds(
                    network, loss, batch, precision, channels_last, device
                )
    finally:
        network.load_state_dict(saved)
        to_memory_format(network, None, batch[0].ndim - 2)
        network.train(was_training)
        network.zero_grad(set_to_none=True)
    best = min(seconds, key=lambda key: seconds[key])
    for simpler in seconds:  # in order of simplicity
        if seconds[best] > WORTH * seconds[simpler]:
            best = simpler
            break
    table = ", ".join(f"{p}{' channels-last' if c else ''} {s:.3f} s" for (p, c), s in seconds.items())
    plan = plan.with_choice(f"measured seconds a step: {table}", precision=best[0], channels_last=best[1])
    return plan.with_choice("measured", step_seconds=round(seconds[best], 4))


def _step_seconds(
    network: nn.Module,
    loss: Loss,
    batch: tuple[torch.Tensor, torch.Tensor],
    precision: str,
    channels_last: bool,
    device: torch.device,
    *,
    budget_seconds: float = 4.0,
) -> float:
    dimensions = batch[0].ndim - 2
    to_memory_format(network, None, dimensions)
    to_memory_format(network, channels_last, dimensions)
    image = to_memory_format(batch[0].to(device), channels_last, dimensions)
    target = batch[1].to(device)
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < 2 or (len(times) < 6 and time.perf_counter() - began < budget_seconds):
        if device.type == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        with autocast(precision, device):
            output = network(image)
        loss(output, target).backward()
        network.zero_grad(set_to_none=True)
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def choose_compilation(
    network: nn.Module, loss: Loss, batch: tuple[torch.Tensor, torch.Tensor], plan: Plan, settings: TrainingSettings
) -> Plan:
    """Compile the network for the chosen precision and memory format, and keep that where it is faster.

    Without a C++ compiler, or where compilation fails, the plan stays uncompiled and says so.
    """
    device = next(network.parameters()).device
    if settings.compile == "off" or settings.deterministic or not plan.step_seconds:
        return plan.with_choice("switched off" if settings.compile == "off" else "deterministic mode", compiled=False)
    steps = settings.max_steps or (settings.max_epochs or 0) * plan.steps_per_epoch
    lasts = max((settings.max_minutes or 0) * 60, steps * plan.step_seconds)
    enough = COMPILE_AFTER.get(device.type, COMPILE_AFTER["cuda"])
    if settings.compile == "auto" and lasts < enough:
        return plan.with_choice(
            f"about {lasts:.0f} s of training: tried from {enough:.0f} s on, to repay compilation", compiled=False
        )
    saved = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    began = time.perf_counter()
    try:
        compiled = cast(nn.Module, torch.compile(network))
        seconds = _step_seconds(compiled, loss, batch, plan.precision, plan.channels_last, device)
    except Exception as error:  # inductor fails in many ways: no compiler, an operation it cannot lower
        return plan.with_choice(f"failed ({type(error).__name__}), so the network runs as it is", compiled=False)
    finally:
        network.load_state_dict(saved)
        network.zero_grad(set_to_none=True)
    faster = seconds < WORTH * plan.step_seconds
    reason = (
        f"measured {seconds:.3f} s a step against {plan.step_seconds:.3f} s, "
        f"after {time.perf_counter() - began:.0f} s of compilation and measurement"
    )
    return plan.with_choice(reason, compiled=faster or settings.compile == "on")
