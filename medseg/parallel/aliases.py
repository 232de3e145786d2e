"""Views of one device that are copies on parts: what is written to one and would be missed in the other is refused.

On one device ``x.flatten()`` is a view of `x`. Where rows had to be fetched from other ranks for it, it is a copy. As
long as nobody writes, nobody can tell. So tensors that are one on one device make a group here, divided into copies
that truly share memory.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import torch

__all__ = ["is_in_place", "is_outdated", "is_view_of", "join", "part", "write"]

COPY = "_medseg_copy"  # attribute of a tensor that has aliases
VIEWS = frozenset({
    "permute", "transpose", "swapaxes", "swapdims", "t", "movedim", "moveaxis", "unsqueeze", "squeeze", "reshape",
    "view", "flatten", "unflatten", "expand", "broadcast_to", "view_as", "reshape_as", "expand_as", "narrow", "select",
    "split", "split_with_sizes", "chunk", "unbind", "diagonal", "detach", "data", "T", "H", "mT", "mH",
})  # fmt: skip


class _Group:
    """Tensors that share memory on one device."""

    def __init__(self) -> None:
        self.copies: list[_Copy] = []
        self.writes = 0


class _Copy:
    """Tensors of a group that share memory here.

    Parameters
    ----------
    moved : bool
        Rows were fetched to make it.
    """

    def __init__(self, group: _Group, *, moved: bool) -> None:
        self.group, self.born, self.written, self.moved = group, group.writes, 0, moved
        group.copies.append(self)


def is_in_place(func: Callable, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call changes its first argument: ``add_``, ``__iadd__``, ``relu(x, inplace=True)``."""
    name = getattr(func, "__name__", "")
    if name == "__setitem__" or (name.endswith("_") and not name.endswith("__")):
        return True
    if name.startswith("__i") and name not in ("__invert__", "__iter__", "__int__", "__index__"):
        return True
    place = _place_of_inplace(func)
    return bool(kwargs.get("inplace") or (place is not None and len(args) > place and args[place]))


@cache
def _place_of_inplace(func: Callable) -> int | None:
    try:
        names = list(inspect.signature(func).parameters)
    except (TypeError, ValueError):  # a function of C without a signature has no such argument
        return None
    return names.index("inplace") if "inplace" in names else None


def is_view_of(name: str, args: Sequence[Any]) -> bool:
    """Whether the function of this name gives a view of its first argument on one device."""
    if name == "__getitem__":
        entries = args[1] if isinstance(args[1], tuple) else (args[1],)
        return all(entry is None or entry is ... or isinstance(entry, int | slice) for entry in entries)
    return name in VIEWS


def join(result: torch.Tensor, source: torch.Tensor, *, moved: bool, shares: bool) -> None:
    """Note that `result` is a view of `source` on one device.

    Parameters
    ----------
    moved : bool
        Rows were fetched to make it.
    shares : bool
        The two share memory if nothing was moved.
    """
    if result is source:
        return
    copy = source.__dict__.get(COPY)
    if copy is None:
        copy = _Copy(_Group(), moved=False)
        setattr(source, COPY, copy)
    known = result.__dict__.get(COPY)
    if known is None or known.group is not copy.group:
        setattr(result, COPY, copy if shares and not moved else _Copy(copy.group, moved=moved))


def part(tensor: torch.Tensor) -> None:
    """Note that a tensor has got memory of its own and is changed, and that its views have kept theirs."""
    copy = tensor.__dict__.get(COPY)
    if copy is not None:
        setattr(tensor, COPY, _Copy(copy.group, moved=False))
        write(tensor)


def write(tensor: torch.Tensor) -> bool:
    """Note that a tensor is changed in place; False where that would be missed by what it is a view of."""
    copy = tensor.__dict__.get(COPY)
    if copy is None:
        return True
    copy.group.writes += 1
    copy.written = copy.group.writes
    return not copy.moved


def is_outdated(tensor: torch.Tensor) -> bool:
    """Whether a tensor has missed a change that it would show on one device."""
    copy = tensor.__dict__.get(COPY)
    return copy is not None and any(one is not copy and one.written > copy.born for one in copy.group.copies)
