"""Batch, instance, group and layer normalisation with the statistics of the whole tensor."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from medseg.parallel.layout import Layout
from medseg.parallel.operations.pointwise import pointwise
from medseg.parallel.operations.precision import LOW, type_of_result
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.rows import memory_format, nothing
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place, Space, plain

__all__ = ["table"]


@dataclass(frozen=True, slots=True)
class _Groups:
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


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, space: Space, groups: _Groups, layout: Layout, x: torch.Tensor, weight: Any, bias: Any
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
    groups: _Groups, place: Place, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: Any, bias: Any
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
    groups: _Groups, place: Place, gradient: torch.Tensor, x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor
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
    groups: _Groups, total: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor, weight: Any
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
    groups: _Groups, place: Place, gradient: torch.Tensor, x: torch.Tensor, mean: torch.Tensor,
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


def _check_channels(sharding: Sharding, x: torch.Tensor, *given: torch.Tensor | None) -> None:
    """Every rank finds a wrong number of channels, also one without rows, which would wait for the others."""
    channels = sharding.shape(x)[1]
    for one in given:
        if one is not None and one.numel() != channels:
            raise ValueError(f"{one.numel()} weights or statistics for {channels} channels")


def _run(
    sharding: Sharding, x: torch.Tensor, weight: Any, bias: Any, groups: _Groups
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    layout = sharding.layout(x)
    if weight is None and bias is not None:
        raise Unsupported("a bias without a weight")
    out, mean, variance = _Normalise.apply(sharding.space, groups, layout, x, weight, bias)
    return sharding.tag(out, layout), mean, variance


def _uncut(sharding: Sharding, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Gather along the dimensions of `dims` that are cut."""
    layout = sharding.layout(x)
    target = layout
    for dim in dims:
        if dim in layout.dims:
            target = target.replace(layout.dims[dim], None)
    return sharding.moved(x, target)


def _make_groups(sharding: Sharding, x: torch.Tensor, *, over_batch: bool, groups: int | None, eps: float) -> _Groups:
    layout, whole = sharding.layout(x), sharding.shape(x)
    groups = whole[1] if groups is None else groups
    if whole[1] % groups:
        raise ValueError(f"{whole[1]} channels cannot be divided into {groups} groups")
    axes = tuple(axis for dim, axis in layout.dims.items() if dim >= 2 or over_batch)
    count = prod(whole[2:]) * (whole[0] if over_batch else 1) * (whole[1] // groups)
    return _Groups(over_batch, whole[1], groups, count, axes, eps)


def _batch_norm(
    sharding: Sharding,
    input: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    x = _uncut(sharding, input, (1,))
    _check_channels(sharding, x, running_mean, running_var, weight, bias)
    if not training:
        return _with_given(sharding, x, running_mean, running_var, weight, bias, eps)
    groups = _make_groups(sharding, x, over_batch=True, groups=None, eps=eps)
    if groups.count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {sharding.shape(x)}")
    out, mean, variance = _run(sharding, x, weight, bias, groups)
    _follow(running_mean, running_var, mean, variance * (groups.count / (groups.count - 1)), momentum)
    return out


def _follow(running_mean: Any, running_var: Any, mean: torch.Tensor, variance: torch.Tensor, momentum: float) -> None:
    """Move running statistics, the same on every rank, towards those of this batch (torch: unbiased variance)."""
    if running_mean is not None:
        running_mean.lerp_(mean.detach().to(running_mean.dtype), momentum)
    if running_var is not None:
        running_var.lerp_(variance.detach().to(running_var.dtype), momentum)


def _with_given(
    sharding: Sharding, x: torch.Tensor, mean: Any, variance: Any, weight: Any, bias: Any, eps: float
) -> torch.Tensor:
    layout = sharding.layout(x)
    given = [mean, variance, *(one for one in (weight, bias) if one is not None)]

    def local(place: Place, part: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        affine = list(others[2:])
        scale = affine.pop(0) if weight is not None else None
        shift = affine.pop(0) if bias is not None else None
        return torch.batch_norm(part, scale, shift, others[0], others[1], False, 0.0, eps, False)

    return sharding.tag(sharding.space.map(local, x, *given, layout=layout), layout)


def _instance_norm(
    sharding: Sharding,
    input: torch.Tensor,
    running_mean: torch.Tensor | None = None,
    running_var: torch.Tensor | None = None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor:
    x = _uncut(sharding, input, (1,))
    _check_channels(sharding, x, running_mean, running_var, weight, bias)
    if not use_input_stats:
        return _with_given(sharding, x, running_mean, running_var, weight, bias, eps)
    groups = _make_groups(sharding, x, over_batch=False, groups=None, eps=eps)
    if groups.count == 1:
        raise ValueError(
            f"Expected more than 1 spatial element when training, got input size {tuple(sharding.shape(x))}"
        )
    tracked = running_mean is not None or running_var is not None
    if not groups.axes and not tracked:
        return _here(sharding, torch.nn.functional.instance_norm, x, weight, bias, eps=eps)
    out, mean, variance = _run(sharding, x, weight, bias, groups)
    if tracked:
        if 0 in sharding.layout(x).dims:
            raise Unsupported("running statistics of instance normalisation where the batch is cut")
        unbiased = variance * (groups.count / (groups.count - 1))
        means, variances = mean.reshape(-1, groups.channels).mean(0), unbiased.reshape(-1, groups.channels).mean(0)
        _follow(running_mean, running_var, means, variances, momentum)
    return out


def _group_norm(
    sharding: Sharding,
    input: torch.Tensor,
    num_groups: int,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> torch.Tensor:
    x = _uncut(sharding, input, (1,))
    _check_channels(sharding, x, weight, bias)
    groups = _make_groups(sharding, x, over_batch=False, groups=num_groups, eps=eps)
    norm = partial(torch.nn.functional.group_norm, num_groups=num_groups)
    x = sharding.run(torch.Tensor.to, x, type_of_result(norm, x, (1, sharding.shape(x)[1], 2)))
    if not groups.axes:
        return _here(sharding, norm, x, weight, bias, eps=eps)
    return _run(sharding, x, weight, bias, groups)[0]


def _here(sharding: Sharding, func: Any, x: torch.Tensor, weight: Any, bias: Any, *, eps: float) -> torch.Tensor:
    """Normalise where every rank has all that shares statistics."""
    layout = sharding.layout(x)
    affine = [one for one in (weight, bias) if one is not None]

    def local(place: Place, part: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        rest = list(others)
        scale = rest.pop(0) if weight is not None else None
        shift = rest.pop(0) if bias is not None else None
        return func(part, weight=scale, bias=shift, eps=eps) if part.numel() else nothing(part.shape, part, *others)

    return sharding.tag(sharding.space.map(local, x, *affine, layout=layout), layout)


def _over_last(func: Any, sharding: Sharding, input: torch.Tensor, normalized_shape: Any, *args: Any, **kw: Any) -> Any:
    """Layer and RMS normalisation over the last dimensions, which must not be cut: gathered where they are."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    x = _uncut(sharding, input, range(input.ndim - len(shape), input.ndim))
    layout, weights = sharding.layout(x), [one for one in (*args[:2], *kw.values()) if isinstance(one, torch.Tensor)]

    def local(place: Place, part: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        rest = list(others)
        filled = [rest.pop(0) if isinstance(one, torch.Tensor) else one for one in args]
        named = {name: rest.pop(0) if isinstance(one, torch.Tensor) else one for name, one in kw.items()}
        return func(part, shape, *filled, **named)

    return sharding.tag(sharding.space.map(local, x, *weights, layout=layout), layout)


def _over_channels(func: Any, sharding: Sharding, input: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Work along the channels alone, such as local response normalisation."""
    return pointwise(func, sharding, _uncut(sharding, input, (1,)), *args, **kwargs)


def table() -> Table:
    """Normalisations."""
    entries: Table = {}
    entries |= dict.fromkeys([torch.nn.functional.batch_norm], _batch_norm)
    entries |= dict.fromkeys([torch.nn.functional.instance_norm], _instance_norm)
    entries |= dict.fromkeys(functions("group_norm"), _group_norm)
    entries |= {func: partial(_over_last, func) for func in functions("layer_norm rms_norm")}
    entries |= {func: partial(_over_channels, func) for func in functions("local_response_norm")}
    return entries
