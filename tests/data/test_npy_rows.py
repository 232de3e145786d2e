"""Rows of an .npy file, read and written without mapping it."""

import numpy as np
import pytest

from medseg.data import npy_rows
from medseg.data.npy_rows import NpyRows
from medseg.errors import ImageError

ARRAY = np.arange(2 * 4 * 3 * 5, dtype=np.float32).reshape(2, 4, 3, 5)


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_reading(tmp_path, monkeypatch, block):
    monkeypatch.setattr(npy_rows, "BLOCK", block)
    np.save(tmp_path / "a.npy", ARRAY)
    with NpyRows(tmp_path / "a.npy") as rows:
        assert rows.shape == ARRAY.shape
        assert np.array_equal(rows.read(1, 1, 3), ARRAY[1, 1:3])
        assert rows.read(0, 2, 2).shape == (0, 3, 5)
        box = (slice(1, 4), slice(0, 2), slice(2, 5))
        assert np.array_equal(rows.read_box(1, box), ARRAY[(1, *box)])


@pytest.mark.parametrize("block", [1, 1 << 20])
def test_writing(tmp_path, monkeypatch, block):
    monkeypatch.setattr(npy_rows, "BLOCK", block)
    expected = np.zeros_like(ARRAY)
    with NpyRows.create(tmp_path / "a.npy", ARRAY.shape) as rows:
        rows.write(1, 2, ARRAY[1, 2:4])
        expected[1, 2:4] = ARRAY[1, 2:4]
        for box in ((slice(0, 2), slice(0, 3), slice(0, 5)), (slice(1, 4), slice(1, 2), slice(2, 4))):
            rows.write_box(0, box, ARRAY[(0, *box)] + 1)
            expected[(0, *box)] = ARRAY[(0, *box)] + 1
    assert np.array_equal(np.load(tmp_path / "a.npy"), expected)


def test_three_axes_are_one_channel(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY[0].astype(np.uint8))
    with NpyRows(tmp_path / "a.npy") as rows:
        assert (rows.shape, rows.dtype) == ((1, 4, 3, 5), np.uint8)
        assert np.array_equal(rows.read(0, 1, 2), ARRAY[0, 1:2])


def test_other_files_are_refused(tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((3, 4)))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(ARRAY))
    np.savez(tmp_path / "several.npy", a=ARRAY)
    (tmp_path / "text.npy").write_text("no array")
    for name in ("flat.npy", "fortran.npy", "several.npy.npz", "text.npy", "none.npy"):
        with pytest.raises(ImageError, match=name):
            NpyRows(tmp_path / name)


def test_a_file_that_shrinks_is_told(tmp_path):
    np.save(tmp_path / "a.npy", ARRAY)
    with NpyRows(tmp_path / "a.npy") as rows:
        with (tmp_path / "a.npy").open("r+b") as stream:
            stream.truncate(ARRAY.nbytes)  # the header's length is missing at the end
        with pytest.raises(ImageError, match="cut off"):
            rows.read(1, 0, 4)
