"""Putting tensors together and taking pieces: concatenation, stacking, splitting, slices and indices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from medseg.parallel.calls import tensors_in
from medseg.parallel.layout import Cut, even_bounds
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Handler, Sharding, Unsupported
from medseg.parallel.space import Place, Rows

__all__ = ["table"]


def _cat(sharding: Sharding, tensors: Sequence[torch.Tensor], dim: int = 0, **named: Any) -> torch.Tensor:
    if "axis" in named:
        dim = named["axis"]
    tensors = [one for one in tensors if sharding.shape(one) != (0,)]  # torch skips these
    dim %= tensors[0].ndim
    layouts = [sharding.layout(one) for one in tensors]
    if any(dim in layout.dims for layout in layouts):
        return _cat_along_cut(sharding, tensors, dim)
    goal = next((layout for layout in layouts if not layout.is_replicated), layouts[0])
    parts = [sharding.moved(one, goal) for one in tensors]
    out = sharding.space.map(lambda place, *pieces: torch.cat(pieces, dim), *parts, layout=goal)
    return sharding.tag(out, goal)


def _cat_along_cut(sharding: Sharding, tensors: Sequence[torch.Tensor], dim: int) -> torch.Tensor:
    """Each rank builds an even share of the result from the rows of all operands that lie in it."""
    goal = next(layout for one in tensors if dim in (layout := sharding.layout(one)).dims)
    axis = goal.dims[dim]
    sizes = [sharding.shape(one)[dim] for one in tensors]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    share = Cut(dim, even_bounds(sum(sizes), sharding.space.shape[axis]))
    out = goal.replace(axis, share)
    operands = []
    for one, size, start in zip(tensors, sizes, starts):
        wants = [(min(max(a - start, 0), size), min(max(b - start, 0), size)) for a, b in share.intervals()]
        operand = sharding.moved(one, goal.replace(axis, Cut(dim, even_bounds(size, share.ranks))))
        operands.append(Rows(operand, sharding.layout(operand), {axis: wants}))
    return sharding.tag(sharding.space.map(lambda place, *parts: torch.cat(parts, dim), *operands, layout=out), out)


def _stack(sharding: Sharding, tensors: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    return _cat(sharding, [sharding.run(torch.unsqueeze, one, dim) for one in tensors], dim % (tensors[0].ndim + 1))


def _sliced(sharding: Sharding, x: torch.Tensor, dim: int, start: int, stop: int, step: int = 1) -> torch.Tensor:
    """Rows `start` to `stop` of the whole tensor, every `step`-th: each rank keeps those that it has."""
    layout = sharding.layout(x)
    count = max(0, -(-(stop - start) // step))
    if dim not in layout.dims:
        index = (slice(None),) * dim + (slice(start, stop, step),)
        return sharding.tag(sharding.space.map(lambda place, part: part[index], x, layout=layout), layout)
    sharding.check_slice(x, start, stop, step)
    axis = layout.dims[dim]
    cut = layout.cuts[axis]
    assert cut is not None
    inner = [min(max(-((start - bound) // step), 0), count) for bound in cut.bounds[1:-1]]
    after = Cut(dim, (0, *inner, count))
    out = layout.replace(axis, after)

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        (low, high), (first, _) = after.own(place[axis]), cut.own(place[axis])
        begin = start + low * step - first if high > low else 0
        end = begin + (high - low - 1) * step + 1 if high > low else 0
        return part[(slice(None),) * dim + (slice(begin, end, step),)]

    return sharding.tag(sharding.space.map(local, x, layout=out), out)


def _narrow(sharding: Sharding, x: torch.Tensor, dim: int, start: int, length: int) -> torch.Tensor:
    dim, rows = dim % x.ndim, sharding.shape(x)[dim]
    start = start + rows if start < 0 else start
    if start + length > rows:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({rows})")
    return _sliced(sharding, x, dim, start, start + length)


def _select(sharding: Sharding, x: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    dim, rows = dim % x.ndim, sharding.shape(x)[dim]
    if not -rows <= index < rows:
        raise IndexError(f"index {index} is out of bounds for dimension {dim} with size {rows}")
    row = _sliced(sharding, x, dim, index % rows, index % rows + 1)
    return sharding.run(torch.squeeze, row, dim)


def _split(sharding: Sharding, x: torch.Tensor, split_size: Any, dim: int = 0) -> tuple[torch.Tensor, ...]:
    rows = sharding.shape(x)[dim]
    sizes = list(split_size) if isinstance(split_size, tuple | list) else []
    if not sizes:
        sizes = [min(split_size, rows - start) for start in range(0, max(rows, 1), split_size)]
    if sum(sizes) != rows:
        raise RuntimeError(f"split sizes {sizes} do not add up to {rows}")
    return tuple(_narrow(sharding, x, dim, sum(sizes[:number]), size) for number, size in enumerate(sizes))


def _chunk(sharding: Sharding, x: torch.Tensor, chunks: int, dim: int = 0) -> tuple[torch.Tensor, ...]:
    return _split(sharding, x, max(1, -(-sharding.shape(x)[dim] // chunks)), dim)


def _unbind(sharding: Sharding, x: torch.Tensor, dim: int = 0) -> tuple[torch.Tensor, ...]:
    return tuple(_select(sharding, x, dim, index) for index in range(sharding.shape(x)[dim]))


def _expanded_index(x: torch.Tensor, index: Any) -> list[Any]:
    """One entry a dimension, with ``...`` written out."""
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = [int(entry) if isinstance(entry, np.integer) else entry for entry in entries]
    used = sum(entry is not None and entry is not Ellipsis for entry in entries)
    if any(entry is Ellipsis for entry in entries):
        place = next(number for number, entry in enumerate(entries) if entry is Ellipsis)
        entries[place : place + 1] = [slice(None)] * (x.ndim - used)
    return entries


def _getitem(sharding: Sharding, x: torch.Tensor, index: Any) -> torch.Tensor:
    entries = _expanded_index(x, index)
    if any(not (entry is None or isinstance(entry, int | slice)) or isinstance(entry, bool) for entry in entries):
        return _advanced(sharding, x, entries)
    dim = 0
    for entry in entries:
        if entry is None:
            x, dim = sharding.run(torch.unsqueeze, x, dim), dim + 1
        elif isinstance(entry, slice):
            start, stop, step = entry.indices(sharding.shape(x)[dim])
            if step < 1:
                raise ValueError("step must be greater than zero")
            if (start, stop, step) != (0, sharding.shape(x)[dim], 1):
                x = _sliced(sharding, x, dim, start, max(start, stop), step)
            dim += 1
        else:
            x = _select(sharding, x, dim, entry)
    return x


def _advanced(sharding: Sharding, x: torch.Tensor, entries: list[Any]) -> torch.Tensor:
    """Tensors as indices: of uncut dimensions, by values that every rank has."""
    layout = sharding.layout(x)
    tensors = [entry for entry in entries if isinstance(entry, torch.Tensor)]
    if any(not sharding.layout(one).is_replicated for one in tensors) or not layout.is_replicated:
        x = sharding.whole(x)
        entries = [sharding.whole(entry) if isinstance(entry, torch.Tensor) else entry for entry in entries]
    everywhere = sharding.everywhere
    return sharding.tag(sharding.space.map(lambda place, part: part[tuple(entries)], x, layout=everywhere), everywhere)


def _setitem(sharding: Sharding, x: torch.Tensor, index: Any, value: Any) -> None:
    """Set values in place: where every rank has all, or along dimensions that are not cut."""
    layout = sharding.layout(x)
    entries = _expanded_index(x, index)
    if any(not sharding.layout(entry).is_replicated for entry in tensors_in(entries)):
        raise Unsupported("setting values at places of which a rank has only a part")
    simple = all(isinstance(entry, int | slice) and not isinstance(entry, bool) for entry in entries)
    if not layout.is_replicated:
        if not simple or any(not _is_all(entries[dim]) for dim in layout.dims if dim < len(entries)):
            raise Unsupported("setting values along the dimension that is cut")
        shift = {dim: dim - sum(isinstance(entry, int) for entry in entries[:dim]) for dim in layout.dims}
        if isinstance(value, torch.Tensor):
            value = (
                sharding.moved(value, layout.moved(shift))
                if value.ndim == x.ndim - sum(isinstance(entry, int) for entry in entries)
                else value
            )
    if isinstance(value, torch.Tensor) and value.ndim and sharding.layout(value).is_replicated != layout.is_replicated:
        raise Unsupported("setting values of another layout")

    def local(place: Place, part: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        part[tuple(entries)] = values[0] if values else value
        return part

    operands = [value] if isinstance(value, torch.Tensor) else []
    sharding.space.map(local, x, *operands, layout=layout, in_place=True)


def _is_all(entry: Any) -> bool:
    return isinstance(entry, slice) and entry == slice(None)


def _flip(sharding: Sharding, x: torch.Tensor, *dims: Any, **named: Any) -> torch.Tensor:
    dims = dims or (named["dims"],)
    given = dims[0] if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    wanted = [dim % x.ndim for dim in given]
    layout = sharding.layout(x)
    wants = {}
    for dim, axis in layout.dims.items():
        if dim in wanted:
            cut = layout.cuts[axis]
            assert cut is not None
            wants[axis] = [(cut.size - b, cut.size - a) if b > a else (0, 0) for a, b in cut.intervals()]
    rows = Rows(x, layout, wants)
    return sharding.tag(sharding.space.map(lambda place, part: part.flip(wanted), rows, layout=layout), layout)


def _roll(sharding: Sharding, x: torch.Tensor, shifts: Any, dims: Any = None) -> torch.Tensor:
    rolled = _rolled(sharding, x, shifts, dims)
    return sharding.run(torch.clone, x) if rolled is x else rolled


def _rolled(sharding: Sharding, x: torch.Tensor, shifts: Any, dims: Any) -> torch.Tensor:
    if dims is None or (isinstance(dims, tuple | list) and not dims):
        flat = _rolled(sharding, sharding.run(torch.flatten, x), shifts, 0)
        return sharding.run(torch.reshape, flat, sharding.shape(x))
    pairs = zip(shifts, dims) if isinstance(dims, tuple | list) else [(shifts, dims)]
    for shift, dim in pairs:
        dim, layout = dim % x.ndim, sharding.layout(x)
        rows = sharding.shape(x)[dim]
        if dim not in layout.dims:
            rolled = sharding.space.map(lambda place, part, s=shift, d=dim: part.roll(s, d), x, layout=layout)
            x = sharding.tag(rolled, layout)
        elif shift % rows:
            first = rows - shift % rows
            pieces = [_narrow(sharding, x, dim, first, rows - first), _narrow(sharding, x, dim, 0, first)]
            x = sharding.moved(_cat(sharding, pieces, dim), layout)
    return x


def _index_select(sharding: Sharding, x: torch.Tensor, dim: int, index: torch.Tensor) -> torch.Tensor:
    dim = dim % x.ndim
    layout = sharding.layout(x)
    if not sharding.layout(index).is_replicated or dim in layout.dims:
        raise Unsupported("index_select along the dimension that is cut")
    return sharding.tag(
        sharding.space.map(lambda place, part, which: part.index_select(dim, which), x, index, layout=layout), layout
    )


def table() -> Table:
    """Pieces."""
    entries: Table = {}
    handlers: dict[str, Handler] = {
        "cat concat concatenate": _cat, "stack": _stack, "narrow": _narrow, "select": _select,
        "split split_with_sizes": _split, "chunk": _chunk, "unbind": _unbind, "flip": _flip, "roll": _roll,
        "index_select": _index_select, "__getitem__": _getitem, "__setitem__": _setitem, "__iter__": _iterate,
    }  # fmt: skip
    for names, handler in handlers.items():
        entries |= dict.fromkeys(functions(names), handler)
    return entries


def _iterate(sharding: Sharding, x: torch.Tensor) -> Any:
    return iter(_unbind(sharding, x))
