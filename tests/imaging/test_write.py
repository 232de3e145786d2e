"""What writing keeps exactly, and what it refuses."""

import gzip
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from medseg.errors import OutputError
from medseg.imaging import read, write_map, write_mask, write_volume
from medseg.imaging.bit_depth import bit_depth_note
from medseg.imaging.nifti_write import write_nifti
from medseg.volume import Grid, Volume

AFFINE = np.array([[0.0, 0, 2.5, -10], [-0.5, 0, 0, 20], [0, 1, 0, 30], [0, 0, 0, 1]])


def volume_of(values):
    array = np.asarray(values, dtype=np.float32)
    return Volume(array, Grid(array.shape[1:], AFFINE))


@pytest.mark.parametrize(
    ("low", "high", "step", "stored"),
    [
        (-32768, 32767, 1, "int16"),
        (0, 32768, 1, "uint16"),
        (0, 65535, 1, "uint16"),
        (-1, 65535, 1, "int32"),
        (0, 65536, 1, "int32"),
        (-(2**24), 2**24, 1, "int32"),
        (0, 2**25, 1, "float32"),
        (0, 10, 0.5, "float32"),
        (0, np.inf, 1, "float32"),
        (0, np.nan, 1, "float32"),
    ],
)
@pytest.mark.parametrize("suffix", [".nii.gz", ".mha"])
def test_values_are_stored_in_the_smallest_type_that_holds_them(tmp_path, suffix, low, high, step, stored):
    volume = volume_of(np.array([low, 0, step, high]).reshape(1, 1, 2, 2))
    write_volume(tmp_path / f"a{suffix}", volume)
    assert np.array_equal(read(tmp_path / f"a{suffix}").array, volume.array, equal_nan=True)
    if suffix == ".nii.gz":
        assert nib.load(tmp_path / f"a{suffix}").get_data_dtype() == stored


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("channels", [1, 3])
def test_nibabel_and_simpleitk_read_back_the_same(tmp_path, suffix, channels):
    import SimpleITK as sitk

    values = np.random.default_rng(0).integers(-1000, 1000, (channels, 6, 5, 4))
    volume = volume_of(values)
    file = tmp_path / f"a{suffix}"
    write_volume(file, volume)
    theirs = nib.load(file)
    assert np.array_equal(np.asarray(theirs.dataobj).T.reshape(values.shape), values)
    assert np.array_equal(theirs.get_sform(coded=True)[0], theirs.affine)
    assert np.allclose(theirs.get_qform(coded=True)[0], theirs.affine, atol=1e-5)
    assert (theirs.get_sform(coded=True)[1], theirs.get_qform(coded=True)[1]) == (1, 1)
    assert theirs.header.get_xyzt_units()[0] == "mm"
    image = sitk.ReadImage(str(file))
    assert np.array_equal(sitk.GetArrayFromImage(image).reshape(values.shape), values)
    index = [3, 2, 5] + [0] * (image.GetDimension() - 3)
    place = image.TransformIndexToPhysicalPoint(index)
    assert np.allclose(place[:3], volume.grid.to_world(np.array([[3, 2, 5]])), atol=1e-4)


def test_shear_is_written_as_sform_alone(tmp_path):
    sheared = np.array([[1.0, 0, 0.4, -10], [0, 1, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
    write_mask(tmp_path / "a.nii.gz", np.ones((2, 3, 4)), Grid((2, 3, 4), sheared))
    theirs = nib.load(tmp_path / "a.nii.gz")
    assert (theirs.header["sform_code"], theirs.header["qform_code"]) == (1, 0)
    again = read(tmp_path / "a.nii.gz")
    assert np.allclose(again.affine_lps, sheared, atol=1e-5)
    assert [note.code for note in again.notes if note.warning] == ["sheared"]


def test_axes_longer_than_nifti_1_can_count_are_written_as_nifti_2(tmp_path):
    write_mask(tmp_path / "a.nii.gz", np.ones((1, 2, 40000), np.uint8), Grid((1, 2, 40000), np.eye(4)))
    assert isinstance(nib.load(tmp_path / "a.nii.gz"), nib.Nifti2Image)
    assert read(tmp_path / "a.nii.gz").array.shape == (1, 1, 2, 40000)


@pytest.mark.parametrize("labels", [[0, 256], [0, -1], [0, 0.5], [0, np.nan]])
def test_labels_that_a_mask_cannot_hold_are_refused(tmp_path, labels):
    with pytest.raises(OutputError, match="0 to 255"):
        write_mask(tmp_path / "a.nii.gz", np.array(labels).reshape(1, 1, 2), Grid((1, 1, 2), np.eye(4)))
    assert list(tmp_path.iterdir()) == []


def test_masks_of_any_number_type_are_stored_as_uint8(tmp_path):
    for kind in (bool, np.uint8, np.int64, np.float32):
        write_mask(tmp_path / "a.nii.gz", np.array([0, 1], kind).reshape(1, 1, 2), Grid((1, 1, 2), np.eye(4)))
        assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == np.uint8


def test_arrays_of_another_size_than_the_grid_are_refused(tmp_path):
    grid = Grid((2, 3, 4), np.eye(4))
    for shape in ((4, 3, 2), (3, 4), (1, 1, 2, 3, 4)):
        with pytest.raises(OutputError, match="does not fit"):
            write_map(tmp_path / "a.nii.gz", np.zeros(shape), grid)


def test_arrays_that_are_not_contiguous_or_of_another_byte_order(tmp_path):
    values = np.arange(24, dtype=">i2").reshape(4, 3, 2).T
    write_nifti(tmp_path / "a.nii.gz", values, Grid((2, 3, 4), np.eye(4)))
    assert np.array_equal(read(tmp_path / "a.nii.gz").array[0], values)


def test_many_slabs_equal_one(tmp_path, monkeypatch):
    values = np.random.default_rng(0).integers(0, 9, (2, 50, 6, 7)).astype(np.int16)
    contents = []
    for slab in (1, 100, 10**6):
        monkeypatch.setattr("medseg.imaging.nifti_write.SLAB", slab)
        write_nifti(tmp_path / "a.nii.gz", values, Grid((50, 6, 7), np.eye(4)))
        contents.append(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    assert contents[0] == contents[1] == contents[2]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_writing_makes_no_second_array(tmp_path, suffix):
    volume = volume_of(np.zeros((1, 256, 256, 256)))
    write_volume(tmp_path / f"a{suffix}", volume)  # what is imported on the way
    tracemalloc.start()
    write_volume(tmp_path / f"a{suffix}", volume)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.3 * volume.array.nbytes  # some slabs in the threads


def test_png_has_the_depth_of_the_source(tmp_path):
    dark = np.full((1, 1, 3, 3), 90, np.float32)
    for notes, mode in (((), "L"), ((bit_depth_note(8),), "L"), ((bit_depth_note(12),), "I;16")):
        write_volume(tmp_path / "a.png", Volume(dark, Grid.projection((3, 3)), notes=notes))
        with Image.open(tmp_path / "a.png") as picture:
            assert picture.mode == mode
        assert np.array_equal(read(tmp_path / "a.png").array, dark)


@pytest.mark.parametrize("value", [-1, 65536, 0.5, np.nan])
def test_values_that_png_cannot_hold_are_refused(tmp_path, value):
    image = Volume(np.full((1, 1, 2, 2), value, np.float32), Grid.projection((2, 2)))
    with pytest.raises(OutputError, match="0 to 65535"):
        write_volume(tmp_path / "a.png", image)


@pytest.mark.parametrize("name", ["a.jpg", "a.dcm", "a", "a.nrrd", "a.mha"])
def test_formats_that_cannot_hold_a_projection_are_refused(tmp_path, name):
    with pytest.raises(OutputError):
        write_volume(tmp_path / name, Volume(np.zeros((1, 1, 2, 2), np.float32), Grid.projection((2, 2))))
    assert list(tmp_path.iterdir()) == []


def test_an_mhd_that_cannot_be_written_leaves_neither_half(tmp_path, monkeypatch):
    import SimpleITK as sitk

    def fail(image, name, **options):
        raise RuntimeError("disk")

    volume = volume_of(np.zeros((1, 2, 2, 2)))
    monkeypatch.setattr(sitk, "WriteImage", fail)
    with pytest.raises(OutputError, match="disk full"):
        write_volume(tmp_path / "a.mhd", volume)
    assert list(tmp_path.iterdir()) == []
