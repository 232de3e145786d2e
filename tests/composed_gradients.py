"""Small functions for ranks: gradients of shares made those of the run, by three ways, on a mesh (data, space)."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import torch
import torch.distributed as dist
from composed import ROWS, WORKS, Tower, volume
from operation_cases import largest
from rank_pool import Seat
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from medseg.errors import ConfigError
from medseg.parallel import arrange_gradients, reduce_gradients, spatial_parallel

SHAPES: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    "data 2, space 2": ((2, 2), ("data", "space")), "space 2": ((2,), ("space",)), "space 4": ((4,), ("space",)),
    "data 2": ((2,), ("data",)),
}  # fmt: skip


class WithUnused(Tower):
    """A tower with parameters that nothing depends on, and one that needs no gradient."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.unused = nn.Linear(3, 3).double()
        self.first.bias.requires_grad_(False)


@lru_cache(maxsize=4)
def mesh_of(name: str, size: int) -> DeviceMesh:
    """The mesh of this name, made once: `size` is that of the world."""
    shape, names = SHAPES[name]
    if torch.Size(shape).numel() == size:
        return init_device_mesh("cpu", shape, mesh_dim_names=names)
    ranks = torch.arange(size).reshape(-1, *shape)
    return [DeviceMesh("cpu", one, mesh_dim_names=names) for one in ranks][dist.get_rank() // ranks[0].numel()]


def prepared(network: nn.Module, way: str, mesh: DeviceMesh) -> nn.Module:
    """Wrap a network; the way 'reduced' leaves it as it is."""
    if way.startswith("DDP"):
        group = dist.group.WORLD if mesh.size() == dist.get_world_size() else mesh.get_group(0)
        wrapped = DistributedDataParallel(
            network, process_group=group, find_unused_parameters="unused" in way, bucket_cap_mb=1e-3
        )
        return arrange_gradients(wrapped, mesh)
    if way.startswith("FSDP"):
        for one in (network.first, network.middle):
            fully_shard(one, mesh=mesh)
        return arrange_gradients(fully_shard(network, mesh=mesh), mesh)
    return network


def place_of(mesh: DeviceMesh) -> tuple[int, int, int, int]:
    """Number of this rank along data and space, and how many there are."""
    names = mesh.mesh_dim_names
    place = [(mesh.get_local_rank(n), mesh.size(names.index(n))) if n in names else (0, 1) for n in ("data", "space")]
    return place[0][0], place[1][0], place[0][1], place[1][1]


def trained(
    seat: Seat, way: str, shape: str, steps: int, norm: str = "InstanceNorm3d", work: str = "plain", kind: str = "Tower"
) -> tuple[list[float], float, float]:
    """Train a tower on one device and on a mesh.

    Returns
    -------
    losses : list of float
        Differences of the losses of all steps, over the loss.
    gradients, buffers : float
        Largest differences after the last step, over the largest value.
    """
    mesh, make = mesh_of(shape, seat_world()), {"Tower": Tower, "WithUnused": WithUnused}[kind]
    data, space, n_data, n_space = place_of(mesh)
    make_one: Callable[..., nn.Module] = lambda **more: make(norm=getattr(nn, norm), **more).train()  # noqa: E731
    reference, plain = make_one(), make_one(work=WORKS[work])
    for one in (reference, plain):
        one.middle[3].p = 0.0
    network = prepared(plain, way, mesh)
    optimisers = [torch.optim.SGD(one.parameters(), 0.01, momentum=0.9) for one in (reference, network)]
    apart = []
    for step in range(steps):
        x = volume(seed=10 + step, batch=n_data)
        for one in optimisers:
            one.zero_grad()
        want = sum((reference(x[n : n + 1]) ** 2).sum() for n in range(n_data)) / n_data
        want.backward()
        ends = [ROWS * n // n_space for n in range(n_space + 1)]
        part = x[data : data + 1, :, ends[space] : ends[space + 1]].clone()
        with spatial_parallel(mesh["space"]) if n_space > 1 else nullcontext():
            y = network(part)
        loss = (y**2).sum()
        loss.backward()
        if way == "reduced":
            reduce_gradients(network, mesh)
        total = loss.detach().clone()
        for axis in range(mesh.ndim):
            dist.all_reduce(total, group=mesh.get_group(axis))
        apart.append(abs(float(total / n_data - want.detach())) / float(want.detach()))
        for one in optimisers:
            one.step()
    return apart, _gradients_apart(plain, reference), _buffers_apart(plain, reference, mesh)


def seat_world() -> int:
    """Number of all ranks of the pool."""
    return dist.get_world_size()


def _full(x: Any) -> torch.Tensor:
    return x.full_tensor() if hasattr(x, "full_tensor") else x


def _gradients_apart(network: nn.Module, reference: nn.Module) -> float:
    scale = largest(*(one.grad for one in reference.parameters() if one.grad is not None))
    worst = 0.0
    for one, want in zip(network.parameters(), reference.parameters()):
        if want.grad is None:  # DistributedDataParallel and FSDP may give zeros
            found = 0.0 if one.grad is None else float(_full(one.grad).abs().max())
        else:
            found = float((_full(one.grad) - want.grad).abs().max())
        worst = max(worst, found)
    return worst / scale


def _buffers_apart(network: nn.Module, reference: nn.Module, mesh: DeviceMesh) -> float:
    """Between the ranks that share a volume, and to one device where all share one."""
    worst = 0.0
    names = mesh.mesh_dim_names
    for one, want in zip(network.buffers(), reference.buffers()):
        parts = [torch.empty_like(one) for _ in range(mesh.size(names.index("space")))]
        dist.all_gather(parts, one.contiguous(), group=mesh.get_group("space"))
        worst = max(worst, *(float((part - parts[0]).abs().max()) for part in parts))
        if "data" not in names:
            worst = max(worst, float((one - want).abs().max()))
    return worst


def batch_cut(seat: Seat) -> tuple[float, float]:
    """Batch normalisation over data and space: the batch is cut, too. Differences of gradients and buffers."""
    mesh = mesh_of("data 2, space 2", seat_world())
    data, space = mesh.get_coordinate()
    reference, network, x = Tower(norm=nn.BatchNorm3d).train(), Tower(norm=nn.BatchNorm3d).train(), volume(batch=3)
    for one in (reference, network):
        one.middle[3].p = 0.0
    (reference(x) ** 2).mean().backward()
    rows, images = ((0, 5), (5, ROWS))[space], ((0, 1), (1, 3))[data]
    part = x[slice(*images), :, slice(*rows)].clone()
    with spatial_parallel(mesh, (0, 2)):
        loss = (network(part) ** 2).mean()
    (loss / 4).backward()  # every rank has the loss
    reduce_gradients(network, mesh, data="")
    buffers = [float((a - b).abs().max()) for a, b in zip(network.buffers(), reference.buffers())]
    return _gradients_apart(network, reference), max(buffers)


def here_and_there(seat: Seat) -> list[Any]:
    """Gradients of parameters that only some ranks have used: type and device in turn, in more than one bucket."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, dtype=torch.float64)),
                  nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]  # fmt: skip
    parameters[0].grad = torch.full((3,), float(seat.rank))
    parameters[1].grad = torch.full((2,), 10.0 * seat.rank, dtype=torch.float64)
    if seat.rank == 1:
        parameters[2].grad = torch.ones(2)
    reduce_gradients(parameters, mesh_of("data 2, space 2", seat_world()))
    return [None if one.grad is None else one.grad.tolist() for one in parameters]


def not_wrapped(seat: Seat) -> str:
    """The error of a network that reduces nothing by itself."""
    try:
        arrange_gradients(Tower(), None)
    except ConfigError as error:
        return str(error)
    return ""
