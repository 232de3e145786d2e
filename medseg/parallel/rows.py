"""Fetching rows of a cut tensor from whoever owns them, and giving gradients back to them.

One primitive serves halos of any width, redistribution and gathering: each rank states which interval of rows it
wants, and since all bounds are known to all, every rank knows which messages to expect. What is wanted below row 0 or
above the last one is padding.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from medseg.parallel.layout import Cut, Interval
from medseg.parallel.messages import Line

__all__ = [
    "Halo", "clipped", "fetch_halo", "give_back", "memory_format", "nothing", "overlap", "padding_of", "with_halo",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Halo:
    """Rows of others and of padding, thin, beside the rows that this rank has itself.

    Parameters
    ----------
    before, after : Tensor or None
        Rows below and above the own ones.
    kept : tuple of int
        Half-open range of the own rows that are wanted, in local numbers.
    """

    before: torch.Tensor | None
    after: torch.Tensor | None
    kept: Interval


def overlap(a: Interval, b: Interval) -> Interval:
    """Rows of both intervals; an empty interval where there are none."""
    low, high = max(a[0], b[0]), min(a[1], b[1])
    return (low, max(low, high))


def clipped(want: Interval, size: int) -> Interval:
    """Return the part of an interval that exists."""
    return overlap(want, (0, size))


def padding_of(want: Interval, size: int) -> Interval:
    """Numbers of rows of padding below and above."""
    low, high = want
    if high <= low:
        return 0, 0
    return max(0, min(high, 0) - low), max(0, high - max(low, size))


def memory_format(x: torch.Tensor) -> torch.memory_format:
    """Order of the channels in memory; rows put together keep it."""
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)
    if last is not None and x.is_contiguous(memory_format=last) and not x.is_contiguous():
        return last
    return torch.contiguous_format


def nothing(shape: Sequence[int], *tensors: torch.Tensor) -> torch.Tensor:
    """Return the empty result of a rank that has no rows, made of `tensors` as the results of other ranks are.

    It belongs to the graph of all of them: the messages of the backward pass need both ends, and parameters have
    gradients on every rank.
    """
    out = tensors[0].new_zeros(shape)
    for tensor in tensors:
        if tensor.is_floating_point():
            out = out + tensor.flatten()[:0].sum().to(out.dtype)
    return out


def _part(x: torch.Tensor, dim: int, low: int, high: int) -> torch.Tensor:
    return x.narrow(dim, low, high - low)


def _sized(like: torch.Tensor, dim: int, rows: int) -> tuple[int, ...]:
    return (*like.shape[:dim], rows, *like.shape[dim + 1 :])


def fetch_halo(x: torch.Tensor, cut: Cut, line: Line, wants: Sequence[Interval], *, fill: float = 0.0) -> Halo:
    """Fetch what this rank wants and does not own.

    Parameters
    ----------
    x : Tensor
        The own rows.
    wants : sequence of (int, int)
        Rows that each rank wants; those outside 0 to ``cut.size`` are `fill`.
    """
    rank, dim = line.rank, cut.dim
    own, inside = cut.own(rank), [clipped(want, cut.size) for want in wants]
    sends: list[torch.Tensor | None] = []
    receives: list[torch.Tensor | None] = []
    for peer, theirs in enumerate(cut.intervals()):
        low, high = overlap(own, inside[peer])
        sends.append(_part(x, dim, low - own[0], high - own[0]) if high > low and peer != rank else None)
        low, high = overlap(theirs, inside[rank])
        receives.append(x.new_empty(_sized(x, dim, high - low)) if high > low and peer != rank else None)
    line.exchange(sends, receives)
    padding = [x.new_full(_sized(x, dim, n), fill) if n else None for n in padding_of(wants[rank], cut.size)]
    layout = memory_format(x)
    before = [piece.contiguous(memory_format=layout) for piece in (padding[0], *receives[:rank]) if piece is not None]
    after = [
        piece.contiguous(memory_format=layout) for piece in (*receives[rank + 1 :], padding[1]) if piece is not None
    ]
    low, high = overlap(own, inside[rank])
    kept = (low - own[0], high - own[0]) if high > low else (0, 0)
    return Halo(_joined(before, dim), _joined(after, dim), kept)


def _joined(pieces: list[torch.Tensor], dim: int) -> torch.Tensor | None:
    if len(pieces) < 2:
        return pieces[0] if pieces else None
    return torch.cat(pieces, dim)


def with_halo(x: torch.Tensor, dim: int, halo: Halo) -> torch.Tensor:
    """Put the own rows and the halo together; `x` itself where nothing is added or left out."""
    middle = x if halo.kept == (0, x.shape[dim]) else _part(x, dim, *halo.kept)
    pieces = [piece for piece in (halo.before, middle, halo.after) if piece is not None and piece.shape[dim]]
    if len(pieces) < 2:
        return pieces[0] if pieces else middle
    return torch.cat(pieces, dim)


def give_back(
    gradient: torch.Tensor, cut: Cut, line: Line, wants: Sequence[Interval], *, reuse: bool = False
) -> torch.Tensor:
    """Add the gradient of fetched rows up at their owners: the adjoint of fetching.

    Parameters
    ----------
    gradient : Tensor
        With respect to the rows that this rank wanted.
    reuse : bool
        The memory of `gradient` may be changed.

    Returns
    -------
    Tensor
        With respect to the rows that this rank owns.
    """
    rank, dim = line.rank, cut.dim
    own, inside, first = cut.own(rank), [clipped(want, cut.size) for want in wants], wants[rank][0]
    sends: list[torch.Tensor | None] = []
    receives: list[torch.Tensor | None] = []
    for peer, theirs in enumerate(cut.intervals()):
        low, high = overlap(theirs, inside[rank])
        sends.append(_part(gradient, dim, low - first, high - first) if high > low and peer != rank else None)
        low, high = overlap(own, inside[peer])
        receives.append(gradient.new_empty(_sized(gradient, dim, high - low)) if high > low and peer != rank else None)
    line.exchange(sends, receives)
    kept = overlap(own, inside[rank])
    mine = _part(gradient, dim, kept[0] - first, kept[1] - first) if kept[1] > kept[0] else None
    if mine is not None and kept == own:
        shared = not reuse and any(piece is not None for piece in receives)
        total = mine.clone() if shared else mine
    else:
        total = gradient.new_zeros(_sized(gradient, dim, own[1] - own[0]))
        if mine is not None:
            _part(total, dim, kept[0] - own[0], kept[1] - own[0]).copy_(mine)
    for peer, piece in enumerate(receives):
        if piece is not None:
            start = overlap(own, inside[peer])[0] - own[0]
            _part(total, dim, start, start + piece.shape[dim]).add_(piece)
    return total
