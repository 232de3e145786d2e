"""Dropout and random tensors.

What every rank must agree on (channels that are dropped, values that are not cut) is drawn by the first rank. Of a cut
tensor, small ones are drawn whole by every rank, so that ranks of one seed draw what one device would; of large ones
each rank draws its part for itself: as random as on one device, but not the same numbers.
"""

from functools import partial
from math import prod
from typing import Any

import torch

from medseg.parallel.operations.table import Table, functions
from medseg.parallel.rows import memory_format
from medseg.parallel.sharding import Sharding, Unsupported

__all__ = ["table"]


def _dropout(
    sharding: Sharding, input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    return _dropped(sharding, input, p, training, tuple(sharding.shape(input)), inplace)


def _channel_dropout(
    unbatched: int | None,
    sharding: Sharding,
    input: torch.Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
) -> torch.Tensor:
    """Drop channels; in an input of `unbatched` dimensions these are the first, as torch has it."""
    shape = sharding.shape(input)
    kept = 1 if len(shape) == unbatched else 2
    return _dropped(sharding, input, p, training, (*shape[:kept], *(1,) * (len(shape) - kept)), inplace)


def _dropped(
    sharding: Sharding, x: torch.Tensor, p: float, training: bool, shape: tuple[int, ...], inplace: bool
) -> torch.Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return x
    layout = sharding.layout(x)
    noise_layout = layout if shape == tuple(sharding.shape(x)) else sharding.everywhere
    draw = partial(_mask, p, x.dtype, x.device, memory_format(x))
    mask = sharding.tag(sharding.space.drawn(draw, shape, layout=noise_layout), noise_layout)
    return sharding.run(torch.Tensor.mul_ if inplace else torch.mul, x, mask)


def _mask(p: float, dtype: Any, device: Any, order: torch.memory_format, shape: Any, generator: Any) -> torch.Tensor:
    order = order if prod(shape[2:]) > 1 else torch.contiguous_format
    mask = torch.empty(shape, dtype=dtype, device=device, memory_format=order).bernoulli_(1 - p, generator=generator)
    return mask.div_(1 - p) if p < 1 else mask


def _alike(kind: str, sharding: Sharding, input: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    """``rand_like``, ``randn_like``."""
    layout = sharding.layout(input)
    dtype, device = kwargs.get("dtype") or input.dtype, kwargs.get("device") or input.device
    draw = partial(_values, kind, dtype, device, memory_format(input))
    return sharding.tag(sharding.space.drawn(draw, tuple(sharding.shape(input)), layout=layout), layout)


def _values(kind: str, dtype: Any, device: Any, order: torch.memory_format, shape: Any, generator: Any) -> torch.Tensor:
    """Numbers in the order in which they lie in memory, as torch draws them."""
    empty = torch.empty(shape, dtype=dtype, device=device, memory_format=order)
    return empty.normal_(generator=generator) if kind == "randn" else empty.uniform_(generator=generator)


def _fresh(kind: str, sharding: Sharding, *size: Any, **kwargs: Any) -> torch.Tensor:
    """``rand``, ``randn``: the same on every rank."""
    given = size[0] if len(size) == 1 and isinstance(size[0], tuple | list | torch.Size) else size
    if kwargs.get("generator") is not None:
        raise Unsupported("a random generator of one's own")
    dtype, device = kwargs.get("dtype") or torch.get_default_dtype(), torch.device(kwargs.get("device") or "cpu")
    everywhere = sharding.everywhere
    draw = partial(_values, kind, dtype, device, torch.contiguous_format)
    return sharding.fresh(sharding.space.drawn(draw, tuple(given), layout=everywhere))


def _whole_numbers(sharding: Sharding, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``randint(low, high, size)``: the same on every rank."""
    low, high, size = (0, *args) if len(args) == 2 else args
    return _same_everywhere(sharding, torch.randint, tuple(size), kwargs, low, high, tuple(size))


def _order(sharding: Sharding, n: int, **kwargs: Any) -> torch.Tensor:
    """``randperm``: the same on every rank."""
    return _same_everywhere(sharding, torch.randperm, (n,), kwargs, n)


def _multinomial(
    sharding: Sharding, input: torch.Tensor, num_samples: int, replacement: bool = False, **kwargs: Any
) -> torch.Tensor:
    if not sharding.layout(input).is_replicated:
        raise Unsupported("of a tensor that is cut")
    shape = (*input.shape[:-1], num_samples)
    return _same_everywhere(sharding, torch.multinomial, shape, kwargs, input, num_samples, replacement)


def _same_everywhere(sharding: Sharding, func: Any, shape: tuple[int, ...], kwargs: Any, *args: Any) -> torch.Tensor:
    if kwargs.get("generator") is not None:
        raise Unsupported("a random generator of one's own")
    draw = partial(_called, func, args, kwargs)
    return sharding.fresh(sharding.space.drawn(draw, shape, layout=sharding.everywhere))


def _called(func: Any, args: Any, kwargs: Any, shape: Any, generator: Any) -> torch.Tensor:
    return func(*args, **{**kwargs, "generator": generator})


def _in_place(func: Any, sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``normal_``, ``uniform_`` and others: drawn anew, then copied."""
    layout = sharding.layout(x)
    draw = partial(_filled, func, x.dtype, x.device, args, kwargs)
    values = sharding.tag(sharding.space.drawn(draw, tuple(sharding.shape(x)), layout=layout), layout)
    return sharding.run(torch.Tensor.copy_, x, values)


def _filled(func: Any, dtype: Any, device: Any, args: Any, kwargs: Any, shape: Any, generator: Any) -> torch.Tensor:
    return func(torch.empty(shape, dtype=dtype, device=device), *args, **{**kwargs, "generator": generator})


def table() -> Table:
    """Random numbers."""
    entries: Table = dict.fromkeys(functions("dropout"), _dropout)
    for names, unbatched in (("dropout1d", 2), ("dropout2d feature_dropout", None), ("dropout3d", 4)):
        entries |= {func: partial(_channel_dropout, unbatched) for func in functions(names)}
    for kind in ("rand", "randn"):
        entries |= {func: partial(_fresh, kind) for func in functions(kind)}
        entries |= {func: partial(_alike, kind) for func in functions(f"{kind}_like")}
    entries |= {torch.randint: _whole_numbers, torch.randperm: _order}
    entries |= dict.fromkeys(functions("multinomial"), _multinomial)
    entries |= {func: partial(_in_place, func) for func in functions("normal_ uniform_ bernoulli_ exponential_")}
    return entries
