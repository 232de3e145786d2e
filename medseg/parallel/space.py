"""What the operations are written in: local work on every rank, rows of others, sums over ranks.

An operation says which rows each rank needs and what to do with them; a space says how that is carried out. The ranks
of `ProcessSpace` are processes that work at the same time.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch

from medseg.parallel.layout import Cut, Interval, Layout

__all__ = ["Local", "Place", "Rows", "RowsAgain", "Space", "Vjp", "plain"]

WHOLE_DRAW = 1 << 24  # elements up to which a random tensor is drawn whole, and then cut

Place = tuple[int, ...]  # coordinates of a rank on the mesh
Local = Callable[..., torch.Tensor]  # (place, *tensors) -> tensor
Draw = Callable[..., torch.Tensor]  # (shape, generator) -> tensor
Vjp = Callable[..., Sequence[torch.Tensor | None]]  # (place, gradient, RowsAgain, *others, needs) -> gradients


def plain() -> Any:
    """Context in which torch functions are what they are: the backward pass may run inside a sharding context."""
    return torch._C.DisableTorchFunction()


@dataclass(frozen=True, slots=True, eq=False)
class RowsAgain:
    """The rows of the first operand in a backward pass: put together when they are called for."""

    build: Callable[[], torch.Tensor]
    shape: torch.Size
    dtype: torch.dtype

    def __call__(self) -> torch.Tensor:
        """Build them."""
        return self.build()


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """An operand of local work: rows of a cut tensor.

    Parameters
    ----------
    tensor : Tensor
        This rank's part.
    layout : Layout
    wants : mapping of int to sequence of (int, int)
        For mesh axes: the rows that each rank of the axis wants; an axis that is missing keeps its own rows.
    fill : float
        Value of the rows outside the tensor.
    """

    tensor: torch.Tensor
    layout: Layout
    wants: Mapping[int, Sequence[Interval]] = field(default_factory=dict)
    fill: float = 0.0

    def steps(self) -> list[tuple[int, Cut, Sequence[Interval]]]:
        """Axis, cut and wishes where something differs from what the ranks own."""
        steps = []
        for axis, wants in self.wants.items():
            cut = self.layout.cuts[axis]
            if cut is not None and list(wants) != cut.intervals():
                steps.append((axis, cut, wants))
        return steps


class Space(ABC):
    """Where the parts of a tensor lie and how they work together."""

    shape: tuple[int, ...]  # ranks along each mesh axis
    place: Place  # coordinates of this rank
    dims: tuple[int, ...]  # tensor dimension that is cut along each axis, for tensors that enter
    views_share = True  # a view of a part shares its memory

    @property
    @abstractmethod
    def signature(self) -> Any:
        """What tells this space from others: tensors of one cannot be used in another."""

    @abstractmethod
    def entering(self, x: torch.Tensor) -> Layout:
        """Layout of a tensor that comes from outside.

        Raises
        ------
        ConfigError
            When the ranks' parts do not make up one tensor; on every rank alike.
        """

    @abstractmethod
    def check(self, x: torch.Tensor, layout: Layout) -> None:
        """Make sure that a tensor still is what `layout` says (it may have been changed outside).

        Raises
        ------
        ConfigError
        """

    def agree(self, numbers: Sequence[int], device: torch.device) -> bool:
        """Whether all ranks have the same numbers."""
        return True

    @property
    def axes(self) -> int:
        """Number of mesh axes."""
        return len(self.shape)

    @property
    def gradients_add_up(self) -> bool:
        """Whether the gradient of what every rank has is the sum over ranks."""
        return prod(self.shape) > 1

    def of_gradient(self, gradient: torch.Tensor, layout: Layout) -> Layout:
        """Layout of the gradient of a tensor with `layout`."""
        return layout

    @abstractmethod
    def map(
        self, local: Local, *operands: Any, layout: Layout, vjp: Vjp | None = None, in_place: bool = False
    ) -> torch.Tensor:
        """Do local work on every rank; the results are the parts of a tensor with `layout`.

        Operands are `Rows`, or tensors of which every rank has its own (parts) or the same values. With `vjp` the rows
        of the first operand are not stored for the backward pass but put together again from the part and the halo.
        With `in_place` the work changes its first operand and returns it.
        """

    @abstractmethod
    def total(self, local: Local, *operands: Any, axes: Sequence[int], layout: Layout) -> torch.Tensor:
        """Do local work and add the results up over the ranks of `axes`; every rank has the sum."""

    @abstractmethod
    def parts(self, local: Local, *operands: torch.Tensor, layout: Layout) -> torch.Tensor:
        """Do local work outside of autograd."""

    @abstractmethod
    def collect(self, local: Local, *operands: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
        """Do local work outside of autograd; the small results of all ranks of `axes`, stacked: (rank, ...)."""

    @abstractmethod
    def summed(self, x: torch.Tensor, *, axes: Sequence[int]) -> torch.Tensor:
        """Add up over the processes of `axes`, outside of autograd."""

    @abstractmethod
    def drawn(self, draw: Draw, shape: tuple[int, ...], *, layout: Layout) -> torch.Tensor:
        """Random numbers: the first rank's where every rank needs the same, those of its part otherwise."""

    @abstractmethod
    def replaced(self, tensor: torch.Tensor, part: torch.Tensor) -> torch.Tensor:
        """Let `part` take the place of a tensor that has no history; what then stands for both."""
