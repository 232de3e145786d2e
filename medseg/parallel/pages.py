"""Parts of a tensor that wait outside of the device: in host memory, or in a file."""

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import torch

from medseg.parallel.heap import give_back_large_blocks
from medseg.parallel.layout import Interval, Layout
from medseg.parallel.rows import clipped, overlap
from medseg.parallel.scratch_file import ScratchFile

__all__ = ["DiskPages", "HostPages", "Page", "Paged", "Pages", "boxed", "full_box"]

Place = tuple[int, ...]
Boxes = dict[int, Interval]  # range along each dimension that is cut
# what autograd itself does with gradients: add them up, pass them on
GRADIENTS = frozenset({
    "add", "detach", "clone", "alias", "view_as", "zeros_like", "ones_like", "mul", "neg", "_to_copy",
})  # fmt: skip
Order = tuple[int, ...]  # dimensions as they lie in memory, the innermost last


class Page(ABC):
    """One part, stored."""

    shape: torch.Size
    order: Order

    @abstractmethod
    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        """The part, or a box of it, on the device; it must not be changed."""

    @abstractmethod
    def load_into(self, rows: torch.Tensor, box: Sequence[Interval]) -> None:
        """Copy a box of the part into rows that are put together on the device."""

    @abstractmethod
    def add(self, values: torch.Tensor, box: Sequence[Interval]) -> None:
        """Add values to a box of the part."""


class Pages(ABC):
    """A place to store parts.

    Attributes
    ----------
    shares : bool
        What is loaded is what is stored, and not a copy.
    """

    shares = False

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abstractmethod
    def store(self, part: torch.Tensor) -> Page:
        """Store a part that is on the device (or on the host)."""


class _HostPage(Page):
    def __init__(self, part: torch.Tensor, device: torch.device, *, owned: bool) -> None:
        self.shape, self.order = part.shape, _order_of(part)
        self._part, self._device, self._owned = part, device, owned

    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        return boxed(self._part, box).to(self._device, non_blocking=True)

    def load_into(self, rows: torch.Tensor, box: Sequence[Interval]) -> None:
        rows.copy_(boxed(self._part, box), non_blocking=True)

    def add(self, values: torch.Tensor, box: Sequence[Interval]) -> None:
        if not self._owned:
            self._part, self._owned = self._part.clone(), True
        boxed(self._part, box).add_(values.to(self._part.device))


class HostPages(Pages):
    """Host memory; pinned where the device is a GPU."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.shares = device.type == "cpu"

    def store(self, part: torch.Tensor) -> Page:
        """Copy to the host; on a CPU the tensor itself is kept."""
        part = part.detach()
        if self.shares:
            return _HostPage(part, self.device, owned=False)
        host = _empty(part.shape, _order_of(part), dtype=part.dtype, pin_memory=True)
        return _HostPage(host.copy_(part), self.device, owned=True)


class _DiskPage(Page):
    def __init__(self, file: ScratchFile, part: torch.Tensor, device: torch.device) -> None:
        self.shape, self.order = part.shape, _order_of(part)
        self._file, self._dtype, self._device = file, part.dtype, device
        size = part.numel() * part.element_size()
        self._start = file.take(size)
        weakref.finalize(self, file.give_back, self._start, size)
        self._write(part, self._whole)

    @property
    def _whole(self) -> list[Interval]:
        return [(0, side) for side in self.shape]

    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        box = self._whole if box is None else box
        part = _empty([high - low for low, high in box], self.order, dtype=self._dtype)
        self._read(part, box)
        return part.to(self._device)

    def load_into(self, rows: torch.Tensor, box: Sequence[Interval]) -> None:
        if rows.device.type == "cpu":
            self._read(rows, box)
        else:
            rows.copy_(self.load(box))

    def add(self, values: torch.Tensor, box: Sequence[Interval]) -> None:
        self._write(self.load(box).add_(values), box)

    def _read(self, rows: torch.Tensor, box: Sequence[Interval]) -> None:
        sides, ranges = zip(*((self.shape[dim], box[dim]) for dim in self.order))
        self._file.read(self._start, sides, ranges, rows.permute(self.order))

    def _write(self, values: torch.Tensor, box: Sequence[Interval]) -> None:
        sides, ranges = zip(*((self.shape[dim], box[dim]) for dim in self.order))
        self._file.write(self._start, sides, ranges, values.cpu().permute(self.order))


class DiskPages(Pages):
    """A file without a name, which is gone with the parts in it; the host keeps of it what it has room for.

    Parameters
    ----------
    folder : Path, optional
        Where the file lies; the system's place for temporary ones unless given.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        super().__init__(device)
        self._file = ScratchFile(folder)
        if device.type == "cpu":
            give_back_large_blocks()

    def store(self, part: torch.Tensor) -> Page:
        """Write to the file."""
        return _DiskPage(self._file, part.detach(), self.device)


def _order_of(part: torch.Tensor) -> Order:
    """Order of the dimensions of a tensor, which is kept, as torch's own operations do."""
    if part.is_contiguous():
        return tuple(range(part.ndim))
    return tuple(sorted(range(part.ndim), key=part.stride, reverse=True))


def _empty(shape: Sequence[int], order: Order, **options: Any) -> torch.Tensor:
    stored = torch.empty([shape[dim] for dim in order], **options)
    return stored.permute([order.index(dim) for dim in range(len(order))])


def boxed(part: torch.Tensor, box: Sequence[Interval] | None) -> torch.Tensor:
    """A view of a box of a tensor."""
    return part if box is None else part[tuple(slice(low, high) for low, high in box)]


def full_box(box: Boxes, shape: Sequence[int]) -> list[Interval]:
    """Ranges along all dimensions."""
    return [box.get(dim, (0, side)) for dim, side in enumerate(shape)]


class Paged(torch.Tensor):
    """A tensor whose parts are stored one by one; its shape is that of the whole."""

    pages: dict[Place, Page]
    whereabouts: Layout
    store: Pages

    @staticmethod
    def __new__(cls, pages: dict[Place, Page], layout: Layout, store: Pages, *, dtype: torch.dtype) -> "Paged":
        """Wrap stored parts, one for each place on the axes that are cut (0 on the others)."""
        first = next(iter(pages.values()))
        whole = layout.whole(first.shape, ())
        orders = {page.order for page in pages.values() if page.shape.numel()}
        order = orders.pop() if len(orders) == 1 else tuple(range(len(whole)))
        like = _empty(whole, order, dtype=dtype, device="meta")
        out = torch.Tensor._make_wrapper_subclass(cls, whole, like.stride(), dtype=dtype, device=store.device)
        out.pages, out.whereabouts, out.store = pages, layout, store
        return out

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        graph = f", grad_fn=<{type(self.grad_fn).__name__}>" if self.grad_fn is not None else ""
        return f"Paged(shape={tuple(self.shape)}, dtype={self.dtype}, in {len(self.pages)} parts{graph})"

    def page(self, place: Place) -> Page:
        """Return the part that a place has."""
        cuts = self.whereabouts.cuts
        return self.pages[tuple(0 if cut is None else at for cut, at in zip(cuts, place))]

    def rows(self, place: Place, wants: Mapping[int, Sequence[Interval]], fill: float = 0.0) -> torch.Tensor:
        """Put the rows together that a place wants along some axes; along the others it keeps its own."""
        shape, pieces = self.rows_shape(place, wants), self.targets(place, wants)
        if len(pieces) == 1 and all(into == (0, shape[dim]) for dim, into in pieces[0][2].items()):
            page = self.page(pieces[0][0])
            whole = all(interval == (0, page.shape[dim]) for dim, interval in pieces[0][1].items())
            return page.load(None if whole else full_box(pieces[0][1], page.shape))
        out = _empty(shape, self.page(place).order, dtype=self.dtype, device=self.store.device)
        if sum(prod(high - low for low, high in full_box(into, shape)) for _, _, into in pieces) < out.numel():
            out.fill_(fill)
        for source, box, into in pieces:
            page = self.page(source)
            page.load_into(boxed(out, full_box(into, shape)), full_box(box, page.shape))
        return out

    def rows_shape(self, place: Place, wants: Mapping[int, Sequence[Interval]]) -> torch.Size:
        """Shape of what `rows` gives."""
        shape = list(self.page(place).shape)
        for dim, (low, high) in self._wanted(place, wants).items():
            shape[dim] = high - low
        return torch.Size(shape)

    def targets(self, place: Place, wants: Mapping[int, Sequence[Interval]]) -> list[tuple[Place, Boxes, Boxes]]:
        """Places that own what `rows` gives: with the box in their part, and where it lies in the rows."""
        return list(self._pieces(self._wanted(place, wants)))

    def _wanted(self, place: Place, wants: Mapping[int, Sequence[Interval]]) -> Boxes:
        """Rows along each dimension that is cut."""
        return {
            cut.dim: wants[axis][place[axis]] if axis in wants else cut.own(place[axis])
            for axis, cut in enumerate(self.whereabouts.cuts)
            if cut is not None
        }

    def _pieces(self, wanted: Boxes) -> Iterator[tuple[Place, Boxes, Boxes]]:
        options: list[list[Any]] = []  # for each mesh axis: rank, range of its rows, range in what is wanted
        for cut in self.whereabouts.cuts:
            if cut is None:
                options.append([(0, None, (0, 0), (0, 0))])
                continue
            low, _ = wanted[cut.dim]
            ranges = [
                (rank, own, overlap(own, clipped(wanted[cut.dim], cut.size)))
                for rank, own in enumerate(cut.intervals())
            ]
            options.append(
                [(rank, cut.dim, (a - own[0], b - own[0]), (a - low, b - low)) for rank, own, (a, b) in ranges if b > a]
            )
        for choice in product(*options):
            box = {dim: inside for _, dim, inside, _ in choice if dim is not None}
            into = {dim: where for _, dim, _, where in choice if dim is not None}
            yield tuple(rank for rank, *_ in choice), box, into

    def gathered(self) -> torch.Tensor:
        """Put the whole tensor together on the host."""
        whole = torch.empty(self.shape, dtype=self.dtype)
        for place, page in self.pages.items():
            whole[self.whereabouts.box(place)] = page.load().cpu()
        return whole

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """What autograd itself does with gradients: add them up, pass them on."""
        name = func.overloadpacket.__name__
        if name not in GRADIENTS:
            raise NotImplementedError(
                f"{func} of a tensor that is kept in parts: use it inside the out-of-core context, or put it together "
                "by context.gather(tensor)"
            )
        like = next(one for one in args if isinstance(one, Paged))
        if name in ("detach", "alias", "view_as"):
            return Paged(like.pages, like.whereabouts, like.store, dtype=like.dtype)
        pages = {}
        for place in like.pages:
            parts = [one.pages[place].load() if isinstance(one, Paged) else one for one in args]
            pages[place] = like.store.store(func(*parts, **(kwargs or {})))
        return Paged(pages, like.whereabouts, like.store, dtype=like.dtype)
