"""Train and infer on a volume that does not fit the device: slab after slab, with the numbers of the whole."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import torch

from medseg.errors import ConfigError
from medseg.parallel.errors import Unsupported, UnsupportedOperation
from medseg.parallel.in_turn import InTurn
from medseg.parallel.layout import Cut, Layout, even_bounds
from medseg.parallel.operations import operations
from medseg.parallel.pages import DiskPages, HostPages, Page, Paged
from medseg.parallel.sharding import Sharding
from medseg.parallel.space import plain

__all__ = ["OutOfCore", "out_of_core"]


class OutOfCore(Sharding):
    """The context of `out_of_core`."""

    space: InTurn

    def cut(self, tensor: torch.Tensor, bounds: Sequence[int] | None = None) -> torch.Tensor:
        """Divide a whole tensor into slabs (several cuts: evenly along each)."""
        with plain():
            return self._tracked(self.space.cut(tensor, self._layout(tensor.shape, bounds)))

    def from_rows(
        self, read: Callable[[int, int], torch.Tensor], rows: int, bounds: Sequence[int] | None = None
    ) -> torch.Tensor:
        """Build a tensor from ``read(start, stop)``, which gives these rows along the dimension that is cut."""
        bounds = tuple(bounds) if bounds else even_bounds(rows, self.space.shape[0])
        (tensor,) = self.several_from_rows(lambda start, stop: (read(start, stop),), bounds)
        return tensor

    def several_from_rows(
        self, read: Callable[[int, int], tuple[torch.Tensor, ...]], bounds: Sequence[int]
    ) -> tuple[torch.Tensor, ...]:
        """Build tensors whose rows are read together, such as an image and its target.

        One without the dimension that is cut, such as a label, is the same each time and stays whole.
        """
        if self.space.axes != 1:
            raise ConfigError("reading rows: one dimension is cut")
        cut, pages = Cut(self.space.dims[0], tuple(bounds)), self.space.pages
        stored: list[dict[tuple[int, ...], Page]] = []
        parts: tuple[torch.Tensor, ...] = ()
        with plain():
            for place, (low, high) in enumerate(cut.intervals()):
                parts = read(low, high)
                stored = stored or [{} for _ in parts]
                for one, part in zip(stored, parts):
                    if part.ndim > cut.dim:
                        one[(place,)] = pages.store(part)
            return tuple(
                self._tracked(Paged(one, Layout((cut,)), pages, dtype=part.dtype)) if one else part.to(pages.device)
                for one, part in zip(stored, parts)
            )

    def parts(self, tensor: torch.Tensor) -> Iterator[torch.Tensor]:
        """The slabs of a tensor, one after another.

        Raises
        ------
        UnsupportedOperation
            Of a tensor that was changed in place, which gave another one.
        """
        self._check("parts", tensor)
        if not isinstance(tensor, Paged):
            yield tensor
            return
        for place in sorted(tensor.pages):
            with plain():
                part = tensor.pages[place].load()
            yield part

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """Put a tensor together on the host.

        Raises
        ------
        UnsupportedOperation
            Of a tensor that was changed in place, which gave another one.
        """
        self._check("gather", tensor)
        with plain(), torch.no_grad():
            return tensor.gathered() if isinstance(tensor, Paged) else tensor.detach().cpu()

    def _check(self, name: str, tensor: torch.Tensor) -> None:
        try:
            with plain():
                self.check_known(tensor)
        except Unsupported as error:
            raise UnsupportedOperation(name, "", str(error)) from error

    def _tracked(self, tensor: Paged) -> torch.Tensor:
        return self.tag(tensor, tensor.whereabouts)

    def _layout(self, shape: Sequence[int], bounds: Sequence[int] | None) -> Layout:
        if bounds is not None and self.space.axes != 1:
            raise ConfigError("bounds can be given where one dimension is cut")
        return Layout(tuple(
            Cut(dim, tuple(bounds) if bounds else even_bounds(shape[dim], n))
            for dim, n in zip(self.space.dims, self.space.shape)
        ))  # fmt: skip


def out_of_core(
    slabs: int | tuple[int, ...],
    dim: int | tuple[int, ...] = 2,
    *,
    device: torch.device | str = "cpu",
    keep: Literal["host", "disk"] = "host",
    folder: Path | None = None,
) -> OutOfCore:
    """Run unchanged modules on a whole volume of which the device never holds more than a few slabs.

    Parameters
    ----------
    slabs, dim : int or tuple of int
        Numbers of slabs, and the tensor dimensions that are cut.
    device : torch.device or str
        Where a slab is worked on; the network lies there.
    keep : {"host", "disk"}
        Where the others wait: host memory (for a GPU), or files (for a volume larger than host memory).
    folder : Path, optional
        For files; the system's place for temporary ones unless given.

    Returns
    -------
    OutOfCore
        A context manager. ``context.cut(volume)`` divides an input; what a network makes of it inside the context is
        divided too, with the values and gradients of the whole. Backward may run outside.

    Raises
    ------
    UnsupportedOperation
        As `spatial_parallel`.

    Notes
    -----
    The backward pass does the work of each operation again, slab by slab; convolutions and normalisations have rules
    of their own. Operations in place give a new tensor; the old one is refused afterwards.

    Examples
    --------
    >>> import torch
    >>> from medseg.parallel import out_of_core
    >>> network = torch.nn.Conv3d(1, 1, 3, padding=1)
    >>> with out_of_core(slabs=4) as context:
    ...     loss = network(context.cut(torch.ones(1, 1, 8, 8, 8))).mean()
    >>> loss.backward()
    >>> tuple(network.weight.grad.shape)
    (1, 1, 3, 3, 3)
    """
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    numbers = (slabs,) * len(dims) if isinstance(slabs, int) else tuple(slabs)
    if len(numbers) != len(dims) or min(numbers) < 1:
        raise ConfigError(f"out_of_core: slabs={slabs} does not fit dim={dim}")
    if keep not in ("host", "disk"):
        raise ConfigError(f'out_of_core: keep={keep!r} is neither "host" nor "disk"')
    device = torch.device(device)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"out_of_core: device={str(device)!r}, but there is no GPU")
    pages = HostPages(device) if keep == "host" else DiskPages(device, folder)
    return OutOfCore(InTurn(pages, numbers, dims), operations())
