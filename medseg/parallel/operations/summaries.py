"""Norms, products and histograms."""

from typing import Any

import torch

from medseg.parallel.operations.precision import type_of_result
from medseg.parallel.operations.reductions import after_reduction, dims_of, extreme, root, summed, widened
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]


def _norm(
    sharding: Sharding, input: torch.Tensor, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None
) -> torch.Tensor:
    if p in (torch.inf, -torch.inf):
        found = extreme("amax" if p > 0 else "amin", sharding, sharding.run(torch.abs, input), dim, keepdim)
        return found if dtype is None else sharding.run(torch.Tensor.to, found, dtype)
    if p == 1:
        return summed(sharding, sharding.run(torch.abs, input), dim, keepdim, dtype=dtype)
    if p not in (2, "fro", None):
        raise Unsupported(f"the norm of order {p}")
    squares = sharding.run(torch.square, widened(sharding, input))
    norm = root(sharding, summed(sharding, squares, dim, keepdim, dtype=dtype))
    goal = type_of_result(torch.norm, input, (1,))
    return norm if dtype or norm.dtype == goal else sharding.run(torch.Tensor.to, norm, goal)


def _linalg_norm(
    sharding: Sharding, A: torch.Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    """Order 2 is the largest singular value where two dimensions are given, and so is refused."""
    if ord is not None and not isinstance(dim, int) and A.ndim > 1:
        raise Unsupported(f"the norm of order {ord}")
    return _norm(sharding, A, 2 if ord is None else ord, dim, keepdim, dtype)


def _vector_norm(
    sharding: Sharding, x: torch.Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    return _norm(sharding, x, ord, dim, keepdim, dtype)


def _prod(
    sharding: Sharding, input: torch.Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> torch.Tensor:
    """Gathered where the dimension is cut: the gradient at a value needs the others."""
    dims = dims_of(input, dim)
    x = sharding.whole(input) if any(one in sharding.layout(input).dims for one in dims) else input
    out, _ = after_reduction(sharding.layout(x), dims, keepdim=keepdim)

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        return part.prod(dtype=dtype) if dim is None else part.prod(dims[0], keepdim, dtype=dtype)

    return sharding.tag(sharding.space.map(local, x, layout=out), out)


def _histc(sharding: Sharding, input: torch.Tensor, bins: int = 100, min: float = 0, max: float = 0) -> torch.Tensor:
    if min == max:  # torch: from the smallest to the largest value
        min, max = (float(extreme(kind, sharding, input.detach())) for kind in ("amin", "amax"))
    if min == max:
        min, max = min - 1, max + 1
    layout, everywhere = sharding.layout(input), sharding.everywhere

    def local(place: Place, part: torch.Tensor) -> torch.Tensor:
        return part.histc(bins, min, max)

    axes = sorted(layout.dims.values())
    if not axes:
        return sharding.tag(sharding.space.map(local, input, layout=everywhere), everywhere)
    return sharding.tag(sharding.space.total(local, input, axes=axes, layout=everywhere), everywhere)


def table() -> Table:
    """Norms, products and histograms."""
    entries: Table = {}
    for name, handler in (("norm", _norm), ("prod", _prod), ("histc", _histc)):
        entries |= dict.fromkeys(functions(name), handler)
    return entries | {torch.linalg.norm: _linalg_norm, torch.linalg.vector_norm: _vector_norm}
