"""Parts that lie in the processes of torch.distributed, which work at the same time and send each other rows."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch.autograd.function import once_differentiable
from torch.distributed.device_mesh import DeviceMesh

from medseg.errors import ConfigError
from medseg.parallel.layout import Cut, Layout
from medseg.parallel.messages import Line
from medseg.parallel.rows import Halo, fetch_halo, give_back, with_halo
from medseg.parallel.space import WHOLE_DRAW, Draw, Local, Rows, RowsAgain, Space, Vjp, plain

__all__ = ["ProcessSpace"]

MAX_DIMENSIONS = 12  # of a tensor that enters
STRIDE = 4096  # more than there are ranks along an axis: every place has a number of its own


def _mark(ctx: Any, x: torch.Tensor) -> None:
    """Store something, so that `_reach` has something to ask for."""
    ctx.save_for_backward(x.new_empty(0))


def _reach(ctx: Any) -> None:
    """Let a checkpointed region be computed again now, before this node sends its messages.

    All ranks do so at the same place; a rank without rows may store no tensor of its own that would make it do so.
    """
    _ = ctx.saved_tensors


class _Fetch(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, rows: Rows, lines: Sequence[Line]) -> torch.Tensor:
        ctx.steps, ctx.lines = rows.steps(), lines
        _mark(ctx, x)
        out = x
        for axis, cut, wants in ctx.steps:
            out = with_halo(out, cut.dim, fetch_halo(out, cut, lines[axis], wants, fill=rows.fill))
        shares = out.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()
        return out.clone() if shares else out  # it may be changed in place, and `x` must not

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        _reach(ctx)
        with plain():
            for axis, cut, wants in reversed(ctx.steps):
                gradient = give_back(gradient, cut, ctx.lines[axis], wants)
        return gradient, None, None


class _Lean(torch.autograd.Function):
    """Local work that stores its part of the input and thin halos instead of the rows."""

    @staticmethod
    def forward(ctx: Any, local: Local, vjp: Vjp, rows: Rows, space: "ProcessSpace", *tensors: Any) -> torch.Tensor:
        x, others = tensors[0], tensors[1:]
        ctx.steps, ctx.space, ctx.vjp, ctx.halos = rows.steps(), space, vjp, []
        stored: list[torch.Tensor | None] = []
        built = x
        for axis, cut, wants in ctx.steps:
            halo = fetch_halo(built, cut, space.lines[axis], wants, fill=rows.fill)
            built = with_halo(built, cut.dim, halo)
            ctx.halos.append(halo.kept)
            stored += [halo.before, halo.after]
        ctx.shape = built.shape
        ctx.save_for_backward(x, *stored, *others)
        return local(space.place, built, *others)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        saved = list(ctx.saved_tensors)
        x, stored, others = saved[0], saved[1 : 1 + 2 * len(ctx.steps)], saved[1 + 2 * len(ctx.steps) :]

        def build() -> torch.Tensor:
            built = x
            for number, (_, cut, _) in enumerate(ctx.steps):
                halo = Halo(stored[2 * number], stored[2 * number + 1], ctx.halos[number])
                built = with_halo(built, cut.dim, halo)
            return built

        rows = RowsAgain(build, ctx.shape, x.dtype)
        with plain(), torch.no_grad():
            needs = ctx.needs_input_grad[4:]
            of_rows, *of_others = ctx.vjp(ctx.space.place, gradient, rows, *others, needs=needs)
            if needs[0]:
                for axis, cut, wants in reversed(ctx.steps):
                    of_rows = give_back(of_rows, cut, ctx.space.lines[axis], wants, reuse=True)
        return None, None, None, None, of_rows, *of_others


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, lines: Sequence[Line]) -> torch.Tensor:
        ctx.lines = lines
        _mark(ctx, x)
        return _summed(x, lines)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        _reach(ctx)
        with plain():
            return _summed(gradient, ctx.lines), None


def _summed(x: torch.Tensor, lines: Sequence[Line]) -> torch.Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    for line in lines:
        line.sum_(total)
    return total


class ProcessSpace(Space):
    """Ranks that are processes of torch.distributed.

    Parameters
    ----------
    group : ProcessGroup, DeviceMesh or None
        None: all processes, or this one alone where there is no process group.
    dims : tuple of int
        Tensor dimension that is cut along each axis of the mesh.
    """

    def __init__(self, group: dist.ProcessGroup | DeviceMesh | None, dims: tuple[int, ...]) -> None:
        self.dims = dims
        groups: list[dist.ProcessGroup | None]
        if isinstance(group, DeviceMesh):
            groups = [group.get_group(axis) for axis in range(group.ndim)]
        elif group is None and not dist.is_initialized():
            groups = [None]
        else:
            groups = [dist.group.WORLD if group is None else group]
        if len(groups) != len(dims):
            raise ConfigError(f"spatial_parallel: dim={dims}, but the mesh has {len(groups)} axes")
        if len(set(dims)) < len(dims) or min(dims) < 0:
            raise ConfigError(f"spatial_parallel: dim={dims} must be different tensor dimensions, counted from 0")
        self.lines = [Line(one) for one in groups]
        self.shape = tuple(line.size for line in self.lines)
        self.place = tuple(line.rank for line in self.lines)

    def _local(self, operand: Any) -> torch.Tensor:
        if not isinstance(operand, Rows):
            return operand
        return _Fetch.apply(operand.tensor, operand, self.lines) if operand.steps() else operand.tensor

    def map(
        self, local: Local, *operands: Any, layout: Layout, vjp: Vjp | None = None, in_place: bool = False
    ) -> torch.Tensor:
        """Do the work of this rank."""
        if vjp is not None:
            tensors = [operand.tensor if isinstance(operand, Rows) else operand for operand in operands]
            return _Lean.apply(local, vjp, operands[0], self, *tensors)
        return local(self.place, *(self._local(operand) for operand in operands))

    def total(self, local: Local, *operands: Any, axes: Sequence[int], layout: Layout) -> torch.Tensor:
        """Add up over the ranks."""
        part = local(self.place, *(self._local(operand) for operand in operands))
        lines = [self.lines[axis] for axis in axes if self.lines[axis].size > 1]
        return _Sum.apply(part, lines) if lines else part

    def parts(self, local: Local, *operands: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Do the work of this rank, outside of autograd."""
        with torch.no_grad():
            return local(self.place, *operands)

    def collect(self, local: Local, *operands: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """Gather the results of all ranks of `axes`."""
        with torch.no_grad():
            gathered = local(self.place, *operands)[None]
            for axis in axes:
                gathered = self.lines[axis].gather(gathered).flatten(0, 1)
        return gathered

    def summed(self, x: torch.Tensor, *, axes: Sequence[int]) -> torch.Tensor:
        """Add up over the ranks of `axes`."""
        return _summed(x, [self.lines[axis] for axis in axes])

    def drawn(self, draw: Draw, shape: tuple[int, ...], *, layout: Layout) -> torch.Tensor:
        """Draw from torch's own generator, so that what is computed again draws the same.

        Small tensors are drawn whole by every rank: where all have the same seed, the numbers are those of one device.
        """
        if layout.is_replicated:
            values = draw(shape, None)
            for line in self.lines:
                line.from_first(values)
            return values
        if prod(shape) <= WHOLE_DRAW:
            values = draw(shape, None)
            for axis, cut in enumerate(layout.cuts):
                if cut is not None:
                    low, high = cut.own(self.place[axis])
                    values = values.narrow(cut.dim, low, high - low)
            return values.clone()
        base = int(torch.empty((), dtype=torch.int64).random_())
        number = sum(place * STRIDE**axis for axis, place in enumerate(self.place))
        device = draw((0,), None).device
        generator = torch.Generator(device).manual_seed((base + 1 + number) % 2**63)
        return draw(layout.part(shape, self.place), generator)

    def agree(self, numbers: Sequence[int], device: torch.device) -> bool:
        """Each rank tells the others."""
        told = torch.tensor([numbers], dtype=torch.int64, device=device)
        for line in self.lines:
            told = line.gather(told).flatten(0, 1)
        return bool((told == told[:1]).all())

    def replaced(self, tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """Change the tensor itself."""
        tensor.data = part.clone()
        return tensor

    @property
    def signature(self) -> Any:
        """The ranks along each axis, and the dimensions that are cut."""
        return tuple(line.peers for line in self.lines), self.dims

    def check(self, x: torch.Tensor, layout: Layout) -> None:
        """Compare the rows that are there with those that this rank should have."""
        if layout.part(x.shape, self.place) != tuple(x.shape):
            raise ConfigError(f"a tensor of shape {tuple(x.shape)} was changed since it was divided: {layout}")

    def entering(self, x: torch.Tensor) -> Layout:
        """Each rank tells the others how many rows it brings."""
        told = torch.tensor([x.ndim, *x.shape, *[-1] * (MAX_DIMENSIONS - x.ndim)], dtype=torch.int64, device=x.device)
        for line in reversed(self.lines):
            told = line.gather(told)
        table = told.cpu()[..., 1 : 1 + x.ndim]  # (*mesh, dimension)
        if (told[..., 0] != x.ndim).any():
            raise ConfigError(f"the ranks' parts have different numbers of dimensions, this one {x.ndim}")
        cuts: list[Cut | None] = []
        for axis, dim in enumerate(self.dims):
            lengths = table.movedim(axis, 0)[..., dim].reshape(self.shape[axis], -1)
            if (lengths != lengths[:, :1]).any():
                raise ConfigError(f"the ranks' parts do not fit together along dimension {dim}: {lengths.tolist()}")
            cuts.append(Cut(dim, (0, *torch.cumsum(lengths[:, 0], 0).tolist())))
        for dim in set(range(x.ndim)) - set(self.dims):
            if table[..., dim].unique().numel() > 1:
                raise ConfigError(
                    f"the ranks' parts have different sizes along dimension {dim}, which is not cut: "
                    f"{table[..., dim].flatten().tolist()}"
                )
        return Layout(tuple(cuts))
