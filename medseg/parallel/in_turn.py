"""Slabs that are worked on one after another on one device, while the others wait in host memory or in files."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count, product
from math import prod
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from medseg.errors import ConfigError
from medseg.parallel.layout import Interval, Layout
from medseg.parallel.pages import Page, Paged, Pages, boxed, full_box
from medseg.parallel.space import WHOLE_DRAW, Draw, Local, Place, Rows, RowsAgain, Space, Vjp, plain

__all__ = ["InTurn"]

_numbers = count()  # of this process; ids are used again


@dataclass(frozen=True, slots=True, eq=False)
class _Operand:
    """How an operand is given to local work."""

    wants: Mapping[int, Sequence[Interval]] = field(default_factory=dict)
    fill: float = 0.0

    def load(self, tensor: Any, place: Place) -> Any:
        return tensor.rows(place, self.wants, self.fill) if isinstance(tensor, Paged) else tensor

    def later(self, tensor: torch.Tensor, place: Place) -> RowsAgain:
        """The same, loaded when it is called for."""
        shape = tensor.rows_shape(place, self.wants) if isinstance(tensor, Paged) else tensor.shape
        return RowsAgain(lambda: self.load(tensor, place), shape, tensor.dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """Local work of every place, and where its results belong."""

    space: "InTurn"
    local: Local
    operands: tuple[_Operand, ...]
    layout: Layout
    axes: tuple[int, ...]  # over which results are added up
    vjp: Vjp | None
    in_place: bool
    autocast: tuple[str, torch.dtype] | None

    def places(self) -> Iterator[Place]:
        """Places that have something of their own to do."""
        busy = [cut is not None or axis in self.axes for axis, cut in enumerate(self.layout.cuts)]
        return product(*(range(n) if here else (0,) for n, here in zip(self.space.shape, busy)))

    def key(self, place: Place) -> Place:
        """Place of the result."""
        return tuple(0 if cut is None else at for cut, at in zip(self.layout.cuts, place))

    def run(self, place: Place, parts: Sequence[Any]) -> torch.Tensor:
        context = torch.autocast(*self.autocast) if self.autocast else nullcontext()
        with context:
            return self.local(place, *parts)


class _InTurn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, work: _Work, *tensors: Any) -> torch.Tensor:
        results: dict[Place, Any] = {}
        store = work.space.pages
        for place in work.places():
            parts = [operand.load(tensor, place) for operand, tensor in zip(work.operands, tensors)]
            if work.in_place and store.shares:
                parts[0] = parts[0].clone()
            result = work.run(place, parts)
            key = work.key(place)
            if work.axes:
                results[key] = results[key] + result if key in results else result
            else:
                results[key] = result if work.layout.is_replicated else store.store(result)
                dtype = result.dtype
        ctx.work = work
        ctx.save_for_backward(*tensors)
        if work.layout.is_replicated:
            return results[(0,) * len(work.space.shape)].clone()
        if work.axes:
            dtype = next(iter(results.values())).dtype
            results = {key: store.store(part) for key, part in results.items()}
        return Paged(results, work.layout, store, dtype=dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        work, tensors, needs = ctx.work, ctx.saved_tensors, ctx.needs_input_grad[1:]
        sums = [
            _PagedSum(tensor, operand, list(work.places())) if isinstance(tensor, Paged) else _PlainSum()
            for tensor, operand in zip(tensors, work.operands)
        ]
        with plain():
            for place in work.places():
                part = _at(gradient, work, place)
                for number, of_part in enumerate(_of_parts(work, place, part, tensors, needs)):
                    if needs[number] and of_part is not None:
                        sums[number].add(place, of_part)
            found = [one.result(tensor) if need else None for one, tensor, need in zip(sums, tensors, needs)]
        return None, *found


def _at(gradient: torch.Tensor, work: _Work, place: Place) -> torch.Tensor:
    """What one place has of a gradient, which the caller may have given whole."""
    if isinstance(gradient, Paged):
        return gradient.page(work.key(place)).load()
    return gradient[work.layout.box(place)]


class _Divide(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, layout: Layout, space: "InTurn") -> torch.Tensor:
        ctx.device = x.device
        return space.divided(x, layout)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        whole = gradient.gathered() if isinstance(gradient, Paged) else gradient
        return whole.to(ctx.device), None, None


def _of_parts(
    work: _Work, place: Place, gradient: torch.Tensor, tensors: Sequence[Any], needs: Sequence[bool]
) -> Sequence[torch.Tensor | None]:
    """Gradients of what one place was given; its work is done again, where it has no rule of its own."""
    if work.vjp is not None:
        others = [operand.load(tensor, place) for operand, tensor in zip(work.operands[1:], tensors[1:])]
        with torch.no_grad():
            return work.vjp(place, gradient, work.operands[0].later(tensors[0], place), *others, needs=needs)
    loads = [operand.load(tensor, place) for operand, tensor in zip(work.operands, tensors)]
    with torch.enable_grad():
        parts = [
            part.detach().requires_grad_(need) if isinstance(part, torch.Tensor) and need else part
            for part, need in zip(loads, needs)
        ]
        given = [part.clone() if work.in_place and number == 0 else part for number, part in enumerate(parts)]
        result = work.run(place, given)
        wanted = [part for part, need in zip(parts, needs) if need]
        if not result.requires_grad:
            return [None] * len(parts)
        found = iter(torch.autograd.grad(result, wanted, gradient, allow_unused=True))
    return [next(found) if need else None for need in needs]


class _PlainSum:
    """Gradient of an operand that every place has."""

    def __init__(self) -> None:
        self._total: torch.Tensor | None = None

    def add(self, place: Place, gradient: torch.Tensor) -> None:
        self._total = gradient if self._total is None else self._total + gradient

    def result(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(tensor) if self._total is None else self._total


class _PagedSum:
    """Gradient of an operand that is kept in parts.

    What a place adds to a whole part is stored at once; thin halos of others wait for it or are added to it.
    """

    def __init__(self, tensor: Paged, operand: _Operand, places: Sequence[Place]) -> None:
        self._tensor, self._operand = tensor, operand
        self._last: dict[Place, Place] = {}  # who adds to a part last
        for place in places:
            for target, _, _ in tensor.targets(place, operand.wants):
                self._last[target] = place
        self._early: dict[Place, list[tuple[list[Interval], torch.Tensor]]] = {}
        self._pages: dict[Place, Page] = {}

    def add(self, place: Place, gradient: torch.Tensor) -> None:
        for target, box, into in self._tensor.targets(place, self._operand.wants):
            piece, shape = boxed(gradient, full_box(into, gradient.shape)), self._tensor.page(target).shape
            where = full_box(box, shape)
            if target in self._pages:
                self._pages[target].add(piece, where)
            elif piece.shape == shape:
                self._store(target, piece)
            else:
                self._early.setdefault(target, []).append((where, piece.clone()))
                if self._last[target] == place:
                    self._store(target, None)

    def _store(self, target: Place, piece: torch.Tensor | None) -> None:
        early, store = self._early.pop(target, []), self._tensor.store
        if piece is None:
            dtype, device = early[0][1].dtype if early else self._tensor.dtype, store.device
            piece = torch.zeros(self._tensor.page(target).shape, dtype=dtype, device=device)
        elif early:
            piece = piece.clone()  # it may be what another gradient consists of
        for where, values in early:
            boxed(piece, where).add_(values)
        self._pages[target] = store.store(piece)

    def result(self, tensor: Paged) -> Paged:
        for target in tensor.pages:
            if target not in self._pages:
                self._store(target, None)
        return Paged(self._pages, tensor.whereabouts, tensor.store, dtype=tensor.dtype)


class InTurn(Space):
    """Places that one device works on in turn.

    Parameters
    ----------
    pages : Pages
        Where parts wait.
    shape, dims : tuple of int
        Numbers of parts, and the tensor dimensions that are cut.
    """

    views_share = False

    def __init__(self, pages: Pages, shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
        self.pages, self.shape, self.dims = pages, shape, dims
        self.place = (0,) * len(shape)
        self._number = next(_numbers)

    @property
    def signature(self) -> Any:
        """Tensors belong to this space alone."""
        return self._number

    def entering(self, x: torch.Tensor) -> Layout:
        """A tensor from outside is whole: `cut` divides it. What is left of a divided one stays so."""
        if not isinstance(x, Paged):
            return Layout.replicated(self.axes)
        if x.store is not self.pages:
            raise ConfigError("a tensor kept in parts was used in another out-of-core context")
        return x.whereabouts

    @property
    def gradients_add_up(self) -> bool:
        """All of it is here."""
        return False

    def of_gradient(self, gradient: torch.Tensor, layout: Layout) -> Layout:
        """A gradient may have been given whole."""
        return self.entering(gradient)

    def check(self, x: torch.Tensor, layout: Layout) -> None:
        """Parts cannot be changed outside."""
        if layout.is_replicated == isinstance(x, Paged):
            raise ConfigError("a tensor kept in parts was changed outside of the context")

    def map(
        self, local: Local, *operands: Any, layout: Layout, vjp: Vjp | None = None, in_place: bool = False
    ) -> torch.Tensor:
        """Do the work of one place after another."""
        result = self._apply(local, operands, layout, (), vjp, in_place)
        if in_place and isinstance(result, Paged):
            _tensor(operands[0]).superseded = True
        return result

    def total(self, local: Local, *operands: Any, axes: Sequence[int], layout: Layout) -> torch.Tensor:
        """Add up as it goes."""
        return self._apply(local, operands, layout, tuple(axes), None, False)

    def _apply(
        self, local: Local, operands: Any, layout: Layout, axes: tuple[int, ...], vjp: Vjp | None, in_place: bool
    ) -> torch.Tensor:
        tensors = [_tensor(operand) for operand in operands]
        if layout.is_replicated and not axes and not any(isinstance(one, Paged) for one in tensors):
            return local(self.place, *tensors)
        given = tuple(_Operand(dict(one.wants), one.fill) if isinstance(one, Rows) else _Operand() for one in operands)
        kind = self.pages.device.type
        autocast = (kind, torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else None
        work = _Work(self, local, given, layout, axes, vjp, in_place, autocast)
        return _InTurn.apply(work, *tensors)

    def parts(self, local: Local, *operands: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Do the work of one place after another, outside of autograd."""
        with torch.no_grad():
            return self._apply(local, operands, layout, (), None, False)

    def collect(self, local: Local, *operands: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """Stack the results of all places that have parts of their own."""
        cut = {axis for one in operands if isinstance(one, Paged) for axis in one.whereabouts.dims.values()}
        with torch.no_grad():
            results = []
            for place in product(*(range(n) if axis in cut else (0,) for axis, n in enumerate(self.shape))):
                results.append(local(place, *(_Operand().load(one, place) for one in operands)))
        return torch.stack(results)

    def summed(self, x: torch.Tensor, *, axes: Sequence[int]) -> torch.Tensor:
        """All places are in this process."""
        return x

    def replaced(self, tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """A tensor cannot become parts: the parts are used from now on, and the tensor is refused."""
        tensor.superseded = True  # type: ignore[attr-defined]
        return part

    def drawn(self, draw: Draw, shape: tuple[int, ...], *, layout: Layout) -> torch.Tensor:
        """Draw small tensors whole, as one device does, and large ones part by part."""
        if layout.is_replicated:
            return draw(shape, None)
        if prod(shape) <= WHOLE_DRAW:
            return self.divided(draw(shape, None), layout)
        pages, dtype = {}, torch.float32
        for place in self._places(layout):
            part = draw(layout.part(shape, place), None)
            pages[place], dtype = self.pages.store(part), part.dtype
        return Paged(pages, layout, self.pages, dtype=dtype)

    def _places(self, layout: Layout) -> Iterator[Place]:
        return product(*(range(n) if cut is not None else (0,) for n, cut in zip(self.shape, layout.cuts)))

    def cut(self, x: torch.Tensor, layout: Layout) -> Paged:
        """Divide a whole tensor, which may have a gradient."""
        return _Divide.apply(x, layout, self)

    def divided(self, x: torch.Tensor, layout: Layout) -> Paged:
        """Store the parts of a whole tensor."""
        pages = {}
        for place in self._places(layout):
            pages[place] = self.pages.store(x[layout.box(place)].clone())
        return Paged(pages, layout, self.pages, dtype=x.dtype)


def _tensor(operand: Any) -> Any:
    return operand.tensor if isinstance(operand, Rows) else operand
