"""Calls of autograd, hooks on tensors, and copies of tensors from inside the context."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from medseg.parallel.layout import Layout
from medseg.parallel.operations.table import Table
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import plain

__all__ = ["table"]


def _backward(sharding: Sharding, *args: Any, **kwargs: Any) -> None:
    torch.autograd.backward(*args, **kwargs)


def _grad(sharding: Sharding, *args: Any, **kwargs: Any) -> None:
    raise Unsupported("its result would be a rank's share of a gradient; call it outside of the context")


def _of_tensor(sharding: Sharding, x: torch.Tensor, *args: Any) -> torch.Tensor | None:
    """``x.grad``."""
    gradient = torch.Tensor.grad.__get__(x, *args)  # type: ignore[union-attr]
    if gradient is None:
        return None
    return sharding.tag(gradient, sharding.space.of_gradient(gradient, _layout_of_gradient(sharding, x)))


def _layout_of_gradient(sharding: Sharding, x: torch.Tensor) -> Layout:
    layout = sharding.layout(x)
    if layout.is_replicated and sharding.space.gradients_add_up:
        raise Unsupported("a rank has only its share of the gradient of what every rank has")
    return layout


def _hooked(func: Callable, sharding: Sharding, x: torch.Tensor, hook: Callable) -> Any:
    """``x.register_hook(hook)``: the hook sees the gradient of the whole, as what it is given forward."""
    layout = _layout_of_gradient(sharding, x)

    def inside(gradient: torch.Tensor) -> torch.Tensor | None:
        with plain():
            goal = sharding.space.of_gradient(gradient, layout)
            given = sharding.tag(gradient.detach(), goal)
        with sharding.resumed():
            answer = hook(given)
            with plain():
                return None if answer is None else sharding.moved(answer, goal)

    return func(x, inside)


def _hooked_leaf(func: Callable, sharding: Sharding, x: torch.Tensor, hook: Callable) -> Any:
    """``x.register_post_accumulate_grad_hook(hook)``."""
    _layout_of_gradient(sharding, x)

    def inside(leaf: torch.Tensor) -> None:
        with sharding.resumed():
            hook(leaf)

    return func(x, inside)


def _deep_copy(sharding: Sharding, x: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
    layout = sharding.layout(x)
    return sharding.tag(torch.Tensor.__deepcopy__(x, memo), layout)


def table() -> Table:
    """Autograd."""
    descriptor: Any = torch.Tensor.grad
    return {
        torch.autograd.backward: _backward,
        torch.autograd.grad: _grad,
        descriptor: _of_tensor,
        torch.Tensor.register_hook: partial(_hooked, torch.Tensor.register_hook),
        torch.Tensor.register_post_accumulate_grad_hook: partial(
            _hooked_leaf, torch.Tensor.register_post_accumulate_grad_hook
        ),
        torch.Tensor.__deepcopy__: _deep_copy,
    }
