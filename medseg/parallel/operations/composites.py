"""Operations that are written in others of the table."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from types import FunctionType
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Sharding

__all__ = ["table"]

Tensor = torch.Tensor


def _logsumexp(input: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    largest = torch.amax(input.detach(), dim, True)
    largest = torch.where(torch.isfinite(largest), largest, 0.0)
    total = torch.log(torch.sum(torch.exp(input - largest), dim, True)) + largest
    return total if keepdim else torch.squeeze(total, dim)


def _nansum(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    return torch.sum(torch.masked_fill(input, torch.isnan(input), 0.0), dim, keepdim)


def _nanmean(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    known = torch.logical_not(torch.isnan(input))
    return _nansum(input, dim, keepdim) / torch.sum(known, dim, keepdim)


def _aminmax(input: Tensor, *, dim: Any = None, keepdim: bool = False) -> Any:
    dims = () if dim is None else dim
    return torch.return_types.aminmax((torch.amin(input, dims, keepdim), torch.amax(input, dims, keepdim)))  # type: ignore[attr-defined]


def _diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Tensor:
    pieces = [one for one in (prepend, input, append) if one is not None]
    x = torch.cat(pieces, dim) if len(pieces) > 1 else input
    for _ in range(n):
        rows = x.shape[dim]
        x = torch.narrow(x, dim, 1, max(rows - 1, 0)) - torch.narrow(x, dim, 0, max(rows - 1, 0))
    return x


def _equal(input: Tensor, other: Tensor) -> bool:
    return input.shape == other.shape and bool(torch.all(torch.eq(input, other)))


def _isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:  # fmt: skip
    near = torch.le(torch.abs(input - other), atol + rtol * torch.abs(other)) & torch.isfinite(other)
    close = torch.logical_or(torch.eq(input, other), near)
    return close | (torch.isnan(input) & torch.isnan(other)) if equal_nan else close


def _allclose(input: Tensor, other: Tensor, *args: Any, **options: Any) -> bool:
    return bool(torch.all(_isclose(input, other, *args, **options)))


def _along(dim: int, tensors: Sequence[Tensor]) -> Tensor:
    """``vstack``, ``hstack``."""
    return torch.cat(list(tensors), 0 if tensors[0].ndim == 1 else dim)


def _tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    rows = input.shape[dim]
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        ends = [part * (rows // n) + min(part, rows % n) for part in range(1, n)]
    else:
        ends = [min(max(end + rows if end < 0 else end, 0), rows) for end in indices_or_sections]
    bounds = [0, *ends, rows]
    return tuple(torch.narrow(input, dim, low, max(high - low, 0)) for low, high in pairwise(bounds))


def _flipped(dim: int, input: Tensor) -> Tensor:
    return torch.flip(input, (dim,))


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    x1, x2 = torch.broadcast_tensors(x1, x2)
    first, second = (torch.clamp_min(torch.linalg.norm(x, dim=dim, keepdim=True), eps) for x in (x1, x2))
    return torch.sum((x1 / first) * (x2 / second), dim)


def _pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    return torch.norm(x1 - x2 + eps, p, -1, keepdim)


def _broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    given = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], tuple | list) else tensors
    shape = torch.broadcast_shapes(*(tuple(one.shape) for one in given))
    return tuple(one.expand(shape) for one in given)


def _pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    r = upscale_factor
    *outer, channels, height, width = input.shape
    x = input.reshape(*outer, channels // r**2, r, r, height, width)
    n = len(outer)
    x = x.permute(*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return x.reshape(*outer, channels // r**2, height * r, width * r)


def _pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    r = downscale_factor
    *outer, channels, height, width = input.shape
    x = input.reshape(*outer, channels, height // r, r, width // r, r)
    n = len(outer)
    x = x.permute(*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return x.reshape(*outer, channels * r**2, height // r, width // r)


def _channel_shuffle(input: Tensor, groups: int) -> Tensor:
    batch, channels, *rest = input.shape
    x = input.reshape(batch, groups, channels // groups, *rest).transpose(1, 2)
    return x.reshape(batch, channels, *rest)


COMPOSITES: dict[str, Callable[..., Any]] = {
    "logsumexp": _logsumexp, "nansum": _nansum, "nanmean": _nanmean, "aminmax": _aminmax,
    "diff": _diff, "equal": _equal, "isclose": _isclose, "allclose": _allclose, "vstack row_stack": partial(_along, 0),
    "hstack": partial(_along, 1), "tensor_split": _tensor_split, "flipud": partial(_flipped, 0),
    "fliplr": partial(_flipped, 1), "cosine_similarity": _cosine_similarity, "pairwise_distance": _pairwise_distance,
    "broadcast_tensors": _broadcast_tensors, "pixel_shuffle": _pixel_shuffle, "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle native_channel_shuffle": _channel_shuffle,
}  # fmt: skip
WRITTEN = """
    gaussian_nll_loss multilabel_soft_margin_loss lp_pool1d lp_pool2d lp_pool3d upsample_nearest upsample_bilinear
    gumbel_softmax multi_head_attention_forward
"""  # in Python in torch.nn.functional


def _as_written(func: Any) -> Callable:
    """Return a function of torch that goes through what it is written in, without asking whether it is overridden."""
    questions = ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic")
    scope = {**func.__globals__, **dict.fromkeys(questions, lambda *_: False)}
    work = FunctionType(func.__code__, scope, func.__name__, func.__defaults__, func.__closure__)
    work.__kwdefaults__ = func.__kwdefaults__
    return work


def _composed(work: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    return sharding.written(work, *args, **kwargs)


def table() -> Table:
    """Composites."""
    entries: Table = {}
    for names, work in COMPOSITES.items():
        entries |= {func: partial(_composed, work) for func in functions(names)}
    for name in WRITTEN.split():
        func = getattr(functional, name)
        entries[func] = partial(_composed, _as_written(func))
    return entries
