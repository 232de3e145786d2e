"""Reductions: over dimensions that are cut, the ranks' results are combined and every rank has the outcome."""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from medseg.parallel.layout import Layout
from medseg.parallel.operations.precision import LOW, type_of_result
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Handler, Sharding, Unsupported
from medseg.parallel.space import Place, Space, plain

__all__ = ["after_reduction", "dims_of", "extreme", "root", "summed", "table", "widened"]

LOWEST = {"amax": -torch.inf, "amin": torch.inf}


def dims_of(x: torch.Tensor, dim: Any) -> tuple[int, ...]:
    """Dimensions that a reduction is asked to be over, counted from 0."""
    if dim is None or (isinstance(dim, tuple | list) and not dim):
        return tuple(range(x.ndim))
    dims = dim if isinstance(dim, tuple | list) else (dim,)
    for one in dims:
        if isinstance(one, str):
            raise Unsupported("named dimensions")
        if not -x.ndim <= one < max(x.ndim, 1):
            raise IndexError(f"dimension {one} out of range for a tensor of {x.ndim} dimensions")
    return tuple(one % max(x.ndim, 1) for one in dims)


def after_reduction(layout: Layout, dims: Sequence[int], *, keepdim: bool) -> tuple[Layout, tuple[int, ...]]:
    """Layout of what a reduction over `dims` leaves, and the mesh axes to combine over."""
    out, axes = layout, []
    for dim, axis in layout.dims.items():
        cut = layout.cuts[axis]
        assert cut is not None
        if dim in dims:
            axes.append(axis)
            out = out.replace(axis, None)
        elif not keepdim:
            out = out.replace(axis, cut.at(dim - sum(one < dim for one in dims)))
    return out, tuple(sorted(axes))


def summed(
    sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    """Sum over dimensions."""
    dims, layout = dims_of(input, dim), sharding.layout(input)
    out, axes = after_reduction(layout, dims, keepdim=keepdim)
    if axes and dtype is None and input.dtype in LOW:  # no rounding before the last sum
        total = summed(sharding, input, dim, keepdim, dtype=torch.float32)
        return sharding.run(torch.Tensor.to, total, type_of_result(torch.sum, input, (1,)))

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        return part.sum(dims, keepdim=keepdim, dtype=dtype) if part.ndim else part.sum(dtype=dtype)

    if not axes:
        return sharding.tag(sharding.space.map(local, input, layout=out), out)
    return sharding.tag(sharding.space.total(local, input, axes=axes, layout=out), out)


def _mean(
    sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    whole = sharding.shape(input)
    count = prod(whole[one] for one in dims_of(input, dim)) if input.ndim else 1
    goal = dtype or (input.dtype if input.is_floating_point() else None)
    wide = torch.float32 if goal in LOW else dtype  # their sums may be too large for them
    mean = sharding.run(torch.div, summed(sharding, input, dim, keepdim, dtype=wide), count)
    return mean if wide is dtype else sharding.run(torch.Tensor.to, mean, goal)


def _variance(
    sharding: Sharding,
    input: torch.Tensor,
    dim: Any = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> torch.Tensor:
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    correction = (1 if unbiased in (None, True) else 0) if correction is None else correction
    count = prod(sharding.shape(input)[one] for one in dims_of(input, dim)) if input.ndim else 1
    x = widened(sharding, input)
    mean = _mean(sharding, x, dim, True)
    squares = sharding.run(torch.square, sharding.run(torch.sub, x, mean))
    variance = sharding.run(torch.div, summed(sharding, squares, dim, keepdim), max(count - correction, 0))
    return variance if x is input else sharding.run(torch.Tensor.to, variance, input.dtype)


def widened(sharding: Sharding, x: torch.Tensor) -> torch.Tensor:
    """At least single precision, in which squares are not too large."""
    return sharding.run(torch.Tensor.float, x) if x.dtype in LOW else x


def root(sharding: Sharding, squares: torch.Tensor) -> torch.Tensor:
    """Square root with the gradient 0 at 0, as torch has it for norms and deviations."""
    zero = sharding.run(torch.eq, squares, 0)
    root = sharding.run(torch.sqrt, sharding.run(torch.masked_fill, squares, zero, 1.0))
    return sharding.run(torch.masked_fill, root, zero, 0.0)


def _deviation(sharding: Sharding, *args: Any, **kwargs: Any) -> torch.Tensor:
    return root(sharding, _variance(sharding, *args, **kwargs))


def _var_mean(sharding: Sharding, input: torch.Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> Any:
    keepdim = kwargs.get("keepdim", args[1] if len(args) > 1 else False)
    mean = _mean(sharding, input, None if isinstance(dim, bool) else dim, keepdim)
    return _variance(sharding, input, dim, *args, **kwargs), mean


def _std_mean(sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    variance, mean = _var_mean(sharding, *args, **kwargs)
    return root(sharding, variance), mean


class _Extreme(torch.autograd.Function):
    """Largest or smallest values over ranks.

    The gradient is divided among equal ones, as in torch's amax, or given to the `first`, as in torch's pooling.
    """

    @staticmethod
    def forward(
        ctx: Any, space: Space, kind: str, dims: tuple[int, ...], axes: tuple[int, ...], layout: Layout, first: bool,
        x: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        found = space.collect(partial(_extreme_here, kind, dims), x, axes=axes)
        out = getattr(found, kind)(0)
        ctx.space, ctx.dims, ctx.axes, ctx.layout, ctx.first = space, dims, axes, layout, first
        ctx.save_for_backward(x, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, out = ctx.saved_tensors
        space = ctx.space
        with plain(), torch.no_grad():
            # every rank has the result, and uses it: its gradient is the sum over them
            total = space.summed(gradients[0], axes=ctx.axes)
            if ctx.first:
                whole = ctx.layout.whole(x.shape, space.place)
                number = partial(_numbers, ctx.layout, whole, ctx.dims)
                number_of_first = space.collect(partial(_first_equal, number, ctx.dims), x, out, axes=ctx.axes).amin(0)
                of_x = space.parts(partial(_to_first, number), x, total, number_of_first, layout=ctx.layout)
            else:
                counts = space.collect(partial(_count_equal, ctx.dims), x, out, axes=ctx.axes).sum(0)
                of_x = space.parts(_spread, x, out, total / counts, layout=ctx.layout)
        return None, None, None, None, None, None, of_x


def _numbers(
    layout: Layout, whole: tuple[int, ...], dims: tuple[int, ...], place: Place, x: torch.Tensor
) -> torch.Tensor:
    """Number of each element of this rank's part among those of the whole, counted along `dims`."""
    number = torch.zeros((1,) * x.ndim, dtype=torch.int64, device=x.device)
    for dim in sorted(dims):
        axis = layout.dims.get(dim)
        first = 0 if axis is None else layout.cuts[axis].own(place[axis])[0]  # type: ignore[union-attr]
        rows = torch.arange(first, first + x.shape[dim], device=x.device)
        number = number * whole[dim] + rows.reshape(-1, *(1,) * (x.ndim - 1 - dim))
    return number


def _first_equal(number: Any, dims: tuple[int, ...], place: Place, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    none = torch.iinfo(torch.int64).max
    if 0 in x.shape:
        return torch.full_like(out, none, dtype=torch.int64)
    return torch.where(x == out, number(place, x), none).amin(dims, keepdim=True)


def _to_first(number: Any, place: Place, x: torch.Tensor, gradient: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
    return torch.where(number(place, x) == first, gradient, gradient.new_zeros(()))


def _extreme_here(kind: str, dims: tuple[int, ...], place: Place, x: torch.Tensor) -> torch.Tensor:
    if 0 not in x.shape:
        return getattr(x, kind)(dims, keepdim=True)
    shape = [1 if dim in dims else side for dim, side in enumerate(x.shape)]
    lowest = (
        LOWEST[kind] if x.is_floating_point() else getattr(torch.iinfo(x.dtype), "min" if kind == "amax" else "max")
    )
    return x.new_full(shape, lowest)


def _count_equal(dims: tuple[int, ...], place: Place, x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    return (x == out).sum(dims, keepdim=True)


def _spread(place: Place, x: torch.Tensor, out: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    return torch.where(x == out, gradient, gradient.new_zeros(()))


def extreme(
    kind: str, sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False, *, first: bool = False
) -> torch.Tensor:
    """Largest or smallest values; `first` where the first of equal ones shall have the gradient."""
    dims, layout = dims_of(input, dim), sharding.layout(input)
    out, axes = after_reduction(layout, dims, keepdim=True)
    if not axes:
        out, _ = after_reduction(layout, dims, keepdim=keepdim)
        local = partial(_native_extreme, kind, dims, keepdim)
        return sharding.tag(sharding.space.map(local, input, layout=out), out)
    if any(axis not in axes for axis in layout.dims.values()):
        return extreme(kind, sharding, sharding.whole(input), dims, keepdim)
    found = sharding.tag(_Extreme.apply(sharding.space, kind, dims, axes, layout, first, input), out)
    return found if keepdim else sharding.run(torch.squeeze, found, dims)


def _native_extreme(kind: str, dims: tuple[int, ...], keepdim: bool, place: Place, x: torch.Tensor) -> torch.Tensor:
    return getattr(x, kind)(dims, keepdim=keepdim)


def _max(
    kind: str, func: Any, sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False, **kw: Any
) -> Any:
    """``x.max()``, ``x.max(dim)`` with indices, or the elementwise maximum of two tensors."""
    other = kw.pop("other", dim if isinstance(dim, torch.Tensor) else None)
    if other is not None:
        return sharding.run(torch.maximum if kind == "amax" else torch.minimum, input, other)
    if dim is None:
        return extreme(kind, sharding, input)
    return _with_indices(func, sharding, input, dim, keepdim)


def _with_indices(func: Any, sharding: Sharding, x: torch.Tensor, dim: int, keepdim: bool) -> Any:
    dims = dims_of(x, dim)
    if any(one in sharding.layout(x).dims for one in dims):
        x = sharding.whole(x)
    out, _ = after_reduction(sharding.layout(x), dims, keepdim=keepdim)
    picks = [
        sharding.space.map(lambda place, part, n=n: func(part, dims[0], keepdim)[n], x, layout=out) for n in (0, 1)
    ]
    values, indices = (sharding.tag(pick, out) for pick in picks)
    return (
        torch.return_types.max((values, indices))
        if "max" in func.__name__
        else torch.return_types.min((values, indices))
    )


def _index_of(func: Any, sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """``argmax``, ``argmin``: gathered where the dimension is cut."""
    dims = dims_of(input, dim)
    x = sharding.whole(input) if any(one in sharding.layout(input).dims for one in dims) else input
    out, _ = after_reduction(sharding.layout(x), dims, keepdim=keepdim)
    return sharding.tag(sharding.space.map(lambda place, part: func(part, dim, keepdim), x, layout=out), out)


def _any(func: Any, sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False) -> torch.Tensor:
    """``any`` and ``all``, by counting."""
    wanted = sharding.run(torch.ne, input, 0)
    if func.__name__ == "all":
        wanted = sharding.run(torch.logical_not, wanted)
    found = sharding.run(torch.gt, summed(sharding, wanted, dim, keepdim), 0)
    return sharding.run(torch.logical_not, found) if func.__name__ == "all" else found


def _count_nonzero(sharding: Sharding, input: torch.Tensor, dim: Any = None) -> torch.Tensor:
    return summed(sharding, sharding.run(torch.ne, input, 0), dim)


def table() -> Table:
    """Reductions."""
    entries: Table = {}
    simple: dict[str, Handler] = {
        "sum": summed,
        "mean": _mean,
        "var": _variance,
        "std": _deviation,
        "var_mean": _var_mean,
        "std_mean": _std_mean,
        "count_nonzero": _count_nonzero,
    }
    for name, handler in simple.items():
        entries |= dict.fromkeys(functions(name), handler)
    for kind, name in (("amax", "max"), ("amin", "min")):
        entries |= {func: partial(extreme, kind) for func in functions(kind)}
        entries |= {func: partial(_max, kind, func) for func in functions(name)}
    entries |= {func: partial(_index_of, func) for func in functions("argmax argmin")}
    entries |= {func: partial(_any, func) for func in functions("any all")}
    return entries
