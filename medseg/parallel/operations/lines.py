"""Operations along one dimension, such as softmax and sorting: gathered along it where it is cut, then cut again."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.operations.table import Table, functions
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]


def _along(func: Callable, sharding: Sharding, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """Call ``func(x, dim)`` with a result of the same shape."""
    dim = kwargs.get("dim", args[0] if args else None)
    if not isinstance(dim, int):
        raise Unsupported("without a dimension")
    layout = sharding.layout(x)
    axis = layout.dims.get(dim % x.ndim)
    if axis is None:
        out = sharding.space.map(lambda place, part: func(part, *args, **kwargs), x, layout=layout)
        return sharding.tag(out, layout)
    gathered = sharding.moved(x, layout.replace(axis, None))
    between = sharding.layout(gathered)
    out = sharding.space.map(lambda place, part: func(part, *args, **kwargs), gathered, layout=between)
    return sharding.moved(sharding.tag(out, between), layout)


def _softmax(func: Callable, sharding: Sharding, input: torch.Tensor, dim: Any = None, *args: Any, **kw: Any) -> Any:
    kw.pop("_stacklevel", None)
    return _along(func, sharding, input, dim, **{name: value for name, value in kw.items() if value is not None})


def _normalize(
    sharding: Sharding, input: torch.Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12
) -> torch.Tensor:
    def along(x: torch.Tensor, dim: int) -> torch.Tensor:
        return functional.normalize(x, p, dim, eps)

    return _along(along, sharding, input, dim)


def _scatter(
    func: Callable, sharding: Sharding, x: torch.Tensor, dim: int, index: torch.Tensor, src: Any = None, **kw: Any
) -> Any:
    """``scatter`` and ``scatter_`` along a dimension that is not cut."""
    if "value" in kw:
        src = kw.pop("value")
    tensors = [index, *([src] if isinstance(src, torch.Tensor) else [])]
    goal = sharding.layout(index)
    in_place = func.__name__.endswith("_")
    for one in tensors:
        if any(sharding.shape(one)[d] != sharding.shape(x)[d] for d in goal.dims):
            raise Unsupported("an index or a source that is smaller along the cut")
    if sharding.layout(x) != goal:
        divided = sharding.divided_in_place(x, goal) if in_place else sharding.moved(x, goal)
        if divided is None:
            raise Unsupported("changes a tensor in place by an index of another layout")
        x = divided
    if dim % x.ndim in goal.dims:
        raise Unsupported("along the dimension that is cut")
    operands = [x, *(sharding.moved(one, goal) for one in tensors)]

    def local(place: Place, part: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        return func(part, dim, others[0], others[1] if len(others) > 1 else src, **kw)

    return sharding.tag(sharding.space.map(local, *operands, layout=goal, in_place=in_place), goal)


def _gather(sharding: Sharding, x: torch.Tensor, dim: int, index: torch.Tensor, **_: Any) -> torch.Tensor:
    layout, sides = sharding.layout(x), sharding.shape(index)
    if dim % x.ndim in layout.dims:
        raise Unsupported("along the dimension that is cut")
    for other in layout.dims:
        if sides[other] < sharding.shape(x)[other]:  # the rest is not asked for
            x = sharding.run(torch.narrow, x, other, 0, sides[other])
    layout = sharding.layout(x)
    index = sharding.moved(index, layout)
    return sharding.tag(
        sharding.space.map(lambda place, part, which: part.gather(dim, which), x, index, layout=layout), layout
    )


def _one_hot(sharding: Sharding, x: torch.Tensor, num_classes: int = -1) -> torch.Tensor:
    if num_classes < 1:
        raise Unsupported("one_hot without num_classes")
    layout = sharding.layout(x)
    return sharding.tag(
        sharding.space.map(lambda place, part: functional.one_hot(part, num_classes), x, layout=layout), layout
    )


def _embedding(
    sharding: Sharding,
    input: torch.Tensor,
    weight: torch.Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> torch.Tensor:
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Unsupported("max_norm, scale_grad_by_freq and sparse")
    sharding.check_weights(weight)
    layout = sharding.layout(input)

    def local(place: Place, index: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return functional.embedding(index, table, padding_idx)

    return sharding.tag(sharding.space.map(local, input, weight, layout=layout), layout)


def _prelu(sharding: Sharding, input: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    layout = sharding.layout(input)
    if 1 in layout.dims and weight.numel() > 1:
        raise Unsupported("where the channels are cut")
    return sharding.tag(
        sharding.space.map(lambda place, part, slope: torch.prelu(part, slope), input, weight, layout=layout), layout
    )


def _glu(sharding: Sharding, input: torch.Tensor, dim: int = -1) -> torch.Tensor:
    first, second = sharding.run(torch.chunk, input, 2, dim)
    return sharding.run(torch.mul, first, sharding.run(torch.sigmoid, second))


def table() -> Table:
    """Operations along a dimension."""
    entries: Table = {}
    for func in functions("softmax log_softmax softmin"):
        entries[func] = partial(_softmax, func)
    for func in functions("cumsum cumprod logcumsumexp"):
        entries[func] = partial(_softmax, func)
    entries |= dict.fromkeys(functions("normalize"), _normalize)
    entries |= {func: partial(_scatter, func) for func in functions("scatter scatter_")}
    entries |= dict.fromkeys(functions("gather"), _gather)
    entries |= dict.fromkeys(functions("one_hot"), _one_hot)
    entries |= dict.fromkeys(functions("prelu"), _prelu)
    entries[functional.embedding] = _embedding
    entries |= dict.fromkeys(functions("glu"), _glu)
    return entries
