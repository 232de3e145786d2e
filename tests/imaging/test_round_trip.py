import itertools

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from medseg.errors import ImageError
from medseg.imaging import find_inputs, read, write_mask, write_volume
from medseg.volume import Grid, Volume

SUFFIXES = [".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"]
ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def volume_on(affine, shape=(3, 4, 5)):
    """A volume whose values tell its voxels apart."""
    return Volume(np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape), Grid(shape, affine))


def check_round_trip(folder, suffix, volume, *, tolerance_mm=1e-3):
    """Write, read, and compare every corner in the world with what was written and with what other readers say."""
    file = folder / f"a{suffix}"
    write_volume(file, volume)
    again = read(file)
    assert np.array_equal(again.array, volume.array)
    assert [note for note in again.notes if note.warning] == []
    corners = np.array(list(itertools.product(*[(0, n - 1) for n in volume.grid.shape[::-1]])))
    expected = volume.grid.to_world(corners)
    assert np.abs(again.grid.to_world(corners) - expected).max() < tolerance_mm
    image = sitk.ReadImage(str(file))
    assert np.array_equal(sitk.GetArrayFromImage(image), volume.array[0])
    places = [image.TransformIndexToPhysicalPoint(corner.tolist()) for corner in corners]
    assert np.abs(np.array(places) - expected).max() < max(tolerance_mm, _quaternion_error(volume, suffix))
    if ".nii" in suffix:
        ras = nib.affines.apply_affine(nib.load(file).affine, corners)
        assert np.abs(ras * [-1, -1, 1] - expected).max() < tolerance_mm


def _quaternion_error(volume, suffix):
    """How far ITK, which may take the qform, can be off: b, c, d are float32, a comes from their root."""
    if ".nii" not in suffix:
        return 0.0
    reach = float(np.linalg.norm(np.array(volume.grid.shape) * volume.grid.spacing))
    return 2 * np.sqrt(3 * np.finfo(np.float32).eps) * reach


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_world_coordinates_survive_all_48_axis_orders(tmp_path, suffix):
    assert len(ORDERS) == 48
    for order, signs in ORDERS:
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, order] * signs * (0.5, 1.0, 2.5)
        affine[:3, 3] = -12.5, 33.0, 7.25
        check_round_trip(tmp_path, suffix, volume_on(affine))


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None)
@given(
    angles=st.lists(st.floats(-180, 180), min_size=3, max_size=3),
    spacing=st.lists(st.floats(0.2, 8), min_size=3, max_size=3),
    offset=st.lists(st.floats(-400, 400), min_size=3, max_size=3),
    flip=st.booleans(),
    shape=st.lists(st.integers(1, 6), min_size=3, max_size=3),
)
def test_world_coordinates_survive_any_rotation(tmp_path_factory, suffix, angles, spacing, offset, flip, shape):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = offset
    if flip:
        affine[:3, 0] *= -1
    check_round_trip(tmp_path_factory.mktemp("turned"), suffix, volume_on(affine, tuple(shape)))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_channels_survive(tmp_path, suffix):
    volume = Volume(np.arange(120, dtype=np.float32).reshape(2, 3, 4, 5), Grid((3, 4, 5), np.diag([1.0, 2, 3, 1])))
    write_volume(tmp_path / f"a{suffix}", volume)
    again = read(tmp_path / f"a{suffix}")
    assert np.array_equal(again.array, volume.array)
    assert np.allclose(again.affine_lps, volume.affine_lps)


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


def test_files_of_one_name_are_named_by_their_folders_too(tmp_path):
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / folder / "a.png")
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "b.png")
    assert sorted(item.case_id for item in find_inputs(tmp_path, name_series=str)) == ["b", "x_a", "y_a"]
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(tmp_path / "x" / "a.jpg")
    with pytest.raises(ImageError, match="both be case x_a"):
        find_inputs(tmp_path, name_series=str)


def test_results_of_an_earlier_run_are_no_input(tmp_path):
    earlier = tmp_path / "in" / "out"
    (earlier / "cases" / "a").mkdir(parents=True)
    (earlier / "predictions.json").write_text("{}")
    for file in (tmp_path / "in" / "a.png", earlier / "cases" / "a" / "overlay.png"):
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(file)
    assert [item.case_id for item in find_inputs(tmp_path / "in", name_series=str)] == ["a"]
