"""Other views of the same values: dimensions moved, added, removed, merged, split, repeated."""

from collections.abc import Callable, Sequence
from functools import partial
from math import gcd, prod
from typing import Any

import torch

from medseg.parallel.layout import Cut, Layout
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Handler, Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]


def _moved_dims(sharding: Sharding, x: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """Dimension `order[i]` becomes dimension `i`."""
    layout = sharding.layout(x)
    out = layout.moved({old: new for new, old in enumerate(order)})
    return sharding.tag(sharding.space.map(lambda place, part: part.permute(*order), x, layout=out), out)


def _permute(sharding: Sharding, x: torch.Tensor, *dims: Any, **named: Any) -> torch.Tensor:
    dims = dims or (named["dims"],)
    order = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    if sorted(dim % x.ndim for dim in order) != list(range(x.ndim)):
        raise ValueError(f"permute: {tuple(order)} does not name each of {x.ndim} dimensions once")
    return _moved_dims(sharding, x, [dim % x.ndim for dim in order])


def _transpose(sharding: Sharding, x: torch.Tensor, dim0: int, dim1: int) -> torch.Tensor:
    order = list(range(x.ndim))
    order[dim0], order[dim1] = order[dim1], order[dim0]
    return _moved_dims(sharding, x, order)


def _reversed(sharding: Sharding, x: torch.Tensor, *_: Any) -> torch.Tensor:
    if x.ndim > 2:
        raise Unsupported("t() of more than two dimensions")
    return _moved_dims(sharding, x, list(range(x.ndim))[::-1])


def _last_two(sharding: Sharding, x: torch.Tensor, *_: Any) -> torch.Tensor:
    return _transpose(sharding, x, x.ndim - 2, x.ndim - 1)


def _movedim(sharding: Sharding, x: torch.Tensor, source: Any, destination: Any) -> torch.Tensor:
    order = torch.movedim(torch.empty(*range(1, x.ndim + 1), device="meta"), source, destination).shape
    return _moved_dims(sharding, x, [side - 1 for side in order])


def _unsqueeze(sharding: Sharding, x: torch.Tensor, dim: int) -> torch.Tensor:
    layout, dim = sharding.layout(x), dim % (x.ndim + 1)
    out = layout.moved({old: old + (old >= dim) for old in range(x.ndim)})
    return sharding.tag(sharding.space.map(lambda place, part: part.unsqueeze(dim), x, layout=out), out)


def _squeeze(sharding: Sharding, x: torch.Tensor, dim: Any = None) -> torch.Tensor:
    shape = sharding.shape(x)
    asked = range(x.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    gone = sorted({one % x.ndim for one in asked if shape[one] == 1}) if x.ndim else []
    layout = sharding.layout(x)
    if any(one in layout.dims for one in gone):
        x = sharding.whole(x)
        layout = sharding.layout(x)
    out = layout.moved({old: old - sum(one < old for one in gone) for old in range(x.ndim)})
    return sharding.tag(sharding.space.map(lambda place, part: part.squeeze(tuple(gone)), x, layout=out), out)


def _reshape(sharding: Sharding, x: torch.Tensor, *shape: Any, **named: Any) -> torch.Tensor:
    shape = shape or (named["shape"],)
    if len(shape) == 1 and isinstance(shape[0], torch.dtype):
        raise Unsupported("a view as another type")
    given = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list | torch.Size) else shape
    whole = sharding.shape(x)
    target = _resolved(whole, [int(side) for side in given])
    plan = _reshape_plan(whole, target, sharding.layout(x))
    if plan is None:
        x = sharding.whole(x)
        plan = sharding.everywhere, sharding.everywhere
    before, out = plan
    x = sharding.moved(x, before)
    local = partial(_reshape_part, out, target)
    return sharding.tag(sharding.space.map(local, x, layout=out), out)


def _reshape_part(out: Layout, target: Sequence[int], place: Place, part: torch.Tensor) -> torch.Tensor:
    return part.reshape(out.part(target, place))


def _resolved(whole: Sequence[int], target: list[int]) -> tuple[int, ...]:
    if -1 in target:
        known = prod(side for side in target if side != -1)
        target = [prod(whole) // max(known, 1) if side == -1 else side for side in target]
    if prod(target) != prod(whole):
        raise RuntimeError(f"shape '{target}' is invalid for input of size {prod(whole)}")
    return tuple(target)


def _groups(whole: Sequence[int], target: Sequence[int]) -> list[tuple[range, range]]:
    """Smallest runs of dimensions before and after that hold the same elements."""
    groups, i, j = [], 0, 0
    while i < len(whole) or j < len(target):
        a, b, left, right = i, j, 1, 1
        while True:
            if left <= right and i < len(whole) and (left != right or i == a):
                left, i = left * whole[i], i + 1
            elif j < len(target):
                right, j = right * target[j], j + 1
            elif i < len(whole):
                left, i = left * whole[i], i + 1
            if left == right and (i > a or i == len(whole)) and (j > b or j == len(target)):
                break
        groups.append((range(a, i), range(b, j)))
    return groups


def _reshape_plan(whole: Sequence[int], target: Sequence[int], layout: Layout) -> tuple[Layout, Layout] | None:
    """Layout to bring the tensor to, and that of the result; None where the cut cannot be kept."""
    if layout.is_replicated:
        return layout, layout
    if 0 in whole:
        return None
    before, out = layout, layout
    for axis, cut in enumerate(layout.cuts):
        if cut is None:
            continue
        old, new = next((pair for pair in _groups(whole, target) if cut.dim in pair[0]), (range(0), range(0)))
        kept = _keep_cut(whole, target, cut, old, new)
        if kept is None:
            return None
        before, out = before.replace(axis, kept[0]), out.replace(axis, kept[1])
    return before, out


def _keep_cut(whole: Sequence[int], target: Sequence[int], cut: Cut, old: range, new: range) -> tuple[Cut, Cut] | None:
    """Cut before and after a reshape of the dimensions `old` to `new`: only the outermost of them stays in order."""
    outer = [dim for dim in old if whole[dim] != 1]
    first = [dim for dim in new if target[dim] != 1]
    if not outer or not first or outer[0] != cut.dim:
        return None
    inner = prod(whole[dim] for dim in outer[1:])  # elements a row before
    block = prod(target[dim] for dim in first[1:])  # and after
    step = block // gcd(inner, block)  # rows that make up whole rows of the result
    bounds = [min(round(bound / step) * step, cut.size) for bound in cut.bounds[1:-1]]
    even = Cut(cut.dim, (0, *bounds, cut.size))
    return even, Cut(first[0], tuple(bound * inner // block for bound in even.bounds))


def _flatten(sharding: Sharding, x: torch.Tensor, start_dim: int = 0, end_dim: int = -1) -> torch.Tensor:
    whole = sharding.shape(x)
    if not whole:
        return _reshape(sharding, x, (1,))
    start, end = start_dim % x.ndim, end_dim % x.ndim
    return _reshape(sharding, x, (*whole[:start], prod(whole[start : end + 1]), *whole[end + 1 :]))


def _unflatten(sharding: Sharding, x: torch.Tensor, dim: int, sizes: Sequence[int]) -> torch.Tensor:
    whole, dim = sharding.shape(x), dim % x.ndim
    inner = _resolved((whole[dim],), [int(side) for side in sizes])
    return _reshape(sharding, x, (*whole[:dim], *inner, *whole[dim + 1 :]))


def _like(func: Callable, sharding: Sharding, x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """``view_as``, ``reshape_as``, ``expand_as``."""
    return sharding.run(func, x, sharding.shape(other))


def _expand(sharding: Sharding, x: torch.Tensor, *sizes: Any, **named: Any) -> torch.Tensor:
    sizes = sizes or (named["size"],)
    given = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], tuple | list | torch.Size) else sizes
    whole, added = sharding.shape(x), len(given) - x.ndim
    target = [whole[n - added] if size == -1 else int(size) for n, size in enumerate(given)]
    layout = sharding.layout(x)
    if any(target[dim + added] != whole[dim] for dim in layout.dims):
        x = sharding.whole(x)
        layout = sharding.layout(x)
    out = layout.moved({dim: dim + added for dim in layout.dims})

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        return part.expand(out.part(target, place))

    return sharding.tag(sharding.space.map(local, x, layout=out), out)


def _repeat(sharding: Sharding, x: torch.Tensor, *repeats: Any) -> torch.Tensor:
    given = repeats[0] if len(repeats) == 1 and isinstance(repeats[0], tuple | list | torch.Size) else repeats
    given = (1,) * (x.ndim - len(given)) + tuple(given)  # of `tile`, which may have fewer
    added = len(given) - x.ndim
    layout = sharding.layout(x)
    if any(given[dim + added] != 1 for dim in layout.dims):
        x = sharding.whole(x)
        layout = sharding.layout(x)
    out = layout.moved({dim: dim + added for dim in layout.dims})
    return sharding.tag(sharding.space.map(lambda place, part: part.repeat(*given), x, layout=out), out)


def table() -> Table:
    """Views."""
    entries: Table = {}
    handlers: dict[str, Handler] = {
        "permute": _permute, "transpose swapaxes swapdims": _transpose, "t": _reversed, "movedim moveaxis": _movedim,
        "unsqueeze": _unsqueeze, "squeeze": _squeeze, "reshape view": _reshape, "flatten": _flatten,
        "unflatten": _unflatten, "expand broadcast_to": _expand, "repeat tile": _repeat,
    }  # fmt: skip
    for names, handler in handlers.items():
        entries |= dict.fromkeys(functions(names), handler)
    properties: dict[Any, Handler] = {
        torch.Tensor.T: _reversed, torch.Tensor.H: _reversed, torch.Tensor.mT: _last_two, torch.Tensor.mH: _last_two,
    }  # fmt: skip
    entries |= properties  # of real numbers
    entries |= {func: partial(_like, torch.Tensor.reshape) for func in functions("view_as reshape_as")}
    entries |= {func: partial(_like, torch.Tensor.expand) for func in functions("expand_as")}
    return entries
