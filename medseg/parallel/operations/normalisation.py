"""Batch, instance, group and layer normalisation with the statistics of the whole tensor."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch

from medseg.parallel.operations.pointwise import pointwise
from medseg.parallel.operations.precision import type_of_result
from medseg.parallel.operations.statistics import Groups, normalise
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.rows import nothing
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]


def _check_channels(sharding: Sharding, x: torch.Tensor, *given: torch.Tensor | None) -> None:
    """Every rank finds a wrong number of channels, also one without rows, which would wait for the others."""
    channels = sharding.shape(x)[1]
    for one in given:
        if one is not None and one.numel() != channels:
            raise ValueError(f"{one.numel()} weights or statistics for {channels} channels")


def _run(
    sharding: Sharding, x: torch.Tensor, weight: Any, bias: Any, groups: Groups
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    layout = sharding.layout(x)
    if weight is None and bias is not None:
        raise Unsupported("a bias without a weight")
    out, mean, variance = normalise(sharding.space, groups, layout, x, weight, bias)
    return sharding.tag(out, layout), mean, variance


def _uncut(sharding: Sharding, x: torch.Tensor, dims: Sequence[int]) -> torch.Tensor:
    """Gather along the dimensions of `dims` that are cut."""
    layout = sharding.layout(x)
    target = layout
    for dim in dims:
        if dim in layout.dims:
            target = target.replace(layout.dims[dim], None)
    return sharding.moved(x, target)


def _make_groups(sharding: Sharding, x: torch.Tensor, *, over_batch: bool, groups: int | None, eps: float) -> Groups:
    layout, whole = sharding.layout(x), sharding.shape(x)
    groups = whole[1] if groups is None else groups
    if whole[1] % groups:
        raise ValueError(f"{whole[1]} channels cannot be divided into {groups} groups")
    axes = tuple(axis for dim, axis in layout.dims.items() if dim >= 2 or over_batch)
    count = prod(whole[2:]) * (whole[0] if over_batch else 1) * (whole[1] // groups)
    return Groups(over_batch, whole[1], groups, count, axes, eps)


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
