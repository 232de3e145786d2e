"""The processes that work on one run: who shares a volume, who works on another, and what they agree on."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from medseg.errors import ConfigError
from medseg.parallel.errors import RankError
from medseg.parallel.gradients import reduce_gradients
from medseg.parallel.layout import Cut, even_bounds
from medseg.parallel.pages import Paged
from medseg.parallel.settings import LayoutSettings
from medseg.parallel.sharding import Sharding, layout_of
from medseg.parallel.signs import busy
from medseg.parallel.slabwise import OutOfCore, out_of_core
from medseg.parallel.spatial import spatial_parallel

__all__ = ["Team"]

Result = TypeVar("Result")
FIRST_SPATIAL = 2  # tensor dimension that is cut: (batch, channel, first spatial axis, ...)


class Team:
    """This process's place among those of a run, and how a volume is spread over them or over time.

    Parameters
    ----------
    layout : LayoutSettings
    device : torch.device
        What this process computes on.

    Raises
    ------
    ConfigError
        When there are more or fewer processes than the layout asks for.
    """

    def __init__(self, layout: LayoutSettings, device: torch.device) -> None:
        self.layout, self.device = layout, device
        found = dist.get_world_size() if dist.is_initialized() else 1
        if found != layout.ranks:
            raise ConfigError(
                f"layout.data={layout.data} times layout.space={layout.space} needs {layout.ranks} process(es), "
                f"found {found}"
            )
        self.mesh: DeviceMesh | None = None
        self.data_rank = self.space_rank = 0
        if found > 1:
            self.mesh = init_device_mesh(device.type, (layout.data, layout.space), mesh_dim_names=("data", "space"))
            self.data_rank, self.space_rank = self.mesh.get_local_rank("data"), self.mesh.get_local_rank("space")

    @property
    def is_first(self) -> bool:
        """Whether this process reads, writes and decides for all."""
        return self.data_rank == 0 and self.space_rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there are no other processes."""
        return self.mesh is None

    @property
    def spreads(self) -> bool:
        """Whether a volume is spread over processes or over time."""
        return self.layout.space > 1 or self.layout.slabs > 1

    def bounds(self, rows: int, step: int = 1) -> tuple[int, ...]:
        """Bounds of the parts of `rows` rows, at multiples of `step`: a network's levels then need fewer messages."""
        parts = self.layout.slabs if self.layout.slabs > 1 else self.layout.space
        inner = [bound * step for bound in even_bounds(rows // step, parts)[1:-1]]
        return (0, *inner, rows)

    def context(self) -> Any:
        """Context in which a network runs on what is spread; nothing where nothing is."""
        if self.layout.slabs > 1:
            return out_of_core(self.layout.slabs, FIRST_SPATIAL, device=self.device, keep=self.layout.keep)
        if self.layout.space > 1:
            assert self.mesh is not None
            return spatial_parallel(self.mesh["space"], FIRST_SPATIAL)
        return nullcontext()

    def spread(
        self, context: Any, read: Callable[[int, int], tuple[torch.Tensor, ...]], bounds: tuple[int, ...]
    ) -> tuple[torch.Tensor, ...]:
        """Tensors of which ``read(start, stop)`` gives the rows along the dimension that is cut, spread.

        Over processes each reads its own rows; over time every slab is read and put away.
        """
        if isinstance(context, OutOfCore):
            return context.several_from_rows(read, bounds)
        start, stop = bounds[self.space_rank : self.space_rank + 2]
        parts = tuple(part.to(self.device, non_blocking=True) for part in read(start, stop))
        if isinstance(context, Sharding):
            for part in parts:
                if part.ndim > FIRST_SPATIAL:  # the label of an image has no rows
                    context.enter_part(part, Cut(FIRST_SPATIAL, bounds))
        return parts

    def rows_of(self, context: Any, y: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        """First row and rows of each part of a tensor, on the host, one after another, for the first process alone.

        Every process that shares the volume has to go through it; it yields nothing on the others.
        """
        if isinstance(y, Paged):
            (cut,) = y.whereabouts.cuts
            assert cut is not None
            for part, start in zip(context.parts(y), cut.bounds):
                yield start, part.cpu()
            return
        layout = layout_of(y) if isinstance(context, Sharding) else None
        if layout is None or layout.is_replicated:
            if self.space_rank == 0:
                yield 0, y.detach().cpu()
            return
        (cut,) = layout.cuts
        assert cut is not None
        assert self.mesh is not None
        group = self.mesh.get_group("space")
        if self.space_rank:
            if y.numel():
                dist.send(_host(y, group), dist.get_global_rank(group, 0), group)
            return
        for rank, (start, stop) in enumerate(cut.intervals()):
            rows = y.detach()
            if rank:
                rows = y.new_empty((*y.shape[: cut.dim], stop - start, *y.shape[cut.dim + 1 :]))
                rows = _host(rows, group)
                if rows.numel():
                    dist.recv(rows, dist.get_global_rank(group, rank), group)
            yield start, rows.cpu()

    # -- what a loss and its gradient are worth

    @property
    def share(self) -> float:
        """Part of the group's loss, which every process that shares a volume has, that counts on this one."""
        return 1.0 / self.layout.space

    def reduce_gradients(self, network: nn.Module) -> None:
        """Turn each process's share of the gradients into those of the run: summed over space, averaged over data."""
        reduce_gradients(network, self.mesh)

    # -- what all agree on

    def meet(self) -> None:
        """Wait for the processes that share a volume."""
        if self.mesh is not None:
            dist.barrier(self.mesh.get_group("space"))

    def mean(self, value: float) -> float:
        """Mean over the processes (of values that are the same for those that share a volume)."""
        return self._reduced(value, dist.ReduceOp.SUM) / self.layout.ranks

    def any(self, flag: bool) -> bool:
        """Whether it is so for at least one process."""
        return self._reduced(float(flag), dist.ReduceOp.MAX) > 0

    def agreed(self, value: float) -> float:
        """The first process's value: what a clock says must be the same for all."""
        return self._reduced(value if self.is_first else 0.0, dist.ReduceOp.SUM)

    def _reduced(self, value: float, operation: dist.ReduceOp.RedOpType) -> float:
        if self.mesh is None:
            return value
        told = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(told, operation)
        return float(told)

    def told(self, value: Any = None) -> Any:
        """What the first process says."""
        if self.mesh is None:
            return value
        box = [value]
        dist.broadcast_object_list(box, 0, device=torch.device("cpu"))
        return box[0]

    def led(self, work: Callable[[], Result], follow: Callable[[], None] | None = None) -> Result:
        """Let the first process do some work and tell the others its result; an error of it is everybody's.

        Parameters
        ----------
        follow : callable, optional
            What the others do meanwhile: their part of work that the first leads; it returns when that is over.
        """
        if self.mesh is None:
            return work()
        with busy():
            if self.is_first:
                try:
                    result, error = work(), None
                except RankError:  # the others are at another place, where they cannot be told
                    raise
                except Exception as caught:
                    result, error = None, caught
                if follow is not None:
                    self.told(None)  # the end of what the others follow
                self.told((result, error))
            else:
                if follow is not None:
                    follow()
                result, error = self.told()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


def _host(x: torch.Tensor, group: dist.ProcessGroup) -> torch.Tensor:
    """What a message of this group can be made of."""
    return x.detach().contiguous().cpu() if dist.get_backend(group) == "gloo" else x.detach().contiguous()
