"""Parts of a tensor that wait outside of the device: in host memory, or in files."""

import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, product
from pathlib import Path
from typing import Any

import torch

from medseg.parallel.layout import Interval, Layout
from medseg.parallel.rows import clipped, memory_format, overlap

__all__ = ["DiskPages", "HostPages", "Page", "Paged", "Pages"]

Place = tuple[int, ...]
Boxes = dict[int, Interval]  # range along each dimension that is cut


class Page(ABC):
    """One part, stored."""

    shape: torch.Size
    order: torch.memory_format  # of the channels

    @abstractmethod
    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        """The part, or a box of it, on the device; it must not be changed."""


class Pages(ABC):
    """A place to store parts."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abstractmethod
    def store(self, part: torch.Tensor) -> Page:
        """Store a part that is on the device (or on the host)."""


class _HostPage(Page):
    def __init__(self, part: torch.Tensor, device: torch.device) -> None:
        self.shape, self.order = part.shape, memory_format(part)
        self._part, self._device = part, device

    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        return _boxed(self._part, box).to(self._device, non_blocking=True)


class HostPages(Pages):
    """Host memory; pinned where the device is a GPU."""

    def store(self, part: torch.Tensor) -> Page:
        """Copy to the host; on a CPU the tensor itself is kept."""
        part = part.detach()
        if self.device.type != "cpu" and part.device.type != "cpu":
            order = memory_format(part)
            host = torch.empty(part.shape, dtype=part.dtype, pin_memory=True, memory_format=order)
            part = host.copy_(part)
        return _HostPage(part, self.device)


class _DiskPage(Page):
    def __init__(self, path: Path, part: torch.Tensor, device: torch.device) -> None:
        self.shape, self.order = part.shape, memory_format(part)
        self._path, self._dtype, self._device = path, part.dtype, device
        if part.numel():
            self._map().copy_(part)
            weakref.finalize(self, path.unlink, missing_ok=True)

    def _map(self) -> torch.Tensor:
        flat = torch.from_file(str(self._path), shared=True, size=self.shape.numel(), dtype=self._dtype)
        if self.order == torch.contiguous_format:
            return flat.view(self.shape)
        last = [0, *range(2, len(self.shape)), 1]  # the channels lie last in memory
        return flat.view([self.shape[dim] for dim in last]).movedim(-1, 1)

    def load(self, box: Sequence[Interval] | None = None) -> torch.Tensor:
        if not self.shape.numel():
            return _boxed(torch.empty(self.shape, dtype=self._dtype), box).to(self._device)
        part = _boxed(self._map(), box)
        return part.clone() if self._device.type == "cpu" else part.to(self._device)


class DiskPages(Pages):
    """Files in a temporary folder, which goes with this object; the host keeps of them what it has room for.

    Parameters
    ----------
    folder : Path, optional
        Where the temporary folder is made; the system's place for these unless given.
    """

    def __init__(self, device: torch.device, folder: Path | None = None) -> None:
        super().__init__(device)
        self._folder = tempfile.TemporaryDirectory(prefix="medseg-pages-", dir=folder)
        self._numbers = count()

    def store(self, part: torch.Tensor) -> Page:
        """Write a file."""
        return _DiskPage(Path(self._folder.name) / str(next(self._numbers)), part.detach(), self.device)


def _boxed(part: torch.Tensor, box: Sequence[Interval] | None) -> torch.Tensor:
    return part if box is None else part[tuple(slice(low, high) for low, high in box)]


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
        order = orders.pop() if len(orders) == 1 else torch.contiguous_format
        like = torch.empty(whole, dtype=dtype, device="meta", memory_format=order)
        out = torch.Tensor._make_wrapper_subclass(cls, whole, like.stride(), dtype=dtype, device=store.device)
        out.pages, out.whereabouts, out.store = pages, layout, store
        return out

    __torch_function__ = torch._C._disabled_torch_function_impl

    def page(self, place: Place) -> Page:
        """Return the part that a place has."""
        cuts = self.whereabouts.cuts
        return self.pages[tuple(0 if cut is None else at for cut, at in zip(cuts, place))]

    def rows(self, place: Place, wants: Mapping[int, Sequence[Interval]], fill: float = 0.0) -> torch.Tensor:
        """Put the rows together that a place wants along some axes; along the others it keeps its own."""
        wanted = self._wanted(place, wants)
        pieces = list(self._pieces(wanted))
        shape = list(self.page(place).shape)
        for dim, (low, high) in wanted.items():
            shape[dim] = high - low
        if len(pieces) == 1 and all(low == 0 and high == shape[dim] for dim, (low, high) in pieces[0][2].items()):
            return self._load(pieces[0][0], pieces[0][1])
        order = self.page(place).order
        out = torch.empty(shape, dtype=self.dtype, device=self.store.device, memory_format=order).fill_(fill)
        for source, box, into in pieces:
            out[tuple(slice(*into.get(dim, (None, None))) for dim in range(len(shape)))] = self._load(source, box)
        return out

    def targets(self, place: Place, wants: Mapping[int, Sequence[Interval]]) -> list[tuple[Place, Boxes, Boxes]]:
        """Places that own what `rows` gives: with the box in their part, and where it lies in the rows."""
        return list(self._pieces(self._wanted(place, wants)))

    def _wanted(self, place: Place, wants: Mapping[int, Sequence[Interval]]) -> Boxes:
        """Rows along each dimension that is cut."""
        return {
            cut.dim: tuple(wants[axis][place[axis]]) if axis in wants else cut.own(place[axis])
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

    def _load(self, place: Place, box: Boxes) -> torch.Tensor:
        page = self.page(place)
        if all(interval == (0, page.shape[dim]) for dim, interval in box.items()):
            return page.load()
        return page.load([box.get(dim, (0, side)) for dim, side in enumerate(page.shape)])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What autograd itself does with gradients: add them up, pass them on."""
        name = func.overloadpacket.__name__
        if name not in (
            "add",
            "detach",
            "clone",
            "alias",
            "view_as",
            "zeros_like",
            "ones_like",
            "mul",
            "neg",
            "_to_copy",
        ):
            raise NotImplementedError(
                f"{func} of a tensor that is kept in parts: use it inside the out-of-core context"
            )
        like = next(one for one in args if isinstance(one, Paged))
        if name in ("detach", "alias", "view_as"):
            return Paged(like.pages, like.whereabouts, like.store, dtype=like.dtype)
        pages = {}
        for place in like.pages:
            parts = [one.pages[place].load() if isinstance(one, Paged) else one for one in args]
            pages[place] = like.store.store(func(*parts, **(kwargs or {})))
        return Paged(pages, like.whereabouts, like.store, dtype=like.dtype)
