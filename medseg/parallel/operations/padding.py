"""Padding and cropping: zeros or a constant, reflected, replicated, circular."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Cut, shifted_bounds
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Sharding
from medseg.parallel.space import Place, Rows

__all__ = ["table"]


def _pad(
    sharding: Sharding, input: torch.Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> torch.Tensor:
    x, pad = input, [int(one) for one in pad]
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(f"padding {pad} does not fit a tensor of {x.ndim} dimensions")
    margins = {x.ndim - 1 - number: (pad[2 * number], pad[2 * number + 1]) for number in range(len(pad) // 2)}
    cut = {dim: axis for dim, axis in sharding.layout(x).dims.items() if margins.get(dim, (0, 0)) != (0, 0)}
    rest = [0 if x.ndim - 1 - number // 2 in cut else one for number, one in enumerate(pad)]
    if any(rest) or mode not in ("constant", "reflect", "replicate", "circular"):
        layout = sharding.layout(x)
        padded = sharding.space.map(lambda place, part: _here(part, rest, mode, value), x, layout=layout)
        x = sharding.tag(padded, layout)
    for dim, axis in cut.items():
        x = _pad_cut(sharding, x, dim, axis, margins[dim], mode, 0.0 if value is None else float(value))
    return sharding.run(torch.clone, x) if x is input else x


def _here(part: torch.Tensor, pad: list[int], mode: str, value: float | None) -> torch.Tensor:
    if part.numel() or mode == "constant":
        return functional.pad(part, pad, mode, value)
    return functional.pad(part, pad)  # empty either way; torch refuses to reflect nothing


def _pad_cut(
    sharding: Sharding, x: torch.Tensor, dim: int, axis: int, margin: tuple[int, int], mode: str, value: float
) -> torch.Tensor:
    layout = sharding.layout(x)
    cut = layout.cuts[axis]
    assert cut is not None
    low, high = margin
    size = cut.size + low + high
    if size < 0:
        raise ValueError(f"padding {margin} leaves nothing of {cut.size} rows")
    after = Cut(dim, shifted_bounds(cut.bounds, size, shift=low))
    out = layout.replace(axis, after)
    if mode == "constant":
        wants = [(a - low, b - low) if b > a else (0, 0) for a, b in after.intervals()]
        rows = Rows(x, layout, {axis: wants}, value)
        return sharding.tag(sharding.space.map(_same, rows, layout=out), out)
    source = [_source(row - low, cut.size, mode) for row in range(size)]
    if mode == "circular" and (low > 0 or high > 0):
        return _circular(sharding, x, dim, (low, high))
    wants = [(min(source[a:b]), max(source[a:b]) + 1) if b > a else (0, 0) for a, b in after.intervals()]

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        a, b = after.own(place[axis])
        first = wants[place[axis]][0]
        index = torch.tensor([row - first for row in source[a:b]], dtype=torch.long, device=part.device)
        return part.index_select(dim, index)

    return sharding.tag(sharding.space.map(local, Rows(x, layout, {axis: wants}), layout=out), out)


def _source(row: int, rows: int, mode: str) -> int:
    """Input row that stands for a row of padding."""
    if 0 <= row < rows or mode == "circular":
        return row % rows
    if mode == "replicate":
        return min(max(row, 0), rows - 1)
    reflected = -row if row < 0 else 2 * (rows - 1) - row
    if not 0 <= reflected < rows:
        raise ValueError(f"reflecting needs fewer rows of padding than the {rows} that there are")
    return reflected


def _circular(sharding: Sharding, x: torch.Tensor, dim: int, margin: tuple[int, int]) -> torch.Tensor:
    """The last rows before, the first rows after: three pieces, so that no rank needs both ends at once."""
    low, high = margin
    rows = sharding.shape(x)[dim]
    if max(low, high) > rows:
        raise ValueError(f"circular padding {margin} is wider than the {rows} rows that there are")
    pieces = [sharding.run(torch.narrow, x, dim, rows - low, low)] if low > 0 else []
    first, last = max(-low, 0), rows - max(-high, 0)
    pieces.append(sharding.run(torch.narrow, x, dim, first, last - first))
    pieces += [sharding.run(torch.narrow, x, dim, 0, high)] if high > 0 else []
    return sharding.run(torch.cat, pieces, dim)


def _same(place: Place, part: torch.Tensor) -> torch.Tensor:
    return part


def _constant_pad(sharding: Sharding, input: torch.Tensor, pad: Sequence[int], value: Any = 0) -> torch.Tensor:
    return _pad(sharding, input, pad, "constant", value)


def table() -> Table:
    """Padding."""
    entries: Table = dict.fromkeys(functions("pad"), _pad)
    entries |= dict.fromkeys(functions("constant_pad_nd"), _constant_pad)
    return entries
