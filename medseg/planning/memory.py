"""Memory and work of a training step and of a prediction, found without doing them.

The network, the loss, the optimiser and the averaged weights run on fake tensors, which have sizes but no content, so
an estimate takes seconds whatever the size.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeCopyMode, FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from medseg.planning.live import LiveBytes
from medseg.training.optimisation import AveragedWeights

__all__ = ["MemoryEstimate", "estimate_memory"]

Optimizer = torch.optim.Optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes of live tensors at the worst moment, and floating-point operations.

    A multiplication with an addition counts as two operations; convolutions and matrix products are counted.
    """

    weights_bytes: int  # with buffers, and the averaged weights
    gradient_bytes: int
    optimizer_bytes: int
    training_bytes: int  # all of a step: the above, images, targets, activations, temporaries
    inference_bytes: int
    training_flops: int
    inference_flops: int

    @property
    def state_bytes(self) -> int:
        """What stays whatever the batch: weights, gradients, optimiser state."""
        return self.weights_bytes + self.gradient_bytes + self.optimizer_bytes


def estimate_memory(
    network: nn.Module | Callable[[], nn.Module],
    loss: Callable[[Any, torch.Tensor], torch.Tensor],
    *,
    image_shape: Sequence[int],
    target_shape: Sequence[int],
    target_dtype: torch.dtype = torch.float32,
    window_shape: Sequence[int] | None = None,
    activate: Callable[[Any], Any] = lambda output: output,
    precision: str = "float32",
    optimizer: Callable[[nn.Module], Optimizer] | None = None,
    averaged: bool = False,
    foreach: bool = False,
) -> MemoryEstimate:
    """Estimate the peak of live tensor bytes of a training step and of a prediction.

    Parameters
    ----------
    network : Module or function that builds one
        On the CPU; a module is copied, and neither runs nor changes.
    loss : function
        Of the network's output (of all its outputs with deep supervision) and the target.
    image_shape, target_shape : sequence of int
        (batch, channel, *spatial) of what a step is given.
    window_shape : sequence of int, optional
        The same of a prediction; by default `image_shape`.
    activate : function
        What a prediction does with the network's output.
    precision : {'float32', 'bfloat16', 'float16'}
        Other than float32 under autocast.
    optimizer : function, optional
        Makes the optimiser of a network; without one a step ends with the gradients.
    averaged : bool
        Whether a running average of the weights is kept.
    foreach : bool
        Whether the optimiser takes all tensors at a time, as on a GPU, with temporaries of their size.

    Notes
    -----
    What kernels allocate and free inside one operation (workspaces of cuDNN and oneDNN), fragmentation, batches
    prepared ahead and the whole images of a prediction are not in it.
    """
    fake = FakeTensorMode()
    if isinstance(network, nn.Module):
        with FakeCopyMode(fake):
            module = copy.deepcopy(network)
        build: Callable[[], nn.Module] = lambda: module  # noqa: E731
    else:
        build = network
    with fake:
        step = _Step(build().train(), optimizer, averaged=averaged, foreach=foreach)
        image, target = torch.empty(*image_shape), torch.zeros(*target_shape, dtype=target_dtype)
        with FlopCounterMode(display=False) as training_flops, LiveBytes() as training:
            training.hold(*step.tensors(), image, target)
            step.run(loss, image, target, precision)
        del image, target
        network = step.network.eval()
        windows = torch.empty(*(window_shape or image_shape))
        with FlopCounterMode(display=False) as inference_flops, LiveBytes() as inference, torch.no_grad():
            inference.hold(*network.state_dict().values(), windows)
            with _autocast(precision):
                output = network(windows)
            activate(output)
        return MemoryEstimate(
            weights_bytes=_bytes(network.state_dict().values()) + _bytes(step.average),
            gradient_bytes=_bytes(p for p in network.parameters() if p.requires_grad),
            optimizer_bytes=_bytes(step.moments()),
            training_bytes=training.peak,
            inference_bytes=inference.peak,
            training_flops=training_flops.get_total_flops(),
            inference_flops=inference_flops.get_total_flops(),
        )


class _Step:
    """A training step that is not the first: the optimiser has its state, gradients of the last step are there."""

    def __init__(
        self, network: nn.Module, optimizer: Callable[[nn.Module], Optimizer] | None, *, averaged: bool, foreach: bool
    ) -> None:
        self.network, self._foreach = network, foreach
        self._average = AveragedWeights(network, 0.99) if averaged else None
        self._optimizer = optimizer(network) if optimizer is not None else None
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        if self._optimizer is not None:
            for group in self._optimizer.param_groups:
                group["foreach"] = foreach
            self._optimizer.step()

    @property
    def average(self) -> list[torch.Tensor]:
        """The averaged weights."""
        return list(self._average.state.values()) if self._average is not None else []

    def moments(self) -> list[torch.Tensor]:
        """The state of the optimiser."""
        states = self._optimizer.state.values() if self._optimizer is not None else ()
        return [value for state in states for value in state.values() if isinstance(value, torch.Tensor)]

    def tensors(self) -> list[torch.Tensor]:
        """All that stays from step to step."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return [*self.network.state_dict().values(), *gradients, *self.average, *self.moments()]

    def run(self, loss: Callable[..., torch.Tensor], image: torch.Tensor, target: torch.Tensor, precision: str) -> None:
        """Do what `medseg.training.learner.Learner` does in a step, in the same order."""
        with _autocast(precision):
            output = self.network(image)
        value = loss(output, target)
        del output  # in training, local to the function that gives the loss
        self.network.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0, foreach=self._foreach)
        if self._optimizer is not None:
            self._optimizer.step()
        if self._average is not None:
            self._average.update(self.network, 2)


def _autocast(precision: str) -> torch.autocast:
    return torch.autocast("cpu", getattr(torch, precision) if precision != "float32" else None,
                          enabled=precision != "float32")  # fmt: skip


def _bytes(tensors: Any) -> int:
    return sum(tensor.nbytes for tensor in tensors)
