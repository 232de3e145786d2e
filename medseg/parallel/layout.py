"""Where the rows of a cut tensor lie: plain arithmetic on bounds, known to every rank without a message."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Cut", "Interval", "Layout", "even_bounds", "scaled_bounds", "shifted_bounds"]

Interval = tuple[int, int]  # half-open range of rows


@dataclass(frozen=True, slots=True)
class Cut:
    """One tensor dimension, divided over the ranks of one mesh axis.

    Parameters
    ----------
    dim : int
        The tensor dimension, counted from 0.
    bounds : tuple of int
        Rank `r` of the axis owns the rows ``bounds[r]`` to ``bounds[r + 1]``; the first is 0, the last the size of
        the whole dimension. Ranks may own different numbers of rows, or none.
    """

    dim: int
    bounds: tuple[int, ...]

    @property
    def size(self) -> int:
        """Rows of the whole dimension."""
        return self.bounds[-1]

    @property
    def ranks(self) -> int:
        """Number of ranks that the dimension is divided over."""
        return len(self.bounds) - 1

    def own(self, rank: int) -> Interval:
        """Rows of a rank."""
        return self.bounds[rank], self.bounds[rank + 1]

    def intervals(self) -> list[Interval]:
        """Rows of every rank."""
        return list(pairwise(self.bounds))

    def at(self, dim: int) -> "Cut":
        """Return the same division of another dimension."""
        return Cut(dim, self.bounds)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a tensor lies on the mesh: one entry a mesh axis, None where every rank of the axis has the same values.

    Examples
    --------
    >>> Layout((Cut(2, (0, 3, 5)),)).whole((1, 8, 2, 7), (1,))
    (1, 8, 5, 7)
    """

    cuts: tuple[Cut | None, ...]

    @classmethod
    def replicated(cls, axes: int) -> "Layout":
        """Every rank has all of it."""
        return cls((None,) * axes)

    @property
    def is_replicated(self) -> bool:
        """Whether every rank has the same values."""
        return all(cut is None for cut in self.cuts)

    @property
    def dims(self) -> dict[int, int]:
        """Mesh axis of each tensor dimension that is cut."""
        return {cut.dim: axis for axis, cut in enumerate(self.cuts) if cut is not None}

    def whole(self, local: Sequence[int], coordinates: Sequence[int]) -> tuple[int, ...]:
        """Shape of the whole tensor from that of the part at `coordinates` of the mesh."""
        shape = list(local)
        for cut in self.cuts:
            if cut is not None:
                shape[cut.dim] = cut.size
        return tuple(shape)

    def part(self, whole: Sequence[int], coordinates: Sequence[int]) -> tuple[int, ...]:
        """Shape of the part at `coordinates` of the mesh from that of the whole tensor."""
        shape = list(whole)
        for axis, cut in enumerate(self.cuts):
            if cut is not None:
                low, high = cut.own(coordinates[axis])
                shape[cut.dim] = high - low
        return tuple(shape)

    def box(self, coordinates: Sequence[int]) -> tuple[slice, ...]:
        """Index of the part at `coordinates` in the whole tensor."""
        ranges = {cut.dim: cut.own(coordinates[axis]) for axis, cut in enumerate(self.cuts) if cut is not None}
        return tuple(slice(*ranges.get(dim, (None, None))) for dim in range(max(ranges, default=-1) + 1))

    def replace(self, axis: int, cut: Cut | None) -> "Layout":
        """Return the layout with another entry for one mesh axis."""
        return Layout((*self.cuts[:axis], cut, *self.cuts[axis + 1 :]))

    def moved(self, where: dict[int, int]) -> "Layout":
        """Return the layout after dimensions have moved: `where` gives the new place of each old one that is cut."""
        return Layout(tuple(None if cut is None else cut.at(where[cut.dim]) for cut in self.cuts))


def even_bounds(size: int, ranks: int) -> tuple[int, ...]:
    """Divide rows as evenly as can be.

    Examples
    --------
    >>> even_bounds(10, 4)
    (0, 2, 5, 7, 10)
    """
    return tuple(size * rank // ranks for rank in range(ranks + 1))


def scaled_bounds(bounds: Sequence[int], size: int, *, stride: int, centre: int) -> tuple[int, ...]:
    """Bounds of the `size` output rows of a window that moves by `stride`, its centre at ``row * stride + centre``.

    A rank owns the output rows whose window is centred on its input rows, so that a network's levels lie above each
    other and skip connections need no message.

    Examples
    --------
    >>> scaled_bounds((0, 5, 8), 4, stride=2, centre=0)
    (0, 3, 4)
    """
    inner = [min(max(-((centre - bound) // stride), 0), size) for bound in bounds[1:-1]]
    return (0, *inner, size)


def shifted_bounds(bounds: Sequence[int], size: int, *, factor: int = 1, shift: int) -> tuple[int, ...]:
    """Bounds of `size` output rows where input row `i` lies at ``i * factor + shift``.

    Examples
    --------
    >>> shifted_bounds((0, 2, 4), 6, shift=1)
    (0, 3, 6)
    """
    inner = [min(max(bound * factor + shift, 0), size) for bound in bounds[1:-1]]
    return (0, *inner, size)
