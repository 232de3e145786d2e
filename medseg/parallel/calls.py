"""Calls of torch functions: their arguments, the tensors in them, and who made these."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

__all__ = ["fits", "foreign_function", "tensors_in", "usual_arguments"]

KNOWN_FUNCTIONS = frozenset(
    {
        "monai.networks.blocks.activation.SwishImplementation",  # works voxel by voxel
        "torch.nn.parallel.distributed._DDPSink",  # changes nothing
    }
)
SYNONYMS = {"axis": "dim", "keepdims": "keepdim"}


def usual_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Write arguments as the handlers expect them: `input` first, `dim` for `axis`, without ``out=``."""
    kwargs = {SYNONYMS.get(name, name): value for name, value in kwargs.items() if name != "out"}
    if not args and "input" in kwargs:
        args = (kwargs.pop("input"),)
    return args, kwargs


def fits(handler: Callable, *args: Any, **kwargs: Any) -> bool:
    """Whether a function takes these arguments."""
    try:
        inspect.signature(handler).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        yield from tensors_in(tuple(value.values()))


def foreign_function(tensor: torch.Tensor) -> type | None:
    """The autograd function of others (a subclass of ``torch.autograd.Function``) that made a tensor, if any.

    What its backward pass does with parts is not known.
    """
    kind = type(tensor.grad_fn)
    if not issubclass(kind, BackwardCFunction):
        return None
    made = kind._forward_cls  # type: ignore[attr-defined]
    ours = made.__module__.startswith("medseg.parallel.")
    return None if ours or f"{made.__module__}.{made.__qualname__}" in KNOWN_FUNCTIONS else made
