"""Optimiser, learning-rate schedule, averaged weights."""

import math

import torch
from torch import nn

from medseg.training.settings import TrainingSettings

__all__ = ["AveragedWeights", "build_optimizer", "learning_rate"]


def build_optimizer(network: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    """Build the optimiser; norms and biases (vectors) are not decayed."""
    matrices = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate)
    return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.99, nesterov=True)


def learning_rate(settings: TrainingSettings, *, step: int, progress: float) -> float:
    """Learning rate of `step` (from 0) when `progress` (0 to 1) of the training is done.

    Examples
    --------
    >>> settings = TrainingSettings(max_steps=100, learning_rate=1.0, warmup_steps=10, schedule="cosine")
    >>> learning_rate(settings, step=4, progress=0.0), round(learning_rate(settings, step=50, progress=0.5), 6)
    (0.5, 0.5)
    """
    progress = min(max(progress, 0.0), 1.0)
    if settings.schedule == "polynomial":
        factor = (1 - progress) ** 0.9
    elif settings.schedule == "cosine":
        factor = 0.5 * (1 + math.cos(math.pi * progress))
    else:
        factor = 1.0
    warm = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    return settings.learning_rate * factor * warm


class AveragedWeights:
    """Exponential moving average of a network's weights and buffers.

    ``average = d * average + (1 - d) * weights`` with ``d = min(decay, (1 + step) / (10 + step))``, so that
    the first steps do not linger.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step`."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, currents = [], []
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                averages.append(self.state[name])
                currents.append(tensor.detach())
            else:
                self.state[name].copy_(tensor)
        torch._foreach_lerp_(averages, currents, 1 - decay)
