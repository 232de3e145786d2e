"""Products of matrices: linear layers, attention, einsum. Sums over a dimension that is cut are summed over ranks."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Layout
from medseg.parallel.operations.table import Table, functions
from medseg.parallel.rows import nothing
from medseg.parallel.sharding import Handler, Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]


def _contract(
    sharding: Sharding, operands: Sequence[torch.Tensor], labels: Sequence[str], result: str, local: Any
) -> torch.Tensor:
    """Carry out a product whose dimensions have labels.

    Along each mesh axis the first cut operand decides which label is cut; others are divided likewise where they have
    the label and gathered where they are cut along another one.
    """
    layouts = [sharding.layout(one) for one in operands]
    goals = [sharding.everywhere] * len(operands)
    out, axes = sharding.everywhere, []
    for axis in range(sharding.space.axes):
        chosen = next(
            (
                (label[cut.dim], cut) for label, layout in zip(labels, layouts)
                if (cut := layout.cuts[axis]) is not None and label[cut.dim] not in _used(goals, labels)
            ),
            None,
        )  # fmt: skip
        if chosen is None:
            continue
        letter, cut = chosen
        for number, label in enumerate(labels):
            if letter in label:
                dim = label.index(letter)
                same = sharding.shape(operands[number])[dim] == cut.size
                goals[number] = goals[number].replace(axis, cut.at(dim) if same else None)
        if letter in result:
            out = out.replace(axis, cut.at(result.index(letter)))
        else:
            axes.append(axis)
    parts = [sharding.moved(one, goal) for one, goal in zip(operands, goals)]
    if axes:
        return sharding.tag(sharding.space.total(local, *parts, axes=axes, layout=out), out)
    return sharding.tag(sharding.space.map(local, *parts, layout=out), out)


def _used(goals: Sequence[Layout], labels: Sequence[str]) -> set[str]:
    return {label[dim] for goal, label in zip(goals, labels) for dim in goal.dims}


def _linear(
    sharding: Sharding, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    layout = sharding.layout(input)
    if input.ndim - 1 in layout.dims:  # few features, so gathering them costs little
        input = sharding.moved(input, layout.replace(layout.dims[input.ndim - 1], None))
        layout = sharding.layout(input)
    operands = [input, weight] if bias is None else [input, weight, bias]
    return sharding.tag(
        sharding.space.map(lambda place, *parts: functional.linear(*parts), *operands, layout=layout), layout
    )


def _matmul(sharding: Sharding, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    if a.ndim < 2 or b.ndim < 2:
        raise Unsupported("products of vectors")
    if sharding.layout(a).is_replicated and sharding.layout(b).is_replicated:
        everywhere = sharding.everywhere
        return sharding.tag(
            sharding.space.map(lambda place, x, y: torch.matmul(x, y), a, b, layout=everywhere), everywhere
        )
    batch = "abcdefgh"[: max(a.ndim, b.ndim) - 2]
    first = batch[len(batch) - (a.ndim - 2) :] + "xy"
    second = batch[len(batch) - (b.ndim - 2) :] + "yz"
    return _contract(sharding, [a, b], [first, second], batch + "xz", lambda place, x, y: torch.matmul(x, y))


def _reversed_matmul(sharding: Sharding, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return _matmul(sharding, b, a)


def _einsum(sharding: Sharding, equation: str, *operands: Any) -> torch.Tensor:
    given = operands[0] if len(operands) == 1 and isinstance(operands[0], tuple | list) else operands
    inputs, arrow, result = equation.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if not arrow or "." in equation or any(len(set(label)) < len(label) for label in labels):
        raise Unsupported(f"einsum '{equation}' (write every dimension once, and the result)")
    return _contract(sharding, list(given), labels, result, lambda place, *parts: torch.einsum(equation, *parts))


def _addmm(func: Any, sharding: Sharding, input: torch.Tensor, a: torch.Tensor, b: torch.Tensor, **kw: Any) -> Any:
    beta, alpha = kw.get("beta", 1), kw.get("alpha", 1)
    product = _matmul(sharding, a, b)
    product = product if alpha == 1 else sharding.run(torch.mul, product, alpha)
    if beta == 0:
        return product
    if torch.is_autocast_enabled(product.device.type):  # casts what is added, too
        input = sharding.run(torch.Tensor.to, input, product.dtype)
    return sharding.run(torch.add, product, input if beta == 1 else sharding.run(torch.mul, input, beta))


def _attention(
    sharding: Sharding,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """Scaled dot-product attention: queries may be cut along the batch or the sequence; keys and values are gathered
    along the sequence.
    """
    layout = sharding.layout(query)
    sequence = query.ndim - 2
    if dropout_p or is_causal or query.ndim - 1 in layout.dims:
        raise Unsupported("attention with dropout, a causal mask or features that are cut")
    batch = layout
    for dim, axis in layout.dims.items():
        if dim == sequence:
            batch = batch.replace(axis, None)
    key, value = sharding.moved(key, batch), sharding.moved(value, batch)
    operands = [query, key, value]
    if attn_mask is not None:
        wide = sharding.run(torch.broadcast_to, attn_mask, (*sharding.shape(query)[:-1], sharding.shape(key)[-2]))
        operands.append(sharding.moved(wide, layout))
    work = partial(_attend, scale, enable_gqa)
    return sharding.tag(sharding.space.map(work, *operands, layout=layout), layout)


def _attend(scale: Any, grouped: bool, place: Place, *operands: torch.Tensor) -> torch.Tensor:
    query, key, value, *mask = operands
    if query.numel() == 0:
        return nothing((*query.shape[:-1], value.shape[-1]), *operands)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=mask[0] if mask else None, scale=scale, enable_gqa=grouped
    )


def table() -> Table:
    """Products."""
    entries: Table = {}
    handlers: dict[str, Handler] = {
        "linear": _linear, "matmul bmm mm __matmul__": _matmul, "__rmatmul__": _reversed_matmul, "einsum": _einsum,
        "scaled_dot_product_attention": _attention,
    }  # fmt: skip
    for names, handler in handlers.items():
        entries |= dict.fromkeys(functions(names), handler)
    entries |= {func: partial(_addmm, func) for func in functions("addmm baddbmm")}
    return entries
