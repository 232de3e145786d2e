"""Small functions for ranks: spatial sharding together with activation checkpointing."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from operation_cases import largest
from rank_pool import Seat
from torch import nn
from torch.utils import checkpoint as checkpointing
from torch.utils.checkpoint import checkpoint

from medseg.parallel import checkpoint_contexts, out_of_core, spatial_parallel

ROWS = 16


class Tower(nn.Module):
    """Convolutions, normalisation, dropout and pooling; `work` says how the middle of it is called."""

    def __init__(self, work: Callable[..., Any] | None = None, norm: type[nn.Module] = nn.InstanceNorm3d) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv3d(1, 4, 3, padding=1)
        self.middle = nn.Sequential(
            norm(4, affine=True), nn.PReLU(), nn.Conv3d(4, 4, 3, stride=2, padding=1), nn.Dropout(0.3), nn.MaxPool3d(2),
        )  # fmt: skip
        self.last = nn.Conv3d(4, 2, 3, padding=1)
        self.work = work or _called
        self.double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.work(self, self.first(x))
        return self.last(torch.relu_(y))  # in place: what a region returns may be changed


def _called(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    return tower.middle(x)


def _checkpointed(tower: Tower, x: torch.Tensor, **options: Any) -> torch.Tensor:
    return checkpoint(tower.middle, x, use_reentrant=False, **options)


def _nested(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    def inner(y: torch.Tensor) -> torch.Tensor:
        return checkpoint(tower.middle[2:], tower.middle[:2](y), use_reentrant=False)

    return checkpointing.checkpoint(inner, x, use_reentrant=False)


def _named(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    """Arguments by name, in a tuple, the same on every rank, and captured."""

    def region(pair: Any, *, scale: torch.Tensor) -> torch.Tensor:
        return tower.middle(pair[0] * pair[1]) * scale * mean

    mean = x.mean((0, 2, 3, 4), keepdim=True)
    return checkpoint(region, (x, mean), scale=mean.sigmoid(), use_reentrant=False)


def _sequential(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    return checkpointing.checkpoint_sequential(tower.middle, 2, x, use_reentrant=False)


def _selective(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    saved = [torch.ops.aten.convolution.default]
    return _checkpointed(tower, x, context_fn=partial(checkpointing.create_selective_checkpoint_contexts, saved))


def _tokens(tower: Tower, x: torch.Tensor) -> torch.Tensor:
    """A region that is given a tensor whose cut has moved to another dimension, and one that is the same everywhere."""
    tokens, mean = x.flatten(2).transpose(1, 2), x.mean((2, 3, 4), keepdim=True)

    def region(t: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
        return (t.softmax(1) * 100).transpose(1, 2).reshape(x.shape) * m.square().mean((1, 2), keepdim=True)

    return tower.middle(checkpoint(region, tokens, mean, use_reentrant=False))


WORKS: dict[str, Callable[..., Any]] = {
    "plain": _called, "checkpointed": _checkpointed, "nested": _nested, "named": _named, "sequential": _sequential,
    "selective": _selective, "tokens": _tokens,
    "reentrant": lambda tower, x: checkpoint(tower.middle, x, use_reentrant=True),
    "debug": partial(_checkpointed, debug=True),
}  # fmt: skip


def _with_contexts(seat: Seat, how: str) -> Callable[..., Any]:
    if how == "context_fn":
        return partial(_checkpointed, context_fn=lambda: (nullcontext(), spatial_parallel(seat.group)))
    if how == "checkpoint_contexts":
        return lambda tower, x: _checkpointed(tower, x, context_fn=checkpoint_contexts(spatial_parallel(seat.group)))
    return WORKS[how]


def volume(seed: int = 1, batch: int = 2) -> torch.Tensor:
    """The whole input."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 1, ROWS, 8, 8, dtype=torch.float64, generator=generator)


def rows_of(seat: Seat, x: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor:
    """The rows of this rank; inside of a context too, where an index would be one of the whole."""
    with torch._C.DisableTorchFunction():
        return x[:, :, bounds[seat.rank] : bounds[seat.rank + 1]].clone()


def gradients_apart(seat: Seat, network: nn.Module, reference: nn.Module) -> float:
    """Largest difference of summed gradients, over the largest gradient; infinite where one has none."""
    wanted = [one.grad for one in reference.parameters()]
    worst, scale = 0.0, largest(*(one for one in wanted if one is not None))
    for one, want in zip(network.parameters(), wanted):
        if want is None or one.grad is None:
            worst = max(worst, 0.0 if want is one.grad else torch.inf)
            continue
        total = one.grad.clone()
        dist.all_reduce(total, group=seat.group)
        worst = max(worst, float((total - want).abs().max()) / scale)
    return worst


def checkpointed(seat: Seat, how: str, bounds: Sequence[int], where: str = "outside") -> float:
    """A tower whose middle is computed again, against the plain one; `where` the backward pass runs."""
    reference, network = Tower(WORKS[how] if how in ("named", "tokens") else None), Tower(_with_contexts(seat, how))
    x = volume()
    torch.manual_seed(3)
    (reference(x) ** 2).sum().backward()
    torch.manual_seed(3)
    offload = torch.autograd.graph.save_on_cpu() if where == "on cpu" else nullcontext()
    with offload, spatial_parallel(seat.group):
        y = network(rows_of(seat, x, bounds))
        if where == "inside":
            ((y**2).sum() / seat.size).backward()
        if where == "inside, by the function":
            torch.autograd.backward((y**2).sum() / seat.size)
    if not where.startswith("inside"):
        (y**2).sum().backward()
    return gradients_apart(seat, network, reference)


def noise_of_region(seat: Seat) -> bool:
    """Whether a region that is computed again draws the same noise: of ones, what is dropped has no gradient."""
    x = torch.ones(1, 2, 4, 4, requires_grad=True)

    def region(y: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout2d(nn.functional.dropout(y * 1.0, 0.5), 0.5).square()

    torch.manual_seed(seat.rank)
    with spatial_parallel(seat.group):
        y = checkpoint(region, x, use_reentrant=False)
    y.sum().backward()
    return torch.equal(x.grad, 2 * y.detach())


def replaced_while_active(seat: Seat) -> list[bool]:
    """Whether torch's own parts are in place before, inside, and after contexts, nested and left by an error."""
    own, forward = checkpointing._CheckpointFrame, checkpointing.CheckpointFunction.forward
    found = []

    def look() -> None:
        same = checkpointing._CheckpointFrame is own and checkpointing.CheckpointFunction.forward is forward
        found.append(same)

    look()
    with spatial_parallel(seat.group), spatial_parallel(seat.group):
        look()
    look()
    try:
        with spatial_parallel(seat.group):
            raise KeyError
    except KeyError:
        look()
    return found


def swin(seat: Seat, d: int) -> float:
    """MONAI's SwinUNETR with its own checkpoints."""
    from monai.networks.nets import SwinUNETR

    torch.manual_seed(0)
    reference = SwinUNETR(1, 2, feature_size=12, spatial_dims=d, use_checkpoint=False).double()
    network = SwinUNETR(1, 2, feature_size=12, spatial_dims=d, use_checkpoint=True).double()
    network.load_state_dict(reference.state_dict())
    x = torch.randn(1, 1, 64, *(32,) * (d - 1), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (reference(x) ** 2).sum().backward()
    part = x.chunk(seat.size, 2)[seat.rank].clone()
    with spatial_parallel(seat.group):
        y = network(part)
    (y**2).sum().backward()
    return gradients_apart(seat, network, reference)


def wrapped_module(seat: Seat) -> float:
    """A submodule in torch's checkpoint wrapper, whose names in the state are those without it."""
    from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointImpl, checkpoint_wrapper

    reference, network, x = Tower(), Tower(), volume()
    network.middle = checkpoint_wrapper(network.middle, CheckpointImpl.NO_REENTRANT)
    torch.manual_seed(3)
    (reference(x) ** 2).sum().backward()
    torch.manual_seed(3)
    with spatial_parallel(seat.group):
        y = network(rows_of(seat, x, (0, 5, ROWS)))
    (y**2).sum().backward()
    return gradients_apart(seat, network, reference)


def in_turn(seat: Seat) -> float:
    """Checkpoints where slabs are worked on one after another."""
    reference, network, x = Tower().eval(), Tower(WORKS["checkpointed"]).eval(), volume()
    (reference(x) ** 2).mean().backward()
    with out_of_core(slabs=3) as context:
        loss = (network(context.cut(x)) ** 2).mean()
    loss.backward()
    scale = largest(*(one.grad for one in reference.parameters()))
    pairs = zip(network.parameters(), reference.parameters())
    return max(float((one.grad - want.grad).abs().max()) / scale for one, want in pairs)
