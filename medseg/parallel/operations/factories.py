"""Tensors that are made inside the context: the same on every rank, of the whole size."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from medseg.parallel.calls import tensors_in
from medseg.parallel.operations.pointwise import pointwise
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Sharding, Unsupported

__all__ = ["table"]

MAKERS = "zeros ones full empty eye arange linspace logspace tensor as_tensor asarray scalar_tensor tril_indices"
OF_A_TENSOR = "new_zeros new_ones new_full new_tensor"
OF_REPLICATED = (
    "meshgrid outer triu tril diag diagonal repeat_interleave unique masked_select nonzero sort topk bincount "
    "mv dot vdot multi_dot _weight_norm"  # of weights
)


def _made(func: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> torch.Tensor:
    if any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values())):
        return pointwise(func, sharding, *args, **kwargs)  # the same values, perhaps of another type
    return sharding.fresh(func(*args, **kwargs))


def _made_alike(func: Callable, sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    like = torch.empty((), dtype=x.dtype, device=x.device)
    return sharding.fresh(func(like, *args, **kwargs))


def _empty_alike(sharding: Sharding, x: torch.Tensor, *size: Any, **kwargs: Any) -> torch.Tensor:
    """``new_empty``: zeros, since what an empty tensor holds differs between ranks."""
    return _made_alike(torch.Tensor.new_zeros, sharding, x, *size, **kwargs)


def _of_replicated(func: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    """Operations that are known where every rank has all the values, and not otherwise."""
    for value in tensors_in((args, kwargs)):
        if not sharding.layout(value).is_replicated:
            raise Unsupported("of a tensor that is cut")
    result = func(*args, **kwargs)
    for value in tensors_in(result):
        sharding.replicated(value)
    return result


def _as_it_is(func: Callable, sharding: Sharding, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **kwargs)


def table() -> Table:
    """Factories."""
    profiler = torch.ops.profiler
    without_tensors: list[Any] = [
        torch.device, torch._C._set_grad_enabled, torch.promote_types, torch.can_cast, torch.get_default_dtype,
        profiler._record_function_enter_new, profiler._record_function_exit._RecordFunction,
    ]  # fmt: skip
    entries: Table = {func: partial(_made, func) for func in functions(MAKERS)}
    entries |= {func: partial(_made_alike, func) for func in functions(OF_A_TENSOR)}
    entries |= {func: partial(_as_it_is, func) for func in without_tensors}
    entries |= dict.fromkeys(functions("new_empty"), _empty_alike)
    entries |= {func: partial(_of_replicated, func) for func in functions(OF_REPLICATED)}
    return entries
