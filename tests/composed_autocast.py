"""Small functions for ranks: operations and networks under autocast, against one device under autocast."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from composed import Tower, rows_of, volume
from operation_cases import own
from rank_pool import Seat
from torch import nn
from torch.nn import functional

from medseg.parallel import layout_of, spatial_parallel

SHAPE, BOUNDS = (2, 4, 6, 6, 6), (0, 2, 6)


def _draw(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


def _weights(dtype: torch.dtype) -> dict[Any, nn.Parameter]:
    """Parameters by their shape."""
    shapes: tuple[Any, ...] = (4, (3, 6), (4, 4, 3, 3, 3))
    return {one: nn.Parameter((_draw(*(one if isinstance(one, tuple) else (one,))) / 3).to(dtype)) for one in shapes}


OPERATIONS: dict[str, Callable[..., torch.Tensor]] = {  # of a part, and a target that is cut alike
    "sum": lambda x, t, w: x.sum(), "mean": lambda x, t, w: x.mean((2, 3, 4)), "norm": lambda x, t, w: x.norm(),
    "var": lambda x, t, w: x.var((2, 3, 4)), "std": lambda x, t, w: x.std(), "amax": lambda x, t, w: x.amax((2, 3, 4)),
    "group_norm": lambda x, t, w: functional.group_norm(x, 2, w[4], w[4]),
    "instance_norm": lambda x, t, w: functional.instance_norm(x, weight=w[4], bias=w[4]),
    "batch_norm": lambda x, t, w: functional.batch_norm(x, None, None, w[4], w[4], True),
    "layer_norm": lambda x, t, w: functional.layer_norm(x, (6,)),
    "softmax": lambda x, t, w: functional.softmax(x, 1),
    "softmax along the cut": lambda x, t, w: functional.softmax(x, 2),
    "trilinear": lambda x, t, w: functional.interpolate(x, scale_factor=2, mode="trilinear"),
    "nearest": lambda x, t, w: functional.interpolate(x, size=9),
    "avg_pool": lambda x, t, w: functional.avg_pool3d(x, 3, 2, 1),
    "max_pool": lambda x, t, w: functional.max_pool3d(x, 3, 2, 1),
    "global average": lambda x, t, w: functional.adaptive_avg_pool3d(x, 1),
    "global maximum": lambda x, t, w: functional.adaptive_max_pool3d(x, 1),
    "adaptive average": lambda x, t, w: functional.adaptive_avg_pool3d(x, 4),
    "cross_entropy": lambda x, t, w: functional.cross_entropy(x, t[:, 0].long()),
    "binary_cross_entropy": lambda x, t, w: functional.binary_cross_entropy_with_logits(x, t.sigmoid()),
    "mse_loss": lambda x, t, w: functional.mse_loss(x, t),
    "dice": lambda x, t, w: (x.sigmoid() * t.sigmoid()).sum((2, 3, 4)) / (x.sigmoid() + t.sigmoid()).sum((2, 3, 4)),
    "cat": lambda x, t, w: torch.cat([x, t], 1), "prelu": lambda x, t, w: functional.prelu(x, w[4]),
    "linear": lambda x, t, w: functional.linear(x, w[3, 6]), "matmul": lambda x, t, w: x @ x,
    "attention": lambda x, t, w: functional.scaled_dot_product_attention(x, x, x), "pow": lambda x, t, w: x**2,
    "conv": lambda x, t, w: functional.conv3d(x, w[4, 4, 3, 3, 3], w[4], padding=1),
    "transposed": lambda x, t, w: functional.conv_transpose3d(x, w[4, 4, 3, 3, 3], w[4], stride=2),
    "sum of types": lambda x, t, w: x + functional.conv3d(x, w[4, 4, 3, 3, 3], padding=1),
    "baddbmm": lambda x, t, w: torch.baddbmm(x[0, 0], x[0, 0], x[0, 0]),
}  # fmt: skip


@dataclass(frozen=True)
class Precision:
    """Types and errors of outputs and gradients, over the largest value, of one device and of this rank's part."""

    types: tuple[torch.dtype, torch.dtype]
    outputs: tuple[float, float]
    gradients: tuple[float, float]


def compare(seat: Seat, name: str, dtype: torch.dtype) -> Precision:
    """An operation on a tensor of a type, under autocast to bfloat16."""
    target = _draw(*SHAPE, 1)[..., 0].abs().clamp(max=3)
    works = [partial(OPERATIONS[name], w=_weights(one)) for one in (torch.float64, torch.float32)]
    return _compared(seat, works, _draw(*SHAPE).to(dtype), target, BOUNDS)


def network(seat: Seat) -> Precision:
    """A tower with its dropout off; the gradient is that of its input."""
    works = [partial(_first, Tower().eval()), partial(_first, Tower().eval().float())]
    return _compared(seat, works, volume().float(), torch.zeros(1, 1, 16), (0, 5, 16))


def _first(work: Callable[..., Any], x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return work(x)


def _compared(
    seat: Seat, works: Sequence[Callable[..., Any]], x: torch.Tensor, target: torch.Tensor, bounds: Sequence[int]
) -> Precision:
    whole, exact = x.clone().requires_grad_(), x.double().requires_grad_()
    part, its_target = rows_of(seat, x, bounds).requires_grad_(), rows_of(seat, target, bounds)
    want = works[0](exact, target.double())
    with torch.autocast("cpu", torch.bfloat16):
        one = works[1](whole, target)
        with spatial_parallel(seat.group):
            found = works[1](part, its_target)
    layout = layout_of(found)
    weights = torch.randn(want.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    (of_exact,) = torch.autograd.grad((want * weights).sum(), exact)
    (of_whole,) = torch.autograd.grad((one.double() * weights).sum(), whole)
    copies = seat.size if layout.is_replicated else 1
    mine = own(weights, layout, (seat.rank,))
    (of_part,) = torch.autograd.grad((found.double() * mine).sum() / copies, part)
    return Precision(
        (one.dtype, found.dtype),
        (_error(one, want, want), _error(found, own(want, layout, (seat.rank,)), want)),
        (_error(of_whole, of_exact, of_exact), _error(of_part, rows_of(seat, of_exact, bounds), of_exact)),
    )


def _error(found: torch.Tensor, want: torch.Tensor, scale: torch.Tensor) -> float:
    return float((found.double() - want).abs().max() / scale.abs().max()) if found.numel() else 0.0
