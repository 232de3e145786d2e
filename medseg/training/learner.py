"""What learns: network, optimiser, averaged weights, and one step of them."""

import math
from typing import Any

import torch
from torch import nn

from medseg.detectors.base import Detector
from medseg.errors import LESS_MEMORY, CheckpointError, MedsegError, is_out_of_memory
from medseg.parallel.team import Team
from medseg.planning.plan import Plan
from medseg.training.measure import autocast, to_memory_format
from medseg.training.optimisation import AveragedWeights, build_optimizer
from medseg.training.settings import TrainingSettings

__all__ = ["Learner"]


class Learner:
    """A network with what changes it.

    Parameters
    ----------
    network : Module
        Trained in place.
    team : Team
        The processes that learn together.
    context : context manager
        In which the network runs on what is spread.
    """

    def __init__(
        self, network: nn.Module, detector: Detector, plan: Plan, settings: TrainingSettings, team: Team, context: Any
    ) -> None:
        self.network, self.device = network, next(network.parameters()).device
        self._detector, self._plan, self._settings, self._team, self._context = detector, plan, settings, team, context
        self._dimensions = len(plan.patch_size)
        to_memory_format(network, plan.channels_last, self._dimensions)
        self._compiled = torch.compile(network) if plan.compiled and not team.spreads else network
        self._optimizer = build_optimizer(network, settings)
        self._average = AveragedWeights(network, settings.ema_decay) if settings.ema_decay else None
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "float16")

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """The weights to validate and to keep: averaged ones where there are."""
        return self._average.state if self._average is not None else self.network.state_dict()

    def step(self, image: torch.Tensor, target: torch.Tensor, *, rate: float, number: int) -> tuple[float, float]:
        """Learn from one batch; a loss or gradient that is not finite changes nothing.

        Parameters
        ----------
        number : int
            Number of the step, from 1, for the averaged weights.

        Returns
        -------
        loss, norm : float
            Over all processes; norm of the gradient, NaN where the step was left out.

        Raises
        ------
        MedsegError
            When the memory is used up.
        """
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = self._loss(image, target)
            norm = self._update(loss)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise MedsegError(f"memory is used up in step {number}: {LESS_MEMORY}") from error
        if math.isfinite(norm) and self._average is not None:
            self._average.update(self.network, number)
        return self._team.mean(float(loss.detach())), norm

    def _loss(self, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if not self._team.spreads:
            image = to_memory_format(image, self._plan.channels_last, self._dimensions)
        with self._context:
            with autocast(self._plan.precision, self.device):
                output = self._compiled(image)
            return self._detector.loss(output, target)

    def _update(self, loss: torch.Tensor) -> float:
        self._optimizer.zero_grad(set_to_none=True)
        if self._team.any(not torch.isfinite(loss)):
            return math.nan
        self._scaler.scale(loss * self._team.share).backward()
        self._team.reduce_gradients(self.network)
        self._scaler.unscale_(self._optimizer)
        limit = self._settings.gradient_clip or math.inf
        norm = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        if self._scaler.is_enabled() or math.isfinite(norm):
            self._scaler.step(self._optimizer)
        self._scaler.update()
        return norm if math.isfinite(norm) else math.nan

    def content(self) -> dict[str, Any]:
        """Everything that a checkpoint needs."""
        return {
            "weights": self.network.state_dict(),
            "average": self._average.state if self._average is not None else {},
            "optimizer": self._optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "random": torch.get_rng_state(),
            "random_cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Go back to what a checkpoint says.

        Raises
        ------
        CheckpointError
            When it belongs to another network.
        """
        try:
            self.network.load_state_dict(content["weights"])
            self._optimizer.load_state_dict(content["optimizer"])
            self._scaler.load_state_dict(content["scaler"])
            if self._average is not None:
                for name, tensor in content["average"].items():
                    self._average.state[name].copy_(tensor)
            torch.set_rng_state(content["random"])
            if content["random_cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(content["random_cuda"])
        except (KeyError, RuntimeError, ValueError, AttributeError) as error:
            raise CheckpointError(f"does not fit this run's pipeline ({type(error).__name__})") from error
