"""NIfTI: what the header may say, and what is refused."""

import gzip
import struct
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medseg.errors import GeometryError, ImageError
from medseg.imaging.nifti import read_nifti

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
VALUES = np.arange(60, dtype=np.int16).reshape(3, 4, 5)  # z, y, x
AFFINE = np.array([[2.0, 0, 0, -10], [0, 3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]])  # RAS


def header_of(values=VALUES, affine=AFFINE, *, kind=nib.Nifti1Header, order="<", **fields):
    """A header with both forms coded 1 and equal, then some fields changed as they stand in the file."""
    header = kind(endianness=order)
    header.set_data_dtype(values.dtype.newbyteorder(order))
    header.set_data_shape(values.shape[::-1])
    header.set_qform(affine, 1)
    header.set_sform(affine, 1)
    header.set_xyzt_units("mm")
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    for name, value in fields.items():
        if isinstance(value, dict):
            for position, part in value.items():
                header[name][position] = part
        else:
            header[name] = value
    return header


def write(path, values=VALUES, affine=AFFINE, *, order="<", **fields):
    header = header_of(values, affine, order=order, **fields)
    content = header.binaryblock + bytes(4) + values.astype(values.dtype.newbyteorder(order)).tobytes()
    path.write_bytes(gzip.compress(content, 1) if path.name.endswith(".gz") else content)
    return path


def warnings_of(volume):
    return [note.code for note in volume.notes if note.warning]


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_type_and_byte_order_and_both_versions(tmp_path, kind, order, dtype):
    file = write(tmp_path / "a.nii", VALUES.astype(dtype), kind=kind, order=order)
    volume = read_nifti(file)
    assert volume.array.dtype == np.float32
    assert np.array_equal(volume.array[0], VALUES)
    assert np.allclose(volume.affine_lps, LPS @ AFFINE)
    assert warnings_of(volume) == []


def test_values_and_place_equal_nibabel_and_simpleitk(real_data):
    import SimpleITK as sitk

    files = sorted((real_data / "ms_mni").rglob("*.nii*"))
    assert files
    for file in files:
        volume, theirs, itk = read_nifti(file), nib.load(file), sitk.ReadImage(str(file))
        assert np.array_equal(volume.array[0], np.asarray(theirs.dataobj, dtype=np.float32).T)
        assert np.allclose(volume.affine_lps, LPS @ theirs.affine, atol=1e-4)
        corner = np.array(itk.GetSize()) - 1
        place = itk.TransformIndexToPhysicalPoint(corner.tolist())
        assert np.allclose(volume.grid.to_world(corner[None]), place, atol=1e-2)


@pytest.mark.parametrize(
    ("slope", "intercept", "expected"),
    [(0, 7, VALUES), (np.nan, np.nan, VALUES), (1, 0, VALUES), (2, -5, VALUES * 2.0 - 5), (-0.5, 0, VALUES * -0.5)],
)
def test_scaling(tmp_path, slope, intercept, expected):
    volume = read_nifti(write(tmp_path / "a.nii.gz", scl_slope=slope, scl_inter=intercept))
    assert np.array_equal(volume.array[0], expected)


@pytest.mark.parametrize(("slope", "intercept"), [(np.inf, 0), (1, np.inf), (2, np.nan)])
def test_scaling_that_is_not_finite_is_refused(tmp_path, slope, intercept):
    with pytest.raises(ImageError, match="cannot be scaled"):
        read_nifti(write(tmp_path / "a.nii", scl_slope=slope, scl_inter=intercept))


def test_rounding_and_values_that_are_not_finite_are_counted(tmp_path):
    values = VALUES.astype(np.int32)
    values[0, 0, :3] = 2**24 + 1, -(2**24) - 1, 2**24
    volume = read_nifti(write(tmp_path / "a.nii", values))
    assert [note.message.split()[0] for note in volume.notes if note.code == "precision"] == ["2"]
    values = VALUES.astype(np.float64)
    values[0, 0, :4] = np.nan, np.inf, -np.inf, 1e300
    volume = read_nifti(write(tmp_path / "b.nii", values))
    assert warnings_of(volume) == ["precision", "not_finite"]
    assert [note.message.split()[0] for note in volume.notes if note.warning] == ["1", "4"]
    assert np.isnan(volume.array[0, 0, 0, 0])


@pytest.mark.parametrize(
    ("code", "bits", "reason"),
    [(128, 24, "RGB"), (2304, 32, "RGBA"), (32, 64, "complex"), (1536, 128, "128 bit"), (77, 8, "unknown type 77")],
)
def test_values_that_are_no_grey_values_are_refused(tmp_path, code, bits, reason):
    with pytest.raises(ImageError, match=reason):
        read_nifti(write(tmp_path / "a.nii", datatype=code, bitpix=bits))


@pytest.mark.parametrize(
    ("unit", "factor", "flagged"), [(2, 1, False), (0, 1, False), (1, 1000, True), (3, 1e-3, True)]
)
def test_units_of_length(tmp_path, unit, factor, flagged):
    volume = read_nifti(write(tmp_path / "a.nii", xyzt_units=unit))
    assert np.allclose(volume.spacing_mm, np.array([4, 3, 2]) * factor)
    assert np.allclose(volume.affine_lps[:3, 3], np.array([10, -20, 30]) * factor)
    assert ("unit" in warnings_of(volume)) is flagged
    assert ("unit" in [note.code for note in volume.notes]) is (unit != 2)


@pytest.mark.parametrize("bad", [0, -2, np.nan, np.inf])
@pytest.mark.parametrize("forms", [{}, {"sform_code": 0}, {"qform_code": 0}])
def test_spacing_that_is_not_above_0_is_refused(tmp_path, bad, forms):
    with pytest.raises(GeometryError, match="not above 0"):
        read_nifti(write(tmp_path / "a.nii", pixdim={2: bad}, **forms))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sform_code": 0, "qform_code": 0}, "neither sform nor qform"),
        ({"sform_code": 77}, "sform_code 77"),
        ({"qform_code": -1}, "qform_code -1"),
        ({"xyzt_units": 5}, "unit of length"),
        ({"srow_x": {0: np.nan}}, "not finite"),
        ({"srow_x": {0: 0}, "qform_code": 0}, "does not place voxels"),
        ({"sform_code": 0, "quatern_b": 0.9, "quatern_c": 0.9}, "not a rotation"),
        ({"sform_code": 0, "qoffset_x": np.inf}, "not a rotation"),
        ({"sform_code": 0, "pixdim": {0: 0.5}}, "qfac"),
    ],
)
def test_geometry_that_is_not_certain_is_refused(tmp_path, fields, reason):
    with pytest.raises(GeometryError, match=reason):
        read_nifti(write(tmp_path / "a.nii", **fields))


def test_qfac_0_counts_as_1_and_minus_1_flips_z(tmp_path):
    for factor, z in ((0, 4), (1, 4), (-1, -4)):
        volume = read_nifti(write(tmp_path / "a.nii", sform_code=0, pixdim={0: factor}))
        assert np.allclose(np.diag(volume.affine_lps), [-2, -3, z, 1])


@pytest.mark.parametrize(("shift", "outcome"), [(0.0, []), (0.5, ["sform_qform"]), (3.9, ["sform_qform"])])
def test_sform_is_used_and_the_disagreement_said(tmp_path, shift, outcome):
    volume = read_nifti(write(tmp_path / "a.nii", qoffset_y=20 + shift))
    assert warnings_of(volume) == outcome
    assert np.allclose(volume.affine_lps, LPS @ AFFINE)


def test_forms_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(GeometryError, match=r"differ by up to 5\.0 mm"):
        read_nifti(write(tmp_path / "a.nii", qoffset_y=25))
    # a mirror that leaves the first and the last voxel where they are is seen at the other corners
    mirrored = np.array([[0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    header = header_of(np.zeros((8, 8, 8), np.int16), np.diag([2.0, 2, 2, 1]))
    header.set_qform(mirrored, 1)
    (tmp_path / "b.nii").write_bytes(header.binaryblock + bytes(4 + 2 * 8**3))
    with pytest.raises(GeometryError, match="differ"):
        read_nifti(tmp_path / "b.nii")


def test_a_damaged_qform_and_a_pixdim_beside_the_sform_are_flagged(tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii", quatern_b=5))
    assert warnings_of(volume) == ["sform_qform"]
    volume = read_nifti(write(tmp_path / "a.nii", qform_code=0, pixdim={1: 1}))
    assert warnings_of(volume) == ["pixdim_sform"]
    assert np.allclose(volume.affine_lps, LPS @ AFFINE)


def test_shear_is_kept_and_flagged(tmp_path):
    tilted = AFFINE.copy()
    tilted[1, 2] = 1.5
    volume = read_nifti(write(tmp_path / "a.nii", affine=tilted, qform_code=0, pixdim={3: np.hypot(4, 1.5)}))
    assert warnings_of(volume) == ["sheared"]
    assert np.allclose(volume.affine_lps, LPS @ tilted)


def test_spacing_no_scanner_has_is_flagged(tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii", affine=np.diag([700.0, 700, 700, 1])))
    assert warnings_of(volume) == ["unusual_spacing"]


def test_template_space_is_recorded(tmp_path):
    volume = read_nifti(write(tmp_path / "a.nii", sform_code=4))
    assert ["MNI" in note.message for note in volume.notes if note.code == "template_space"] == [True]


def test_a_fourth_axis_becomes_channels_with_a_warning(tmp_path):
    values = np.arange(2 * 60, dtype=np.int16).reshape(2, 3, 4, 5)
    volume = read_nifti(write(tmp_path / "a.nii.gz", values, xyzt_units=2 | 8, pixdim={4: 2.5}))
    assert np.array_equal(volume.array, values)
    assert [note.message for note in volume.notes if note.warning] == [
        "4D: 2 volumes along the fourth axis (steps of 2.5 s) were read as channels"
    ]


def test_vectors_on_the_fifth_axis_become_channels(tmp_path):
    values = np.arange(3 * 60, dtype=np.int16).reshape(3, 1, 3, 4, 5)
    volume = read_nifti(write(tmp_path / "a.nii", values))
    assert np.array_equal(volume.array, values[:, 0])
    assert warnings_of(volume) == []
    with pytest.raises(ImageError, match="one axis beyond"):
        read_nifti(write(tmp_path / "b.nii", np.zeros((2, 2, 3, 4, 5), np.int16)))


def test_two_axes_are_one_slice_and_trailing_axes_of_one_are_dropped(tmp_path):
    assert read_nifti(write(tmp_path / "a.nii", VALUES[0])).array.shape == (1, 1, 4, 5)
    assert read_nifti(write(tmp_path / "b.nii", VALUES[None, None, None])).array.shape == (1, 3, 4, 5)


@pytest.mark.parametrize(
    ("dim", "reason"),
    [({0: 0}, "0 axes"), ({0: 8}, "8 axes"), ({1: 0}, "no voxels"), ({2: -4}, "no voxels"), ({0: 1}, "1 axes")],
)
def test_axes_that_cannot_be(tmp_path, dim, reason):
    with pytest.raises(ImageError, match=reason):
        read_nifti(write(tmp_path / "a.nii", dim=dim))


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_sizes_beyond_the_file_are_refused_at_once(tmp_path, name):
    file = write(tmp_path / name, dim={1: 30000, 2: 30000, 3: 30000})
    tracemalloc.start()
    start = time.perf_counter()
    with pytest.raises(ImageError, match="54000000000000 bytes expected"):
        read_nifti(file)
    assert time.perf_counter() - start < 1
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_an_image_larger_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", lambda name: 10)
    with pytest.raises(ImageError, match="this computer has"):
        read_nifti(write(tmp_path / "a.nii"))


@pytest.mark.parametrize("kept", [0, 3, 200, 347, 352, 400, 470])
def test_files_cut_off_are_refused_with_what_was_expected(tmp_path, kept):
    whole = write(tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii").write_bytes(whole[:kept])
    with pytest.raises(ImageError, match="cut off.*bytes expected"):
        read_nifti(tmp_path / "a.nii")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole[:kept]))
    with pytest.raises(ImageError, match="cut off.*bytes expected"):
        read_nifti(tmp_path / "b.nii.gz")


def test_gzip_cut_off_or_damaged_anywhere_is_refused(tmp_path):
    values = np.random.default_rng(0).integers(-500, 500, (3, 4, 5)).astype(np.int16)
    whole = write(tmp_path / "a.nii.gz", values).read_bytes()
    for kept in range(len(whole)):
        (tmp_path / "a.nii.gz").write_bytes(whole[:kept])
        with pytest.raises(ImageError, match="cut off|not a NIfTI"):
            read_nifti(tmp_path / "a.nii.gz")
    refused = 0
    for place in range(10, len(whole)):  # the first ten bytes hold time and system, which mean nothing here
        damaged = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        (tmp_path / "a.nii.gz").write_bytes(damaged)
        try:
            read_nifti(tmp_path / "a.nii.gz")
        except ImageError:
            refused += 1
        else:  # a bit that deflate does not use
            assert gzip.decompress(damaged) == gzip.decompress(whole)
    assert refused > 0.9 * (len(whole) - 10)


def test_gzip_of_several_members_padded_with_zeros(tmp_path):
    whole = write(tmp_path / "a.nii").read_bytes()
    members = gzip.compress(whole[:100]) + gzip.compress(whole[100:371]) + gzip.compress(whole[371:])
    (tmp_path / "b.nii.gz").write_bytes(members + bytes(512))
    volume = read_nifti(tmp_path / "b.nii.gz")
    assert np.array_equal(volume.array[0], VALUES)
    assert volume.notes == ()


def test_the_content_and_not_the_name_says_whether_it_is_compressed(tmp_path):
    whole = write(tmp_path / "a.nii").read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(whole)
    (tmp_path / "c.nii").write_bytes(gzip.compress(whole))
    assert np.array_equal(read_nifti(tmp_path / "b.nii.gz").array[0], VALUES)
    assert np.array_equal(read_nifti(tmp_path / "c.nii").array[0], VALUES)


def test_bytes_left_over_are_flagged(tmp_path):
    whole = write(tmp_path / "a.nii").read_bytes() + b"1234567"
    (tmp_path / "a.nii").write_bytes(whole)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole))
    for name in ("a.nii", "b.nii.gz"):
        volume = read_nifti(tmp_path / name)
        assert [note.message for note in volume.notes] == ["7 bytes after the image were ignored"]


def test_header_extensions_are_skipped_and_offsets_checked(tmp_path):
    whole = header_of(vox_offset=384).binaryblock + bytes([1, 0, 0, 0]) + struct.pack("<ii24s", 32, 6, b"note")
    (tmp_path / "a.nii").write_bytes(whole + VALUES.tobytes())
    assert np.array_equal(read_nifti(tmp_path / "a.nii").array[0], VALUES)
    for offset in (0, 348, -1, 352.5, np.nan, 1e30):
        with pytest.raises(ImageError, match="vox_offset"):
            read_nifti(write(tmp_path / "b.nii", vox_offset=offset))


def test_bitpix_that_contradicts_the_type_is_refused(tmp_path):
    with pytest.raises(ImageError, match="contradictory"):
        read_nifti(write(tmp_path / "a.nii", bitpix=8))


def test_pairs_are_read_from_either_file(tmp_path):
    header = header_of(magic=b"ni1", vox_offset=0)
    (tmp_path / "a.hdr").write_bytes(header.binaryblock)
    with pytest.raises(ImageError, match=r"its \.img file is missing"):
        read_nifti(tmp_path / "a.hdr")
    (tmp_path / "a.img.gz").write_bytes(gzip.compress(VALUES.tobytes()))
    for name in ("a.hdr", "a.img.gz"):
        assert np.array_equal(read_nifti(tmp_path / name).array[0], VALUES)
    (tmp_path / "a.nii").write_bytes(header.binaryblock)
    with pytest.raises(ImageError, match="header of a pair"):
        read_nifti(tmp_path / "a.nii")


def test_analyze_and_other_files_are_refused_with_the_reason(tmp_path):
    header = header_of(magic=b"", vox_offset=0)
    (tmp_path / "a.hdr").write_bytes(header.binaryblock)
    (tmp_path / "a.img").write_bytes(VALUES.tobytes())
    with pytest.raises(ImageError, match="Analyze 7.5.*where left is"):
        read_nifti(tmp_path / "a.img")
    (tmp_path / "d.nii").write_bytes(header.binaryblock[:344] + b"DOE\0")
    with pytest.raises(ImageError, match="Analyze 7.5") as caught:
        read_nifti(tmp_path / "d.nii")
    assert "DOE" not in str(caught.value)
    (tmp_path / "b.nii").write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(ImageError, match="neither 348 nor 540"):
        read_nifti(tmp_path / "b.nii")
    content = bytearray(header_of(kind=nib.Nifti2Header).binaryblock)
    content[8:12] = b"\n\n\x1a\n"  # line ends changed on the way
    (tmp_path / "c.nii").write_bytes(content)
    with pytest.raises(ImageError, match="transferred as text"):
        read_nifti(tmp_path / "c.nii")


def test_reading_needs_little_more_memory_than_the_array(tmp_path):
    values = np.zeros((64, 256, 256), np.int16)
    values += np.arange(256, dtype=np.int16)
    file = write(tmp_path / "a.nii.gz", values)
    read_nifti(file)  # what is imported on the way
    tracemalloc.start()
    volume = read_nifti(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.3 * volume.array.nbytes


@settings(max_examples=60, deadline=None)
@given(
    quaternion=st.lists(st.floats(-1, 1), min_size=4, max_size=4).filter(lambda q: np.linalg.norm(q) > 0.1),
    spacing=st.lists(st.floats(0.1, 10), min_size=3, max_size=3),
    offset=st.lists(st.floats(-500, 500), min_size=3, max_size=3),
    factor=st.sampled_from([1, -1]),
)
def test_qform_equals_nibabels(tmp_path_factory, quaternion, spacing, offset, factor):
    _, b, c, d = np.array(quaternion) / np.linalg.norm(quaternion) * (1 if quaternion[0] >= 0 else -1)
    file = tmp_path_factory.mktemp("q") / "a.nii"
    pixdim = dict(enumerate([factor, *spacing]))
    fields = {f"qoffset_{axis}": value for axis, value in zip("xyz", offset)}
    write(file, sform_code=0, quatern_b=b, quatern_c=c, quatern_d=d, pixdim=pixdim, **fields)
    assert np.allclose(read_nifti(file).affine_lps, LPS @ nib.load(file).affine, atol=1e-4)
