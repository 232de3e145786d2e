"""Parts that wait in host memory or in a file: what is stored comes back, boxes of it too, and no file is left."""

import gc
import os
import resource
import signal
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import OutputError
from medseg.parallel.layout import Cut, Layout
from medseg.parallel.pages import DiskPages, HostPages, Paged, boxed
from medseg.parallel.scratch_file import ScratchFile

CPU = torch.device("cpu")
TYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@pytest.fixture(params=[HostPages, DiskPages])
def store(request):
    return request.param(CPU)


def values(shape, dtype=torch.float32):
    return torch.arange(torch.Size(shape).numel()).reshape(shape).remainder(251).to(dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_any_type_comes_back(store, dtype):
    part = values((2, 3, 4, 5), dtype)
    page = store.store(part)
    assert page.load().dtype == dtype
    assert torch.equal(page.load(), part)
    assert torch.equal(page.load([(0, 2), (1, 2), (1, 3), (0, 5)]), part[:, 1:2, 1:3])


ORDERS = {
    "contiguous": lambda x: x,
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "turned": lambda x: x.permute(0, 2, 3, 1),
    "with holes": lambda x: x[:, :, 1:3],
    "every other": lambda x: x[..., ::2],
    "channels last, with holes": lambda x: x.contiguous(memory_format=torch.channels_last)[:, :, :, 1:3],
}


@pytest.mark.parametrize("order", ORDERS)
def test_order_in_memory_is_that_of_torchs_own_operations(store, order):
    part = ORDERS[order](values((2, 3, 4, 6)))
    loaded = store.store(part).load()
    assert torch.equal(loaded, part)
    assert (loaded + 0).stride() == (part + 0).stride()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_box_is_the_box_whatever_the_order_of_both(data):
    """Reading, reading into rows, and adding, against indices; sides above and below what is read in one piece."""
    sides = data.draw(st.lists(st.sampled_from((1, 2, 3, 40)), min_size=2, max_size=4))
    order, other = (data.draw(st.permutations(range(len(sides)))) for _ in range(2))
    part = torch.randn([sides[dim] for dim in order]).permute([order.index(dim) for dim in range(len(sides))])
    box = [tuple(sorted(data.draw(st.tuples(st.integers(0, side), st.integers(0, side))))) for side in sides]
    page = DiskPages(CPU).store(part)
    assert torch.equal(page.load(box), boxed(part, box))
    rows = torch.zeros([sides[dim] for dim in other]).permute([other.index(dim) for dim in range(len(sides))])
    page.load_into(boxed(rows, box), box)
    wanted = torch.zeros(sides)
    boxed(wanted, box).copy_(boxed(part, box))
    assert torch.equal(rows, wanted)
    page.add(torch.ones([high - low for low, high in box]), box)
    wanted = part.clone()
    boxed(wanted, box).add_(1)
    assert torch.equal(page.load(), wanted)


def test_adding_leaves_what_was_given_alone(store):
    part = values((1, 2, 4))
    page = store.store(part)
    page.add(torch.ones(1, 2, 1), [(0, 1), (0, 2), (3, 4)])
    page.add(torch.ones(1, 2, 1), [(0, 1), (0, 2), (3, 4)])
    assert torch.equal(part, values((1, 2, 4)))
    assert page.load()[0, :, 3].tolist() == [5, 9]


def test_an_empty_part(store):
    page = store.store(torch.zeros(1, 2, 0, 3))
    assert page.load().shape == (1, 2, 0, 3)


def test_rows_over_parts_with_what_lies_outside():
    """Three parts of 2, 0 and 3 rows; a place wants rows -1 to 4."""
    cut = Cut(1, (0, 2, 2, 5))
    whole = values((2, 5)) + 1
    for store in (HostPages(CPU), DiskPages(CPU)):
        pages = {(rank,): store.store(whole[:, low:high]) for rank, (low, high) in enumerate(cut.intervals())}
        paged = Paged(pages, Layout((cut,)), store, dtype=whole.dtype)
        wants = {0: [(-1, 4), (2, 2), (4, 6)]}
        assert paged.rows((0,), wants, -9.0).tolist() == [[-9, 1, 2, 3, 4], [-9, 6, 7, 8, 9]]
        assert paged.rows((1,), wants).shape == paged.rows_shape((1,), wants) == (2, 0)
        assert paged.rows((2,), wants).tolist() == [[5, 0], [10, 0]]
        assert torch.equal(paged.gathered(), whole)


def test_blocks_are_used_again():
    store = DiskPages(CPU)
    for _ in range(20):
        page = store.store(torch.zeros(1, 1000))
        del page
    assert store._file.size == 4000


def test_no_file_has_a_name_and_none_is_left(tmp_path):
    store = DiskPages(CPU, tmp_path)
    number = store._file._file.fileno()
    page = store.store(torch.zeros(1, 1000))
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(number).st_nlink == 0
    del store
    assert page.load().shape == (1, 1000)  # the file lives as long as its last part
    del page
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


def test_nothing_is_left_by_a_process_that_is_killed(tmp_path):
    code = (
        "import sys, time, torch\nfrom pathlib import Path\nfrom medseg.parallel.pages import DiskPages\n"
        "page = DiskPages(torch.device('cpu'), Path(sys.argv[1])).store(torch.zeros(1000))\n"
        "print('ready', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_is_named(tmp_path):
    with pytest.raises(OutputError, match=r"missing: no file for slabs can be made there: No such file"):
        DiskPages(CPU, tmp_path / "missing")


def test_a_full_disk_is_said(tmp_path):
    """By the kernel: files of this process may have 1 MB for the time."""
    store, limits = DiskPages(CPU, tmp_path), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        kept = [store.store(torch.zeros(1, 100_000)), store.store(torch.zeros(1, 100_000))]
        with pytest.raises(OutputError, match=r"File too large after .* GiB of slabs; give another folder"):
            store.store(torch.zeros(1, 100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert all(not page.load().any() for page in kept)


def test_writing_and_reading_in_several_calls(monkeypatch, tmp_path):
    """The system may take or give less than was asked for."""
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, data, offset: write(file, data[:7], offset))
    monkeypatch.setattr(os, "preadv", lambda file, data, offset: read(file, [data[0][:5]], offset))
    part = values((3, 50))
    assert torch.equal(DiskPages(CPU, tmp_path).store(part).load(), part)


def test_a_file_that_was_cut_short_is_said():
    file = ScratchFile()
    with pytest.raises(OutputError, match="cut short"):
        file.read(0, (4,), [(0, 4)], torch.zeros(4))
