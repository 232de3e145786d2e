import itertools

import numpy as np
import pytest
from PIL import Image

from medseg.errors import GeometryError, ImageError
from medseg.imaging import find_inputs, inspect, read, write_mask, write_volume
from medseg.volume import Grid, Volume

ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def oriented(order, signs):
    """A volume whose axes run along other patient axes; its value at a voxel is its world position, encoded."""
    matrix = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(order, signs)):
        matrix[axis, column] = sign * (0.5, 1.0, 2.5)[column]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = matrix, (-12.5, 33.0, 7.25)
    grid = Grid((3, 4, 5), affine)
    array = np.arange(60, dtype=np.float32).reshape(1, 3, 4, 5)
    return Volume(array, grid)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_world_coordinates_survive_all_48_axis_orders(tmp_path, suffix):
    for number, (order, signs) in enumerate(ORDERS):
        volume = oriented(order, signs)
        write_volume(tmp_path / f"{number}{suffix}", volume)
        again = read(tmp_path / f"{number}{suffix}")
        assert np.allclose(again.affine_lps, volume.affine_lps, atol=1e-4)
        assert np.array_equal(again.array, volume.array)


def test_series_equals_simpleitk(real_data):
    import SimpleITK as sitk

    folder = real_data / "lung_pet_ct_dx" / "Lung_Dx-A0002" / "16610983"
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    expected, volume = reader.Execute(), read(folder)
    assert np.array_equal(sitk.GetArrayFromImage(expected), volume.array[0])
    for index in ((0, 0, 0), (511, 17, 29)):
        point = expected.TransformIndexToPhysicalPoint(index)
        assert np.allclose(volume.grid.to_world(np.array([index]))[0], point, atol=1e-3)


def test_odd_dicom_is_refused_with_a_reason(real_data):
    listing = inspect([real_data / "dicom_odd"])
    rejected = [series for series in listing["series"] if series["status"] == "rejected"]
    assert len(rejected) >= 8
    assert all(series["problems"][0]["message"] for series in rejected)
    text = " ".join(series["problems"][0]["message"] for series in rejected)
    for reason in ("tilted", "missing or irregular", "orientations", "colour"):
        assert reason in text


def test_no_position_no_affine(tmp_path):
    import nibabel as nib

    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    nib.save(image, tmp_path / "a.nii.gz")
    with pytest.raises(GeometryError, match="neither sform nor qform"):
        read(tmp_path / "a.nii.gz")


def test_damaged_and_coloured_pictures(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ImageError, match="damaged"):
        read(tmp_path / "broken.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(tmp_path / "rgb.png")
    with pytest.raises(ImageError, match="colour"):
        read(tmp_path / "rgb.png")


def test_sixteen_bit_png_keeps_its_values(tmp_path):
    values = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.array_equal(read(tmp_path / "a.png").array[0, 0], values)


def test_mask_of_a_projection_comes_back_as_projection(tmp_path):
    mask = np.zeros((1, 6, 9), np.uint8)
    mask[0, 1:3, 4:7] = 1
    write_mask(tmp_path / "mask.nii.gz", mask, Grid.projection((6, 9)))
    again = read(tmp_path / "mask.nii.gz")
    assert again.is_projection
    assert np.array_equal(again.array[0], mask)


def test_stack_members(tmp_path):
    np.save(tmp_path / "s.npy", np.arange(2 * 3 * 4).reshape(2, 3, 4))
    assert read(f"{tmp_path / 's.npy'}#1").array[0, 0, 0, 0] == 12
    with pytest.raises(ImageError, match="0 to 1"):
        read(f"{tmp_path / 's.npy'}#2")


def test_two_files_of_one_name_are_refused(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    with pytest.raises(ImageError, match="both be case a"):
        find_inputs(tmp_path, name_series=str)
