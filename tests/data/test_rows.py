"""Arrays that are made by rows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from row_sources import as_rows

from medseg.data import rows as rows_module
from medseg.data.rows import collect, kept, row_blocks

WHOLE = torch.arange(2 * 7 * 3).reshape(2, 7, 3)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))
def test_blocks_cover_the_rows_once_with_cuts_that_do_not_depend_on_them(start, length, voxels):
    shape = (1, 80, 4)
    blocks = list(row_blocks(shape, start, start + length, voxels))
    assert [row for low, high in blocks for row in range(low, high)] == list(range(start, start + length))
    cuts = {low for low, _ in row_blocks(shape, 0, 80, voxels)}
    assert all(low in cuts for low, _ in blocks[1:])
    assert all((high - low) * 4 <= max(voxels, 4) for low, high in blocks)


@pytest.mark.parametrize("voxels", [3, 6, 100])
def test_collected_rows_are_those_of_the_whole(voxels, monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_VOXELS", voxels)
    for start in range(8):
        for stop in range(start, 8):
            assert torch.equal(collect(as_rows(WHOLE), start, stop), WHOLE[:, start:stop])


def test_collecting_reads_no_more_than_a_block_at_once(monkeypatch):
    monkeypatch.setattr(rows_module, "BLOCK_VOXELS", 6)  # two rows
    asked = []
    collect(as_rows(WHOLE, asked), 1, 6)
    assert asked == [(1, 2), (2, 4), (4, 6)]


def test_what_was_read_last_is_kept():
    asked = []
    source = kept(as_rows(WHOLE, asked))
    for rows in ((0, 3), (0, 3), (3, 7), (0, 3)):
        assert torch.equal(source.read(*rows), WHOLE[:, slice(*rows)])
    assert asked == [(0, 3), (3, 7), (0, 3)]
