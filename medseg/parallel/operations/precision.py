"""Types of results where autocast has a say, for operations that are made of others here."""

from collections.abc import Callable, Sequence

import torch

__all__ = ["LOW", "type_of_result"]

LOW = (torch.float16, torch.bfloat16)


def type_of_result(func: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, shape: Sequence[int]) -> torch.dtype:
    """Type that ``func(x)`` has on one device, tried on a small tensor.

    Autocast lets some reductions, normalisations and poolings of a half-precision tensor give single precision, others
    not, differently on CPU and GPU.

    Parameters
    ----------
    shape : sequence of int
        Of the small tensor, which `func` can work on.
    """
    if x.dtype not in LOW or not torch.is_autocast_enabled(x.device.type):
        return x.dtype
    with torch.no_grad():
        return func(torch.zeros(shape, dtype=x.dtype, device=x.device)).dtype
