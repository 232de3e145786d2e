"""Calls of autograd and copies of tensors from inside the context."""

from typing import Any

import torch

from medseg.parallel.operations.table import Table
from medseg.parallel.sharding import Sharding, Unsupported

__all__ = ["table"]


def _backward(sharding: Sharding, *args: Any, **kwargs: Any) -> None:
    torch.autograd.backward(*args, **kwargs)


def _grad(sharding: Sharding, *args: Any, **kwargs: Any) -> None:
    raise Unsupported("its result would be a rank's share of a gradient; call it outside of the context")


def _deep_copy(sharding: Sharding, x: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
    layout = sharding.layout(x)
    return sharding.tag(torch.Tensor.__deepcopy__(x, memo), layout)


def table() -> Table:
    """Autograd."""
    return {
        torch.autograd.backward: _backward,
        torch.autograd.grad: _grad,
        torch.Tensor.__deepcopy__: _deep_copy,
    }
