"""Arrays as sources of rows, for tests."""

import itertools

import torch

from medseg.data.rows import Rows, collect


def as_rows(whole, asked=None):
    """Rows of a tensor (channel, *spatial); which rows are asked for is noted in the list `asked`."""

    def read(start, stop):
        if asked is not None:
            asked.append((start, stop))
        return whole[:, start:stop]

    return Rows(tuple(whole.shape), read)


def all_rows(rows):
    """Read all rows at once."""
    return rows.read(0, rows.shape[1])


def put_together(rows, cuts):
    """Read rows between `cuts`, some of them perhaps none, and put them together."""
    edges = [0, *sorted(cuts), rows.shape[1]]
    return torch.cat([collect(rows, a, b) for a, b in itertools.pairwise(edges)], dim=1)
