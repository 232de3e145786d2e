"""Calls of torch functions: their arguments, the tensors in them, and who made these."""

import inspect
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import torch
from torch.autograd.function import BackwardCFunction

__all__ = ["fits", "foreign_function", "plainly", "tensors_in", "usual_arguments", "without_subclasses"]

KNOWN_FUNCTIONS = frozenset(
    {
        "monai.networks.blocks.activation.SwishImplementation",  # works voxel by voxel
        "torch.nn.parallel.distributed._DDPSink",  # changes nothing
    }
)
PLAIN = "_medseg_plain"  # attribute of a tensor of a class of others: the same as a plain tensor
SYNONYMS = {"axis": "dim", "keepdims": "keepdim"}


def usual_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Write arguments as the handlers expect them: `input` first, `dim` for `axis`, without ``out=``."""
    kwargs = {SYNONYMS.get(name, name): value for name, value in kwargs.items() if name != "out"}
    if not args and "input" in kwargs:
        args = (kwargs.pop("input"),)
    return args, kwargs


def without_subclasses(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Take tensors of others' classes, such as MONAI's ``MetaTensor``, for the plain tensors that they are as well."""
    if not any(_is_of_others(type(tensor)) for tensor in tensors_in((args, *kwargs.values()))):
        return args, kwargs
    return plainly(args), plainly(kwargs)


@cache
def _is_of_others(kind: type[torch.Tensor]) -> bool:
    """Whether a class has functions of its own, but no operations of its own (as a distributed tensor has)."""
    ours = (torch._C._disabled_torch_function_impl, torch.Tensor.__torch_function__)
    own = getattr(kind.__torch_function__, "__func__", kind.__torch_function__)
    known = [getattr(one, "__func__", one) for one in ours]
    return own not in known and kind.__torch_dispatch__ is torch.Tensor.__torch_dispatch__


def plainly(value: Any) -> Any:
    """Return nested tuples, lists and dictionaries with plain tensors, always the same ones, in place of others."""
    if isinstance(value, torch.Tensor):
        if not _is_of_others(type(value)):
            return value
        if PLAIN not in value.__dict__:
            with torch._C.DisableTorchFunction():
                setattr(value, PLAIN, value.as_subclass(torch.Tensor))  # type: ignore[arg-type]
        return value.__dict__[PLAIN]
    if type(value) in (tuple, list):
        return type(value)(plainly(item) for item in value)
    return {name: plainly(item) for name, item in value.items()} if type(value) is dict else value


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
