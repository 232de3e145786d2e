"""Losses: voxel by voxel on the parts, then reduced over all ranks. The outcome is the value of the whole group."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn import functional

from medseg.parallel.layout import Layout
from medseg.parallel.operations.pointwise import pointwise
from medseg.parallel.operations.table import Table
from medseg.parallel.rows import nothing
from medseg.parallel.sharding import Sharding, Unsupported
from medseg.parallel.space import Place

__all__ = ["table"]

VOXELWISE = """
    mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div
    poisson_nll_loss soft_margin_loss
"""


def _voxelwise(func: Callable, sharding: Sharding, input: torch.Tensor, target: Any, *args: Any, **kw: Any) -> Any:
    reduction = kw.pop("reduction", "mean")
    if args and isinstance(args[-1], str):
        reduction, args = args[-1], args[:-1]
    if any(kw.pop(name, None) is not None for name in ("size_average", "reduce")):
        raise Unsupported("size_average and reduce; use reduction")
    each = pointwise(func, sharding, input, target, *args, **kw, reduction="none")
    if reduction == "none":
        return each
    if reduction == "batchmean":
        return sharding.run(torch.div, sharding.run(torch.sum, each), sharding.shape(input)[0])
    return sharding.run(torch.mean if reduction == "mean" else torch.sum, each)


def _cross_entropy(
    func: Callable,
    sharding: Sharding,
    input: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    size_average: Any = None,
    ignore_index: int = -100,
    reduce: Any = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    if size_average is not None or reduce is not None:
        raise Unsupported("size_average and reduce; use reduction")
    layout = sharding.layout(input)
    classes = 1 if input.ndim > 1 else 0
    if classes in layout.dims:
        input = sharding.moved(input, layout.replace(layout.dims[classes], None))
        layout = sharding.layout(input)
    probabilities = target.ndim == input.ndim and target.is_floating_point()
    if weight is not None and weight.shape != (sharding.shape(input)[classes],):
        raise ValueError(f"cross entropy: weights {tuple(weight.shape)} for {sharding.shape(input)[classes]} classes")
    each = layout.moved({dim: dim - (dim > classes) for dim in layout.dims})
    if not (probabilities or sharding.is_tracked(target)):  # from outside: this rank's part, as the input is
        sharding.space.check(target, each)
        sharding.tag(target, each)
    target = sharding.moved(target, layout if probabilities else each)
    options: dict[str, Any] = {"reduction": "none"}
    if func is functional.cross_entropy:
        options["label_smoothing"] = label_smoothing
    if not probabilities:
        options["ignore_index"] = ignore_index
    operands = [input, target] if weight is None else [input, target, weight]

    def local(place: Place, logits: torch.Tensor, wanted: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        if logits.numel() == 0:
            shape = [side for dim, side in enumerate(logits.shape) if dim != classes]
            return nothing(shape, logits, wanted)
        return func(logits, wanted, weights[0] if weights else None, **options)

    values = sharding.tag(sharding.space.map(local, *operands, layout=each), each)
    if reduction == "none":
        return values
    total = sharding.run(torch.sum, values)
    if reduction == "sum":
        return total
    if probabilities:
        return sharding.run(torch.div, total, sharding.shape(values).numel())
    return sharding.run(torch.div, total, _counted(sharding, target, each, weight, ignore_index))


def _counted(
    sharding: Sharding, target: torch.Tensor, layout: Layout, weight: torch.Tensor | None, ignore_index: int
) -> torch.Tensor:
    """Sum of the weights of the voxels that count."""

    def local(place: Place, wanted: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        counts = wanted != ignore_index
        if not weights:
            return counts.sum().to(torch.get_default_dtype() if weight is None else weight.dtype)
        return (weights[0][torch.where(counts, wanted, 0)] * counts).sum()

    operands = [target] if weight is None else [target, weight.detach()]
    axes = sorted(layout.dims.values())
    everywhere = sharding.everywhere
    if not axes:
        return sharding.tag(sharding.space.map(local, *operands, layout=everywhere), everywhere)
    return sharding.tag(sharding.space.total(local, *operands, axes=axes, layout=everywhere), everywhere)


def table() -> Table:
    """Losses."""
    entries: Table = {}
    for name in VOXELWISE.split():
        func = getattr(functional, name)
        entries[func] = partial(_voxelwise, func)
    for name in ("cross_entropy", "nll_loss"):
        func = getattr(functional, name)
        entries[func] = partial(_cross_entropy, func)
    return entries
