"""Functions of ranks for the tests of what is refused inside `spatial_parallel`, and of tensors from outside."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from operation_cases import apart, largest, own
from rank_pool import Seat
from sharding_toys import LAYERS, REFUSED, RIGHT, SHAPE, Layer, Outer
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from medseg.errors import MedsegError
from medseg.parallel import UnsupportedOperation, layout_of, replicate, spatial_parallel


def refusals(seat: Seat, name: str) -> tuple[str, str, str]:
    """Operation, module and text of the refusal of an operation in a module ``inner``; empty where there is none."""
    x = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = SHAPE[2] // seat.size
    network = Outer(Layer(lambda _, x: REFUSED[name](x)))
    part = x[:, :, seat.rank * rows : (seat.rank + 1) * rows].clone().requires_grad_(name[:7] == "unknown")
    try:
        with spatial_parallel(seat.group):
            network(part)
    except UnsupportedOperation as error:
        return error.operation, error.module, str(error)
    return "", "", ""


def both(seat: Seat, name: str) -> float:
    """Difference of output and gradient of a function that must be right, on uneven parts."""
    return _difference(seat, lambda: Layer(lambda _, x: RIGHT[name](x)))


def layer(seat: Seat, name: str) -> float:
    """The same of a module."""
    return _difference(seat, LAYERS[name])


def _difference(seat: Seat, make: Callable[[], nn.Module], kind: Callable[[torch.Tensor], Any] = torch.clone) -> float:
    whole = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = [0, 3, *[8] * (seat.size - 1)] if seat.size > 1 else [0, 8]
    low, high = ends[seat.rank], ends[seat.rank + 1]
    part = kind(whole[:, :, low:high].clone()).requires_grad_()
    whole.requires_grad_()
    expected = make()(whole)
    weight = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (expected * weight).sum().backward()
    module = make()
    with spatial_parallel(seat.group):
        found = module(part)
    layout = layout_of(found)
    copies = seat.size if layout.is_replicated else 1
    (found * own(weight, layout, (seat.rank,))).sum().div(copies).backward()
    scale = largest(expected)
    return max(
        apart(found.detach(), own(expected.detach(), layout, (seat.rank,)), scale),
        apart(part.grad, whole.grad[:, :, low:high], largest(whole.grad)),
    )


class Encoding(nn.Module):
    """Adds what it holds, all of the size of the whole: buffer, attribute, list, and the buffer of a sibling."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        values = [torch.randn(1, 4, 8, 6, dtype=torch.float64, generator=generator) for _ in range(4)]
        self.register_buffer("code", values[0])
        self.plain, self.several = values[1], [values[2]]
        self.sibling = nn.Module()
        self.sibling.register_buffer("code", values[3])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.code + self.plain * self.several[0].sum() + self.sibling.code.sum() * x


def held_tensors(seat: Seat) -> float:
    """Difference for a module with tensors of its own."""
    return _difference(seat, Encoding)


class Remembers(nn.Module):
    """A module that happens to hold the very tensor that it is given, and one that it has made."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x * 2
        self.made = y
        return self.made.sum((2, 3), keepdim=True) + self.given.sum((2, 3), keepdim=True) * x


def held_input(seat: Seat) -> float:
    """Sum over the whole of an input that is also an attribute."""
    whole = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = SHAPE[2] // seat.size
    part = whole[:, :, seat.rank * rows : (seat.rank + 1) * rows].clone()
    module, reference = Remembers(), Remembers()
    module.given, reference.given = part, whole
    expected = reference(whole)
    with spatial_parallel(seat.group):
        found = module(part)
    return apart(found, own(expected, layout_of(found), (seat.rank,)), largest(expected))


def outside(seat: Seat, kind: str) -> str:
    """Message about a tensor from outside that does not fit; empty where nothing is said."""
    rows = 4 + (seat.rank if kind == "uneven" else 0)
    x = torch.ones(1, 2, rows, 6, dtype=torch.float64)
    others = {
        "wrong rows": torch.ones(1, 2, 3, 6, dtype=torch.float64),
        "whole": torch.ones(1, 2, 4 * seat.size, 6, dtype=torch.float64),
        "other width": torch.ones(1, 2, rows, 5 + seat.rank, dtype=torch.float64),
        "dimensions": torch.ones(*(1,) * (4 + seat.rank), dtype=torch.float64),
        "labels": torch.zeros(1, 3, 6, dtype=torch.int64),
        "one row": torch.ones(1, 2, 1, 6, dtype=torch.float64),
    }
    try:
        with spatial_parallel(seat.group):
            if kind == "labels":
                functional.cross_entropy(x, others[kind])
            elif kind == "one row":
                x.sum(2, keepdim=True) * others[kind]
            elif kind == "joined":
                torch.cat([x, torch.ones(1, 1, 3, 6, dtype=torch.float64)], 1)
            else:
                x + others[kind]
    except MedsegError as error:
        return str(error)
    return ""


def marked(seat: Seat) -> float:
    """A tensor of the size of the whole that is marked as the same on every rank."""
    part, whole = torch.ones(1, 2, 4, 6), torch.arange(4.0 * seat.size)[:, None].expand(1, 2, -1, 6)
    context = spatial_parallel(seat.group)
    replicate(whole, context)
    with context:
        found = part * whole
    return float((found - whole[:, :, 4 * seat.rank : 4 * seat.rank + 4]).abs().max())


def afterwards(seat: Seat) -> tuple[float, str]:
    """Results are plain tensors outside; they come in again as what they are, and not into another context."""
    x = torch.ones(1, 1, 4, 6) * (seat.rank + 1)
    with spatial_parallel(seat.group):
        y = x * 2
    z = y.relu() + y
    with spatial_parallel(seat.group):
        total = (z + y).sum()
    try:
        with spatial_parallel(seat.group, dim=3):
            y.sum()
    except MedsegError as error:
        return float(total), str(error)
    return float(total), ""


def checkpointed(seat: Seat, kind: str) -> float | str:
    """Gradient of a checkpointed region: with the context entered again, without it, or reentrant."""
    layer = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)).double()
    for number, parameter in enumerate(layer.parameters()):
        parameter.data.normal_(generator=torch.Generator().manual_seed(number))
    whole = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    part = whole[:, :, 4 * seat.rank : 4 * seat.rank + 4].clone().requires_grad_()
    whole.requires_grad_()
    layer(whole).square().sum().backward()
    options: dict[str, Any] = {"use_reentrant": kind == "reentrant"}
    if kind == "entered":
        options["context_fn"] = lambda: (nullcontext(), spatial_parallel(seat.group))
    try:
        with spatial_parallel(seat.group):
            found = checkpoint(lambda x: layer(x * 1), part, **options) * 1
        found.square().sum().backward()
    except (MedsegError, RuntimeError) as error:
        return str(error)
    return apart(part.grad, whole.grad[:, :, 4 * seat.rank : 4 * seat.rank + 4], largest(whole.grad))


def meta_tensor(seat: Seat) -> float:
    """Difference for MONAI's tensors with metadata, one of them held by the module, changed in place on the way."""
    from monai.data import MetaTensor

    def work(module: Any, x: torch.Tensor) -> torch.Tensor:
        return functional.leaky_relu(functional.instance_norm(x), 0.1, inplace=True) * module.factor

    def make() -> nn.Module:
        return Layer(work, factor=MetaTensor(torch.linspace(1, 2, 8, dtype=torch.float64).reshape(1, 1, 8, 1)))

    return _difference(seat, make, MetaTensor)


def _sliced(seat: Seat, *, alike: bool) -> str | float:
    """A slice outside of any module: of the same rows of the whole on every rank, or of a rank's own."""
    whole = torch.arange(8.0 * seat.size)[None, None, :, None]
    part = whole[:, :, 8 * seat.rank : 8 * seat.rank + 8].clone()
    rows = slice(3, 11) if alike else slice(8 * seat.rank, 8 * seat.rank + 8)
    try:
        with spatial_parallel(seat.group):
            return float(part[:, :, rows].sum() - whole[:, :, rows].sum())
    except UnsupportedOperation as error:
        return str(error)


def sliced_alike(seat: Seat) -> str | float:
    return _sliced(seat, alike=True)


def sliced_otherwise(seat: Seat) -> str | float:
    return _sliced(seat, alike=False)


def in_another_context(seat: Seat) -> float:
    """A batch that was a part in one context is a part in the next one, which cuts it elsewhere."""
    part = torch.full((1, 1, 2, 3), 1.0 + seat.rank)
    sums = []
    for dim in (2, 3, 2):
        with spatial_parallel(seat.group, dim=dim):
            sums.append((float(part.sum()), tuple(part.shape)))
    n = seat.size
    total = 6.0 * n * (n + 1) / 2
    return float(sums != [(total, (1, 1, 2 * n, 3)), (total, (1, 1, 2, 3 * n)), (total, (1, 1, 2 * n, 3))])
