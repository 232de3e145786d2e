"""The table of operations: what to do for each torch function."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.sharding import Handler

__all__ = ["Table", "functions"]

Table = dict[Callable, Handler]
NAMESPACES: tuple[Any, ...] = (
    torch, torch.Tensor, functional, torch._C._nn, torch.special, torch.linalg, torch._C._VariableFunctions,
)  # fmt: skip


def functions(names: str | Iterable[str]) -> list[Callable]:
    """Every torch function of these names: as a function, as a method, in ``torch.nn.functional``."""
    found: list[Callable] = []
    for name in names.split() if isinstance(names, str) else names:
        found += [one for space in NAMESPACES if callable(one := getattr(space, name, None))]
    return list(dict.fromkeys(found))
