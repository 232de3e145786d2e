"""What is known about each torch function on parts of a tensor; what is not in the table is refused."""

from functools import lru_cache

from medseg.parallel.operations import (
    autograd,
    composites,
    convolution,
    factories,
    interpolation,
    lines,
    losses,
    noise,
    normalisation,
    padding,
    pieces,
    pointwise,
    pooling,
    products,
    reductions,
    summaries,
    views,
)
from medseg.parallel.operations.table import Table

__all__ = ["operations"]


@lru_cache(maxsize=1)
def operations() -> Table:
    """The table of all operations."""
    entries: Table = {}
    for module in (
        pointwise, factories, noise, views, pieces, lines, reductions, summaries, losses, products, padding,
        convolution, pooling, interpolation, normalisation, autograd, composites,
    ):  # fmt: skip
        entries |= module.table()
    return entries
