"""Statistics of what is normalised together, over all ranks, and the gradient through them."""

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from medseg.parallel.layout import Layout
from medseg.parallel.operations.precision import LOW
from medseg.parallel.rows import memory_format
from medseg.parallel.space import Place, Space, plain

__all__ = ["Groups", "normalise"]


@dataclass(frozen=True, slots=True)
class Groups:
    """What shares a mean and a variance.

    Parameters
    ----------
    over_batch : bool
        All images of a batch share them (batch normalisation).
    groups : int
        Groups of channels that share them, each `channels` / `groups` wide.
    count : int
        Elements that share them, over all ranks.
    axes : tuple of int
        Mesh axes over which these elements are divided.
    """

    over_batch: bool
    channels: int
    groups: int
    count: int
    axes: tuple[int, ...]
    eps: float

    def lines(self, x: torch.Tensor) -> torch.Tensor:
        """View as (batch, line, ...) with a mean for each line: a channel, or a channel of one image."""
        if self.over_batch or x.shape[0] == 1:
            return x
        return x.reshape(1, x.shape[0] * self.channels, prod(x.shape[2:]))

    def by_group(self, lines: torch.Tensor) -> torch.Tensor:
        """Sum what belongs to the lines, shape (..., line), over the lines of a group: (..., group)."""
        return lines.reshape(*lines.shape[:-1], -1, self.channels // self.groups).sum(-1)

    def to_lines(self, groups: torch.Tensor) -> torch.Tensor:
        """Spread what belongs to the groups to their lines."""
        return groups.repeat_interleave(self.channels // self.groups, -1)

    def weights(self, weight: torch.Tensor | None, lines: int) -> torch.Tensor | None:
        """Weight of each line, in full precision."""
        if weight is None:
            return None
        wide = weight if weight.dtype == torch.float64 else weight.float()
        return wide.repeat(lines // self.channels)

    def statistics(self, place: Place, x: torch.Tensor) -> torch.Tensor:
        """Count, mean and sum of squared deviations of each line of this rank's part, float64 (3, line)."""
        lines = self.lines(x)
        n = lines.shape[0] * prod(lines.shape[2:])
        if n == 0:
            return torch.zeros(3, lines.shape[1], dtype=torch.float64, device=x.device)
        wide = lines if lines.dtype in (torch.float32, torch.float64) else lines.float()
        mean, variance = torch.batch_norm_update_stats(wide, None, None, 0.0)  # faster than var_mean
        return torch.stack([torch.full_like(mean, n), mean, variance * n]).double()

    def combine(self, parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and variance of each line from the statistics of all ranks, shape (rank, 3, line).

        The parallel rule of Chan, Golub and LeVeque (1983), doi:10.1080/00031305.1983.10483115.
        """
        count, mean, squares = parts.unbind(1)
        shared = self.by_group((count * mean).sum(0)) / self.count
        spread = squares.sum(0) + (count * (mean - self.to_lines(shared)) ** 2).sum(0)
        return self.to_lines(shared), self.to_lines(self.by_group(spread) / self.count)


def normalise(
    space: Space, groups: Groups, layout: Layout, x: torch.Tensor, weight: Any, bias: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Normalise by the statistics of the whole; return them, too: mean and variance of each line."""
    return _Normalise.apply(space, groups, layout, x, weight, bias)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, space: Space, groups: Groups, layout: Layout, x: torch.Tensor, weight: Any, bias: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        parts = space.collect(groups.statistics, x, axes=groups.axes)
        mean, variance = groups.combine(parts)
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        mean, variance = mean.to(kind), variance.to(kind)
        ctx.space, ctx.groups, ctx.layout = space, groups, layout
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.mark_non_differentiable(mean, variance)
        out = space.parts(partial(_apply, groups), x, mean, variance, weight, bias, layout=layout)
        return out, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0]
        x, weight, mean, variance = ctx.saved_tensors
        groups, space = ctx.groups, ctx.space
        with plain(), torch.no_grad():
            # (2, line): sums of dy and of dy * normalised x; those of this process are its share of the gradients
            own = space.collect(partial(_sums, groups), gradient, x, mean, variance, axes=()).double().sum(0)
            total = space.summed(own, axes=groups.axes)
            of_x = None
            if ctx.needs_input_grad[3]:
                scale, shift = _corrections(groups, total, mean, variance, weight)
                work = partial(_of_input, groups)
                of_x = space.parts(work, gradient, x, mean, variance, weight, scale, shift, layout=ctx.layout)
            of_weight = of_bias = None
            if weight is not None:  # torch gives both or none
                of_bias, of_weight = own.reshape(2, -1, groups.channels).sum(1).to(weight.dtype)
        return None, None, None, of_x, of_weight, of_bias if ctx.needs_input_grad[5] else None


def _apply(
    groups: Groups, place: Place, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: Any, bias: Any
) -> torch.Tensor:
    if x.numel() == 0:
        return torch.empty_like(x)
    lines = groups.lines(x)
    n = lines.shape[1]
    scale, shift = groups.weights(weight, n), groups.weights(bias, n)
    out = torch.ops.aten.native_batch_norm(lines, scale, shift, mean, variance, False, 0.0, groups.eps)[0]
    out = out.reshape(x.shape).contiguous(memory_format=memory_format(x))
    return out.data  # not a view, so that an activation may change it in place


def _sums(
    groups: Groups, place: Place, gradient: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
) -> torch.Tensor:
    """Sum of dy and of dy times normalised x for each line of this rank's part: (2, line)."""
    if x.numel() == 0:
        return torch.zeros(2, mean.shape[0], dtype=mean.dtype, device=x.device)
    _, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
        groups.lines(gradient), groups.lines(x), torch.ones_like(mean), mean, variance, None, None, False,
        groups.eps, [False, True, True],
    )  # fmt: skip
    return torch.stack([of_bias, of_weight])


def _corrections(
    groups: Groups, total: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor of x and constant of the gradient of the input, for each line.

    dx = r (w dy - mean(w dy) - n mean(w dy n)), where n is the normalised x and r = 1 / sqrt(variance + eps); the means
    are over what shares the statistics. The first term is per voxel; the others are ``scale * x + shift``.
    """
    scales = groups.weights(weight, total.shape[1])
    weighted = total if scales is None else total * scales.double()
    means = groups.to_lines(groups.by_group(weighted)) / groups.count
    inverse = (variance.double() + groups.eps).rsqrt()
    scale = -(inverse**2) * means[1]
    shift = -inverse * means[0] - scale * mean.double()
    return scale.to(mean.dtype), shift.to(mean.dtype)


def _of_input(
    groups: Groups, place: Place, gradient: torch.Tensor, x: torch.Tensor, mean: torch.Tensor,
    variance: torch.Tensor, weight: Any, scale: torch.Tensor, shift: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    if x.numel() == 0:
        return torch.zeros_like(x)
    lines = groups.lines(x)
    n = lines.shape[1]
    factor, scales = (variance + groups.eps).rsqrt(), groups.weights(weight, n)
    if scales is not None:
        factor = factor * scales
    shape = (1, n, *(1,) * (lines.ndim - 2))
    kind = torch.float32 if x.dtype in LOW else x.dtype  # a shift of low precision is an error that adds up
    scale, shift, factor = (one.to(kind).reshape(shape) for one in (scale, shift, factor))
    out = torch.addcmul(shift, lines, scale)
    out.addcmul_(groups.lines(gradient), factor)
    return out.reshape(x.shape).to(x.dtype)
