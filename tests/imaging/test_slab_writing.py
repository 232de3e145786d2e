"""Files written in slabs are those that are written whole."""

import multiprocessing as mp

import nibabel as nib
import numpy as np
import pytest

from medseg.errors import OutputError
from medseg.imaging import read, write_map, write_mask
from medseg.imaging.slab_writing import create_slabs, join_slabs
from medseg.volume import Grid

AFFINE = np.array([[0, -2.0, 0.1, 5], [1.5, 0, 0, 6], [0, 0.1, 3, 7], [0, 0, 0, 1]])
SHAPE = (7, 4, 5)
GRID = Grid(SHAPE, AFFINE)
VALUES = np.random.default_rng(0).random(SHAPE).astype(np.float32)


def hidden(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".partial")]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("step", [1, 3, 7])
@pytest.mark.parametrize(("write_whole", "array"), [(write_map, VALUES), (write_mask, (VALUES > 0.5).astype(np.uint8))])
def test_the_file_is_that_of_the_whole(tmp_path, name, step, write_whole, array):
    with create_slabs(tmp_path / name, GRID, array.dtype) as writer:
        for start in range(0, len(array), step):
            writer.write(start, array[start : start + step])
        assert not (tmp_path / name).exists()
    write_whole(tmp_path / f"whole_{name}", array, GRID)
    volume = read(tmp_path / name)
    assert np.array_equal(volume.array[0], array)
    assert np.allclose(volume.grid.affine, AFFINE, atol=1e-6)
    ours, whole = nib.load(tmp_path / name), nib.load(tmp_path / f"whole_{name}")
    assert ours.header == whole.header
    assert np.array_equal(np.asarray(ours.dataobj).T, array)
    assert np.allclose(ours.affine[:2], -AFFINE[:2], atol=1e-6)  # RAS
    assert not hidden(tmp_path)


def test_rows_of_an_uncompressed_file_come_in_any_order(tmp_path):
    with create_slabs(tmp_path / "a.nii", GRID, np.float32) as writer:
        for row in (4, 0, 6, 1, 5, 2, 3):
            writer.write(row, VALUES[row : row + 1])
    assert np.array_equal(read(tmp_path / "a.nii").array[0], VALUES)


def _write_share(partial, start, stop):
    with join_slabs(partial, GRID, np.float32) as writer:
        writer.write(start, VALUES[start:stop])


def test_several_processes_write_one_file(tmp_path):
    context = mp.get_context("fork")
    with create_slabs(tmp_path / "a.nii", GRID, np.float32) as writer:
        others = [context.Process(target=_write_share, args=(writer.partial, a, b)) for a, b in ((2, 5), (5, 7))]
        for process in others:
            process.start()
        writer.write(0, VALUES[:2])
        for process in others:
            process.join(30)
            assert process.exitcode == 0
        writer.mark_written(2, 7)
    assert np.array_equal(read(tmp_path / "a.nii").array[0], VALUES)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_missing_row_is_told_and_leaves_no_file(tmp_path, name):
    with (
        pytest.raises(OutputError, match="2 rows were never written, the first is 5"),
        create_slabs(tmp_path / name, GRID, np.float32) as writer,
    ):
        writer.write(0, VALUES[:5])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("start", "rows", "says"),
    [
        (-1, VALUES[:1], "do not fit"),
        (6, VALUES[:2], "do not fit"),
        (0, VALUES[:1, :3], "do not fit"),
        (0, VALUES[0], "do not fit"),
        (1, VALUES[:1], "in order: row 0, not 1"),
        (0, VALUES[:1] > 0, None),
        (0, VALUES[:1].astype(np.complex64), "complex64 values do not fit into a file of float32"),
    ],
)
def test_rows_that_do_not_fit(tmp_path, start, rows, says):
    with create_slabs(tmp_path / "a.nii.gz", GRID, np.float32) as writer:
        if says is None:
            writer.write(start, rows)
        else:
            with pytest.raises(OutputError, match=says):
                writer.write(start, rows)
            writer.write(0, VALUES[:1])
        writer.write(1, VALUES[1:])


def test_files_that_cannot_be_written_so(tmp_path):
    with pytest.raises(OutputError, match=r"\.nii or \.nii\.gz"), create_slabs(tmp_path / "a.mha", GRID, np.uint8):
        pass
    with create_slabs(tmp_path / "a.nii.gz", GRID, np.uint8) as writer:
        with pytest.raises(OutputError, match="one process"), join_slabs(writer.partial, GRID, np.uint8):
            pass
        writer.write(0, np.zeros(SHAPE, np.uint8))
    with create_slabs(tmp_path / "a.nii", GRID, np.uint8) as writer:
        with pytest.raises(OutputError, match="bytes"), join_slabs(writer.partial, GRID, np.float32):
            pass
        writer.write(0, np.zeros(SHAPE, np.uint8))
    with pytest.raises(OutputError, match="not there"), join_slabs(tmp_path / "b.nii", GRID, np.uint8):
        pass


def test_an_error_leaves_the_old_file(tmp_path):
    write_map(tmp_path / "a.nii", VALUES, GRID)

    def stop_in_between():
        with create_slabs(tmp_path / "a.nii", GRID, np.float32) as writer:
            writer.write(0, VALUES * 0)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_in_between()
    assert np.array_equal(read(tmp_path / "a.nii").array[0], VALUES)
    assert not hidden(tmp_path)


def test_a_projection_is_known_again(tmp_path):
    grid = Grid.projection((4, 5))
    with create_slabs(tmp_path / "a.nii.gz", grid, np.float32) as writer:
        writer.write(0, VALUES[:1])
    assert read(tmp_path / "a.nii.gz").is_projection
