"""Slabs of every format are the rows of the whole volume, and no more is read or decoded than they need."""

import gzip
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from dicom_matrix import ORIENTATIONS, Case, write_matrix_series

from medseg.errors import GeometryError, ImageError
from medseg.imaging import read, write_volume
from medseg.imaging.slab_writing import create_slabs
from medseg.imaging.slabs import WholeSlabs, open_slabs
from medseg.volume import Grid, Volume

RISING = [(0, 2), (2, 3), (3, 3), (3, 8)]
ANY_ORDER = [(5, 8), (0, 3), (2, 6), (7, 8), (0, 0), (0, 8)]


def same_as_whole(path, ranges):
    """Each range of a fresh reader is that of `read`, bit for bit; return the reader's notes."""
    whole = read(path)
    with open_slabs(path) as reader:
        assert reader.grid.shape == whole.grid.shape
        assert np.array_equal(reader.grid.affine, whole.grid.affine)
        assert (reader.n_channels, reader.n_bytes) == (len(whole.array), whole.array.nbytes)
        for start, stop in ranges:
            rows = reader.read(start, stop)
            assert rows.dtype == np.float32
            assert np.array_equal(rows, whole.array[:, start:stop]), (start, stop)
        assert reader.modality == whole.modality
        return [note.code for note in reader.notes]


def nifti(path, shape=(8, 5, 6), *, dtype=np.int16, slope=None, byteorder="<"):
    """A file of the shape (z, y, x) or (channel, z, y, x), written by nibabel, its axes oblique and flipped."""
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    affine = np.array([[0, -2.0, 0.1, 5], [1.5, 0, 0, 6], [0, 0.1, 3, 7], [0, 0, 0, 1]])
    header = nib.Nifti1Header(endianness=byteorder)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(byteorder))
    image = nib.Nifti1Image(values.T, affine, header)
    if slope:
        image.header.set_slope_inter(slope, -3.25)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("ranges", [RISING, ANY_ORDER], ids=["rising", "any order"])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.img", "a.mha", "a.nrrd"])
@pytest.mark.parametrize("shape", [(8, 5, 6), (3, 8, 5, 6)], ids=["3d", "4d"])
def test_files(tmp_path, name, shape, ranges):
    if name.endswith(("mha", "nrrd")):
        array = np.arange(np.prod(shape), dtype=np.float32).reshape((-1, 8, 5, 6))
        write_volume(tmp_path / name, Volume(array, Grid((8, 5, 6), np.diag([1.0, 2, 3, 1]))))
    elif name == "a.img":
        image = nib.load(nifti(tmp_path / "b.nii", shape))
        nib.save(nib.Nifti1Pair(np.asarray(image.dataobj), image.affine), tmp_path / name)
    else:
        nifti(tmp_path / name, shape)
    codes = same_as_whole(tmp_path / name, ranges)
    assert ("read_whole" in codes) == name.endswith(("mha", "nrrd"))


@pytest.mark.parametrize("slope", [None, 0.37])
@pytest.mark.parametrize(("dtype", "byteorder"), [("u1", "<"), ("i2", ">"), ("f4", "<"), ("f8", ">")])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_types_and_scaling_of_nifti(tmp_path, name, dtype, byteorder, slope):
    same_as_whole(nifti(tmp_path / name, dtype=dtype, byteorder=byteorder, slope=slope), RISING)


CASES = [
    *(Case(orientation=name, flipped=True) for name in ORIENTATIONS),
    *(Case(syntax=name) for name in ("JPEG2000Lossless", "RLELossless", "DeflatedExplicitVRLittleEndian")),
    Case(enhanced=True), Case(enhanced=True, syntax="JPEGLSLossless"), Case(rescale="per_slice", bits=12, signed=False),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dicom(tmp_path, case):
    write_matrix_series(tmp_path, case)
    assert "read_whole" not in same_as_whole(tmp_path, ANY_ORDER)


def test_slices_of_a_tilted_gantry_are_read_whole_and_this_is_said(tmp_path):
    write_matrix_series(tmp_path, Case(tilt=10.0))
    assert {"read_whole", "tilt_resampled"} <= set(same_as_whole(tmp_path, ANY_ORDER))


def test_a_series_with_a_gap_is_refused_as_ever(tmp_path):
    write_matrix_series(tmp_path, Case(missing=(3,)))
    with pytest.raises(GeometryError, match="missing"):
        open_slabs(tmp_path)


def test_one_of_two_volumes_of_a_series_is_chosen_by_name(tmp_path):
    write_matrix_series(tmp_path, Case(split="echo"))
    with pytest.raises(ImageError, match="choose one with --series: (\\S+)") as found:
        open_slabs(tmp_path)
    name = str(found.value).split("--series: ")[1].split()[0]
    assert same_as_whole(f"{tmp_path}#{name}", RISING) == ["decoder"]


def test_only_the_slices_asked_for_are_decoded(tmp_path):
    """A slice that is damaged is in nobody's way who does not ask for it."""
    write_matrix_series(tmp_path, Case(ordered=True))
    with open_slabs(tmp_path) as reader:
        last = reader._frames[-1].path
        last.write_bytes(last.read_bytes()[:-100])
        assert reader.read(0, 7).shape[1] == 7
        with pytest.raises(ImageError, match=last.name):
            reader.read(6, 8)


def test_single_images_have_one_row(tmp_path):
    write_volume(tmp_path / "a.png", Volume(np.ones((1, 1, 4, 5), np.float32), Grid.projection((4, 5))))
    np.save(tmp_path / "s.npy", np.arange(40, dtype=np.uint8).reshape(2, 4, 5))
    for name in ("a.png", "s.npy#1"):
        assert "read_whole" not in same_as_whole(tmp_path / name, [(0, 1), (0, 0), (1, 1)])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 9), (5, 4), (8, 9)])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_rows_that_there_are_not(tmp_path, name, start, stop):
    with (
        open_slabs(nifti(tmp_path / name)) as reader,
        pytest.raises(ImageError, match=f"rows {start} to {stop} were asked for, the volume has the rows 0 to 8"),
    ):
        reader.read(start, stop)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ImageError, match="no such file"):
        open_slabs(tmp_path / "a.nii")


def test_a_file_that_is_cut_off(tmp_path):
    plain = nifti(tmp_path / "a.nii")
    plain.write_bytes(plain.read_bytes()[:-10])
    with pytest.raises(ImageError, match="cut off"):
        open_slabs(plain)
    packed = nifti(tmp_path / "b.nii.gz", (8, 50, 60))
    whole = read(packed)
    packed.write_bytes(packed.read_bytes()[:-3000])
    with open_slabs(packed) as reader:
        assert np.array_equal(reader.read(0, 2), whole.array[:, :2])  # what is there is there
        for _ in range(2):  # and asking again does not help
            with pytest.raises(ImageError, match=r"b\.nii\.gz: .*cut off"):
                reader.read(2, 8)


def test_the_last_row_proves_the_checksum(tmp_path):
    content = bytearray(gzip.compress(nifti(tmp_path / "a.nii").read_bytes()))
    content[-8] ^= 1  # CRC32
    (tmp_path / "b.nii.gz").write_bytes(content)
    with open_slabs(tmp_path / "b.nii.gz") as reader:
        reader.read(0, 7)
        with pytest.raises(ImageError, match="damaged"):
            reader.read(7, 8)


def test_a_compressed_file_is_read_once_for_rising_ranges(tmp_path, monkeypatch):
    opened = []
    path = nifti(tmp_path / "a.nii.gz")
    real = type(path).open
    monkeypatch.setattr(type(path), "open", lambda self, *a, **k: opened.append(self) or real(self, *a, **k))
    with open_slabs(path) as reader:
        for start, stop in RISING:
            reader.read(start, stop)
        assert len(opened) == 1
        reader.read(0, 1)
        assert len(opened) == 2


def test_notes_of_the_values(tmp_path):
    values = np.zeros((8, 2, 2), np.float32)
    values[6, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(values.T, np.eye(4)), tmp_path / "a.nii")
    with open_slabs(tmp_path / "a.nii") as reader:
        reader.read(0, 6)
        assert "not_finite" not in [note.code for note in reader.notes]
        reader.read(6, 8)
        assert "not_finite" in [note.code for note in reader.notes]


def test_a_volume_in_memory():
    volume = Volume(np.arange(24, dtype=np.float32).reshape(1, 4, 2, 3), Grid((4, 2, 3), np.eye(4)), modality="CT")
    reader = WholeSlabs(volume)
    assert np.array_equal(reader.read(1, 3), volume.array[:, 1:3])
    assert (reader.volume(), reader.modality) == (volume, "CT")


PEAK = """
import sys
from medseg.imaging.slabs import open_slabs
def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
with open_slabs(sys.argv[1]) as reader:
    reader.read(0, 1)
    before = peak()
    for row in range(0, reader.grid.shape[0], 8):
        reader.read(row, row + 8)
print((peak() - before) / 1024, reader.n_bytes / 2**20)
"""


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_memory_holds_slabs_alone(tmp_path, name):
    """128 MB in slabs of 4 MB."""
    grid = Grid((256, 256, 512), np.eye(4))
    with create_slabs(tmp_path / name, grid, np.int16) as writer:
        for row in range(0, 256, 64):
            writer.write(row, np.full((64, 256, 512), row, np.int16))
    found = subprocess.run([sys.executable, "-c", PEAK, tmp_path / name], capture_output=True, text=True, check=True)
    peak, whole = map(float, found.stdout.split())
    assert whole == 128
    assert peak < 16
