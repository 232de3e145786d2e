"""Small functions for ranks: what is refused around spatial sharding, and the compiler."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from composed import ROWS, Tower, gradients_apart, rows_of, volume
from rank_pool import Seat
from torch import nn
from torch.utils.checkpoint import checkpoint

from medseg.parallel import layout_of, spatial_parallel


def refused(seat: Seat, what: str) -> tuple[str, str]:
    """Type and text of the error that this rank raises."""
    x = torch.randn(1, 1, 8, 8, 8 - (seat.rank if what == "unequal" else 0), requires_grad=True)
    work = REFUSED[what](seat)
    try:
        with spatial_parallel(seat.group):
            work(x)
    except Exception as error:
        return type(error).__name__, str(error)
    return "", ""


def _nested(seat: Seat) -> Callable[..., Any]:
    def work(x: torch.Tensor) -> None:
        with spatial_parallel(seat.group, 3):
            x.mean()

    return work


def _disabled(seat: Seat) -> Callable[..., Any]:
    def work(x: torch.Tensor) -> None:
        with torch._C.DisableTorchFunction(), spatial_parallel(seat.group):
            x.mean()

    return work


def _reentrant(seat: Seat, **options: Any) -> Callable[..., Any]:
    network = nn.Conv3d(1, 1, 3)
    return lambda x: checkpoint(network, x, **options)


def _scripted(seat: Seat) -> Callable[..., Any]:
    return nn.Sequential(torch.jit.script(nn.Conv3d(1, 1, 3)))


class Calls(nn.Module):
    """A module that calls a scripted function."""

    def __init__(self) -> None:
        super().__init__()
        self._work = [torch.jit.script(_swish)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._work[0](x)


def _swish(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


def _hooked(seat: Seat) -> Callable[..., Any]:
    network = nn.Sequential(nn.Conv3d(1, 1, 3))
    network[0].register_full_backward_hook(lambda module, inputs, outputs: None)
    return network


def _with_gradient() -> nn.Module:
    network = nn.Linear(2, 2)
    network.weight.grad = torch.ones(2, 2)
    return network


def _clipped(seat: Seat) -> Callable[..., Any]:
    network = _with_gradient()
    return lambda x: nn.utils.clip_grad_norm_(network.parameters(), 1.0)


def _stepped(seat: Seat) -> Callable[..., Any]:
    optimiser = torch.optim.SGD(_with_gradient().parameters(), 0.1)
    return lambda x: optimiser.zero_grad()


REFUSED: dict[str, Callable[[Seat], Callable[..., Any]]] = {
    "reentrant": partial(_reentrant, use_reentrant=True), "reentrant by default": _reentrant, "nested": _nested,
    "disabled": _disabled, "scripted module": _scripted, "clip": _clipped, "step": _stepped, "backward hook": _hooked,
    "scripted function": lambda seat: nn.Sequential(Calls(), nn.Conv3d(1, 1, 3)),
    "grad": lambda seat: lambda x: torch.autograd.grad(x.sum(), x),
    "kernel": lambda seat: nn.Conv3d(1, 1, (99, 1, 1)),
    "unequal": lambda seat: torch.relu,
    "loss": lambda seat: lambda x: nn.functional.mse_loss(x, torch.zeros(1, 1, 9, 8, 8)),
}  # fmt: skip


def compiled(seat: Seat, what: str) -> Any:
    """Differences of outputs and gradients of a network that was compiled, or the error."""
    import torch._dynamo

    torch._dynamo.reset()
    reference, network, x = Tower().eval(), Tower().eval(), volume()
    part, counted = rows_of(seat, x, (0, 5, ROWS)), torch._dynamo.utils.counters["stats"]
    y = reference(x)
    (y**2).sum().backward()
    call: Callable[..., Any] = network
    if what in ("network", "network that has run"):
        call = torch.compile(network, backend="aot_eager")
        if what == "network that has run":
            call(x)
    if what == "submodules":
        for one in (network.first, network.middle, network.last):
            one.compile(backend="aot_eager")
    if what == "around the context":
        call = torch.compile(partial(_inside, seat, network), backend="aot_eager")
        return call(part)
    with spatial_parallel(seat.group):
        found = call(part)
    loss: Callable[..., Any] = lambda one: (one**2).sum()  # noqa: E731 - one of several
    if what == "loss":
        loss = torch.compile(loss)  # by the C++ compiler
    before = counted["unique_graphs"]
    loss(found).backward()
    low, high = layout_of(found).cuts[0].own(seat.rank)
    apart = float((found - y[:, :, low:high]).abs().max())
    return max(apart, gradients_apart(seat, network, reference)), counted["unique_graphs"] - before


def _inside(seat: Seat, network: nn.Module, part: torch.Tensor) -> torch.Tensor:
    with spatial_parallel(seat.group):
        return network(part)


def compiles_again(seat: Seat) -> bool:
    """Whether a function is compiled after a context, and not inside of it."""
    import torch._dynamo

    torch._dynamo.reset()
    counted = torch._dynamo.utils.counters["stats"]
    numbers = [counted["unique_graphs"]]
    work, x = torch.compile(_swish, backend="eager"), torch.ones(1, 1, 4, 4, 4)
    with spatial_parallel(seat.group):
        work(x)
    numbers.append(counted["unique_graphs"])
    work(torch.ones(3))
    numbers.append(counted["unique_graphs"])
    return numbers[0] == numbers[1] == numbers[2] - 1
