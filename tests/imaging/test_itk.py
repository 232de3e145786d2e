"""NRRD, MHA and MHD: what the header may say, and what is refused where ITK invents."""

import bz2
import gzip
import itertools
import tracemalloc
import zlib

import numpy as np
import pytest

from medseg.errors import GeometryError, ImageError, MedsegError, OutputError
from medseg.imaging.itk import read_itk, write_itk
from medseg.volume import Grid

VALUES = np.arange(24, dtype=np.int16).reshape(4, 3, 2)  # z, y, x
PLACE = {
    "space": "left-posterior-superior",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "space origin": "(10,20,30)",
}
AFFINE = np.array([[1.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
META = {"ElementSpacing": "1 2 3", "Offset": "10 20 30", "TransformMatrix": "1 0 0 0 1 0 0 0 1"}


def nrrd(path, data=None, *, end="\n", **changes):
    """A little-endian NRRD of `VALUES`; names of fields with _ for a space, None leaves one out."""
    fields = {"type": "short", "dimension": "3", "sizes": "2 3 4", "endian": "little", "encoding": "raw"} | PLACE
    fields |= {name.replace("_", " "): value for name, value in changes.items()}
    lines = [f"{name}: {value}\n" for name, value in fields.items() if value is not None]
    content = VALUES.tobytes() if data is None else data
    path.write_bytes("".join(["NRRD0004\n", *lines]).encode("latin-1") + end.encode() + content)
    return path


def meta(path, data=None, **changes):
    fields = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False"} | META
    fields |= {"DimSize": "2 3 4", "ElementType": "MET_SHORT"} | changes
    last = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{name} = {value}\n" for name, value in fields.items() if value is not None]
    header = "".join([*lines, f"ElementDataFile = {last}\n"]).encode()
    path.write_bytes(header + (VALUES.tobytes() if data is None else data))
    return path


def warnings_of(volume):
    return [note.code for note in volume.notes if note.warning]


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", VALUES.tobytes()),
        ("gzip", gzip.compress(VALUES.tobytes())),
        ("gz", gzip.compress(VALUES.tobytes())),
        ("bzip2", bz2.compress(VALUES.tobytes())),
        ("ascii", " ".join(map(str, VALUES.ravel())).encode()),
        ("hex", VALUES.tobytes().hex().encode()),
    ],
)
def test_nrrd_encodings(tmp_path, encoding, data):
    volume = read_itk(nrrd(tmp_path / "a.nrrd", data, encoding=encoding))
    assert np.array_equal(volume.array[0], VALUES)
    assert np.array_equal(volume.affine_lps, AFFINE)
    assert warnings_of(volume) == []


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("signed char", "i1"), ("uchar", "u1"), ("unsigned short int", "u2"), ("int32", "i4"), ("uint", "u4"),
     ("long long", "i8"), ("uint64_t", "u8"), ("float", "f4"), ("double", "f8")],
)  # fmt: skip
@pytest.mark.parametrize("endian", ["little", "big"])
def test_nrrd_types_and_byte_orders(tmp_path, name, dtype, endian):
    data = VALUES.astype(np.dtype(dtype).newbyteorder({"little": "<", "big": ">"}[endian])).tobytes()
    volume = read_itk(nrrd(tmp_path / "a.nrrd", data, type=name, endian=endian))
    assert np.array_equal(volume.array[0], VALUES)


@pytest.mark.parametrize(
    ("space", "signs"),
    [("LPS", (1, 1)), ("left-posterior-superior", (1, 1)), ("RAS", (-1, -1)), ("right-anterior-superior", (-1, -1)),
     ("LAS", (1, -1)), ("left-anterior-superior", (1, -1))],
)  # fmt: skip
def test_nrrd_spaces_become_lps_as_in_itk(tmp_path, space, signs):
    import SimpleITK as sitk

    file = nrrd(tmp_path / "a.nrrd", space=space)
    volume = read_itk(file)
    assert np.array_equal(volume.affine_lps, np.diag([*signs, 1, 1]) @ AFFINE)
    place = sitk.ReadImage(str(file)).TransformIndexToPhysicalPoint((1, 2, 3))
    assert np.allclose(volume.grid.to_world(np.array([[1, 2, 3]])), place)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"space_directions": None}, "no space directions"),
        ({"space_directions": None, "spacings": "1 2 3"}, "no space directions"),
        ({"space": None}, "no space is stated"),
        ({"space": None, "space_dimension": "3"}, "no space is stated"),
        ({"space": "scanner-xyz"}, "where left is"),
        ({"space": "3D-right-handed"}, "where left is"),
        ({"space_directions": "(1,0,0) (0,2,0) (0,0,0)"}, "does not place voxels"),
        ({"space_directions": "(1,0,0) (0,2,0) (0,nan,0)"}, "does not place voxels"),
        ({"space_directions": "(1,0,0) (0,2,0) (1,2,0)"}, "does not place voxels"),
        ({"space_units": '"parsec" "mm" "mm"'}, "space units"),
        ({"dimension": "2", "sizes": "6 4", "space_directions": "(1,0,0) (0,2,0)"}, "2 axes in space"),
    ],
)
def test_nrrd_without_certain_geometry_is_refused(tmp_path, changes, reason):
    with pytest.raises(GeometryError, match=reason):
        read_itk(nrrd(tmp_path / "a.nrrd", **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"type": "block"}, "none of numbers"),
        ({"endian": None}, "endian"),
        ({"endian": "middle"}, "endian"),
        ({"encoding": "zip"}, "its encoding is unknown; expected one of raw"),
        ({"sizes": "2 3"}, "sizes"),
        ({"sizes": "2 3 0"}, "no voxels"),
        ({"sizes": "2 3 1e99"}, "cut off"),
        ({"sizes": "30000 30000 30000"}, "cut off.*54000000000000 bytes"),
        ({"sizes": "2 3 4.5"}, "whole numbers"),
        ({"dimension": "x"}, "dimension"),
        ({"space_directions": "(1,0) (0,2) (0,0)"}, "3 numbers"),
        ({"space_directions": "(1,0,0) (0,2,0)"}, "2 space directions"),
        ({"space_origin": "10 20 30"}, "space origin"),
        ({"byte_skip": "-2"}, "byte skip"),
        ({"line_skip": "99"}, "lines to skip"),
        ({"data_file": "LIST"}, "several files"),
        ({"data_file": "a%03d.raw 1 5 1"}, "several files"),
        ({"data_file": "b.raw"}, "missing"),
        ({"encoding": "ascii"}, "stored as text"),
        ({"encoding": "hex"}, "stored as text"),
        ({"encoding": "gzip"}, "compressed data is damaged"),
    ],
)
def test_nrrd_damaged(tmp_path, changes, reason):
    with pytest.raises(ImageError, match=reason):
        read_itk(nrrd(tmp_path / "a.nrrd", **changes))


def test_nrrd_origin_and_units(tmp_path):
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space_origin=None))
    assert warnings_of(volume) == ["origin_assumed"]
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space_units='"cm" "cm" "cm"'))
    assert np.allclose(volume.affine_lps, np.diag([10, 10, 10, 1]) @ AFFINE)
    assert warnings_of(volume) == ["unit"]
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space_units='"mm" "mm" "mm"'))
    assert volume.notes == ()


def test_nrrd_with_shear_is_flagged(tmp_path):
    volume = read_itk(nrrd(tmp_path / "a.nrrd", space_directions="(1,0,0) (1,2,0) (0,0,3)"))
    assert warnings_of(volume) == ["sheared"]
    assert volume.affine_lps[0, 1] == 1


def test_nrrd_axes_without_direction_become_channels(tmp_path):
    first = nrrd(
        tmp_path / "a.nrrd",
        VALUES.tobytes(),
        dimension="4",
        sizes="2 3 2 2",
        space_directions="none (1,0,0) (0,2,0) (0,0,3)",
        kinds="vector domain domain domain",
    )
    volume = read_itk(first)
    assert np.array_equal(volume.array, np.moveaxis(VALUES.reshape(2, 2, 3, 2), -1, 0))
    assert warnings_of(volume) == []
    last = nrrd(
        tmp_path / "b.nrrd",
        VALUES.tobytes(),
        dimension="4",
        sizes="3 2 2 2",
        space_directions="(1,0,0) (0,2,0) (0,0,3) none",
        kinds="domain domain domain list",
    )
    volume = read_itk(last)
    assert np.array_equal(volume.array, VALUES.reshape(2, 2, 2, 3))
    assert warnings_of(volume) == ["four_d"]
    with pytest.raises(ImageError, match="grey values were expected"):
        read_itk(nrrd(
            tmp_path / "c.nrrd", dimension="4", sizes="3 2 2 2", kinds="RGB-color domain domain domain",
            space_directions="none (1,0,0) (0,2,0) (0,0,3)",
        ))  # fmt: skip
    with pytest.raises(ImageError, match="first or the last"):
        read_itk(nrrd(
            tmp_path / "d.nrrd", dimension="4", sizes="3 2 2 2", space_directions="(1,0,0) none (0,2,0) (0,0,3)"
        ))  # fmt: skip


def test_nrrd_with_data_beside_it_and_skips(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.raw").write_bytes(b"line\n12345" + VALUES.tobytes())
    for end in ("", "\n"):
        file = nrrd(tmp_path / "a.nhdr", b"", data_file="data/a.raw", line_skip="1", byte_skip="5", end=end)
        assert np.array_equal(read_itk(file).array[0], VALUES)
    file = nrrd(tmp_path / "b.nhdr", b"", datafile="data/a.raw", byte_skip="-1")
    assert np.array_equal(read_itk(file).array[0], VALUES)
    (tmp_path / "data" / "a.raw.gz").write_bytes(gzip.compress(b"12345" + VALUES.tobytes()))
    file = nrrd(tmp_path / "c.nhdr", b"", data_file="data/a.raw.gz", byte_skip="5", encoding="gzip")
    assert np.array_equal(read_itk(file).array[0], VALUES)
    with pytest.raises(ImageError, match="names no data file"):
        read_itk(nrrd(tmp_path / "d.nhdr"))


@pytest.mark.parametrize("name", ["../x.raw", "/etc/passwd", "..\\x.raw", "C:\\x.raw", "sub/../../x.raw", "link.raw"])
def test_data_outside_the_folder_are_refused(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "x.raw").write_bytes(VALUES.tobytes())
    (folder / "link.raw").symlink_to(tmp_path / "x.raw")
    with pytest.raises(ImageError, match="outside its folder"):
        read_itk(nrrd(folder / "a.nhdr", b"", data_file=name))
    with pytest.raises(ImageError, match="outside its folder"):
        read_itk(meta(folder / "a.mhd", b"", ElementDataFile=name))


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "QXZ"}, {"encoding": "QXZ"}, {"space": "QXZ"}, {"space_units": '"QXZ" "mm" "mm"'},
        {"sizes": "2 QXZ 2"},
        {"space_directions": "(1,0,0) QXZ (0,0,3)"}, {"space_origin": "QXZ"}, {"data_file": "QXZ.raw"},
        {"data_file": "../QXZ.raw"}, {"data_file": "link_QXZ.raw"}, {"endian": "QXZ"}, {"QXZ": "1", "qxz": "1"},
        {"dimension": "4", "sizes": "3 2 2 2", "kinds": "QXZ domain domain domain",
         "space_directions": "none (1,0,0) (0,2,0) (0,0,3)"},
    ],
)  # fmt: skip
def test_nrrd_text_of_a_header_is_not_quoted(tmp_path, changes):
    (tmp_path / "link_QXZ.raw").symlink_to(__file__)
    with pytest.raises(MedsegError) as caught:
        read_itk(nrrd(tmp_path / "a.nrrd", **changes))
    assert "qxz" not in str(caught.value).lower()


@pytest.mark.parametrize(
    "changes",
    [
        {"ObjectType": "QXZ"}, {"ElementType": "QXZ"}, {"DimSize": "2 QXZ 2"}, {"DistanceUnits": "QXZ"},
        {"BinaryData": "QXZ"}, {"ElementDataFile": "QXZ.raw"}, {"ElementDataFile": "../QXZ.raw"}, {"Offset": "QXZ"},
        {"Position": "QXZ", "Origin": "QXZ"}, {"ElementSpacing": "1 1 QXZ"}, {"HeaderSize": "QXZ"},
    ],
)  # fmt: skip
def test_metaimage_text_of_a_header_is_not_quoted(tmp_path, changes):
    with pytest.raises(MedsegError) as caught:
        read_itk(meta(tmp_path / "a.mha", **changes))
    assert "QXZ" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "suffix", "change"), [(nrrd, ".nrrd", {"encoding": "ascii"}), (meta, ".mha", {"BinaryData": "False"})]
)
def test_values_stored_as_text_are_not_quoted(tmp_path, make, suffix, change):
    with pytest.raises(ImageError, match="stored as text") as caught:
        read_itk(make(tmp_path / f"a{suffix}", b"1 QXZ 3", **change))
    assert "QXZ" not in str(caught.value)


def test_a_line_that_is_no_field_is_named_by_its_number(tmp_path):
    for file, line, number in ((nrrd(tmp_path / "a.nrrd"), b"QXZ junk\n", 2), (meta(tmp_path / "a.mha"), b"QXZ\n", 2)):
        first, rest = file.read_bytes().split(b"\n", 1)
        file.write_bytes(first + b"\n" + line + rest)
        with pytest.raises(ImageError, match=f"its line {number} is no field") as caught:
            read_itk(file)
        assert "QXZ" not in str(caught.value)


def test_nrrd_key_values_comments_and_double_fields(tmp_path):
    whole = nrrd(tmp_path / "a.nrrd").read_bytes()
    extra = b"NRRD0004\n# comment: none\nDWMRI_b-value:=1000: x\n"
    (tmp_path / "b.nrrd").write_bytes(whole.replace(b"NRRD0004\n", extra))
    assert np.array_equal(read_itk(tmp_path / "b.nrrd").array[0], VALUES)
    (tmp_path / "c.nrrd").write_bytes(whole.replace(b"NRRD0004\n", b"NRRD0004\nsizes: 3 2 4\n"))
    with pytest.raises(ImageError, match="given twice"):
        read_itk(tmp_path / "c.nrrd")
    (tmp_path / "d.nrrd").write_bytes(b"no such thing")
    with pytest.raises(ImageError, match="not an NRRD"):
        read_itk(tmp_path / "d.nrrd")


@pytest.mark.parametrize(("make", "suffix"), [(nrrd, ".nrrd"), (meta, ".mha")])
def test_cut_off_and_too_long(tmp_path, make, suffix):
    with pytest.raises(ImageError, match="cut off.*48 bytes expected.*38"):
        read_itk(make(tmp_path / f"a{suffix}", VALUES.tobytes()[:-10]))
    volume = read_itk(make(tmp_path / f"b{suffix}", VALUES.tobytes() + b"123"))
    assert warnings_of(volume) == ["trailing_data"]


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("MET_CHAR", "i1"), ("MET_UCHAR", "u1"), ("MET_USHORT", "u2"), ("MET_INT", "i4"), ("MET_UINT", "u4"),
     ("MET_LONG", "i4"), ("MET_LONG_LONG", "i8"), ("MET_ULONG_LONG", "u8"), ("MET_FLOAT", "f4"), ("MET_DOUBLE", "f8")],
)  # fmt: skip
@pytest.mark.parametrize("order", ["<", ">"])
def test_metaimage_types_equal_simpleitk(tmp_path, name, dtype, order):
    import SimpleITK as sitk

    data = VALUES.astype(np.dtype(dtype).newbyteorder(order)).tobytes()
    file = meta(tmp_path / "a.mha", data, ElementType=name, BinaryDataByteOrderMSB=str(order == ">"))
    volume = read_itk(file)
    assert np.array_equal(volume.array[0], VALUES)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(file))), VALUES)
    assert warnings_of(volume) == []


def test_metaimage_rotated_compressed_and_with_components_equals_simpleitk(tmp_path):
    import SimpleITK as sitk

    turned = {"TransformMatrix": "0.6 0.8 0 -0.8 0.6 0 0 0 1", "ElementNumberOfChannels": "2", "DimSize": "2 3 2"}
    raw = VALUES.tobytes()
    files = [
        meta(tmp_path / "a.mha", raw, **turned),
        meta(tmp_path / "b.mha", zlib.compress(raw), CompressedData="True", **turned),
        meta(tmp_path / "c.mha", gzip.compress(raw), CompressedData="True", **turned),
    ]
    for file in files:
        volume = read_itk(file)
        assert np.array_equal(volume.array, np.moveaxis(VALUES.reshape(2, 3, 2, 2), -1, 0))
        place = sitk.ReadImage(str(file)).TransformIndexToPhysicalPoint((1, 2, 1))
        assert np.allclose(volume.grid.to_world(np.array([[1, 2, 1]])), place)


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"TransformMatrix": None}, ["orientation_assumed"]),
        ({"Offset": None}, ["origin_assumed"]),
        ({"Offset": None, "Position": "10 20 30"}, []),
        ({"TransformMatrix": None, "Orientation": "1 0 0 0 1 0 0 0 1"}, []),
        ({"ElementSpacing": None, "ElementSize": "1 2 3"}, ["spacing_from_size"]),
        ({"BinaryDataByteOrderMSB": None}, ["byte_order_assumed"]),
        ({"AnatomicalOrientation": "RAI"}, []),
        ({"AnatomicalOrientation": "???"}, []),
        ({"AnatomicalOrientation": "LPI"}, ["anatomical_orientation"]),
        ({"CenterOfRotation": "5 5 5"}, []),
        ({"CenterOfRotation": "5 5 5", "TransformMatrix": "0 1 0 -1 0 0 0 0 1"}, ["center_of_rotation"]),
        ({"Comment": "a = b"}, []),
    ],
)
def test_what_a_metaimage_leaves_open_is_flagged(tmp_path, changes, codes):
    assert warnings_of(read_itk(meta(tmp_path / "a.mha", **changes))) == codes


def test_metaimage_units_and_intensity(tmp_path):
    volume = read_itk(meta(tmp_path / "a.mha", DistanceUnits="cm", Modality="MET_MOD_CT"))
    assert np.allclose(volume.affine_lps, np.diag([10, 10, 10, 1]) @ AFFINE)
    assert (warnings_of(volume), volume.modality) == (["unit"], "CT")
    scaled = {"ElementToIntensityFunctionSlope": "2", "ElementToIntensityFunctionOffset": "-5"}
    volume = read_itk(meta(tmp_path / "b.mha", **scaled))
    assert np.array_equal(volume.array[0], VALUES * 2 - 5)
    assert warnings_of(volume) == ["intensity_scaled"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ElementSpacing": None}, "ElementSpacing"),
        ({"ElementSpacing": "1 -2 3"}, "not above 0"),
        ({"ElementSpacing": "1 0 3"}, "not above 0"),
        ({"ElementSpacing": "1 nan 3"}, "not above 0"),
        ({"TransformMatrix": None, "Offset": None}, "neither Offset nor TransformMatrix"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "length 1"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "does not place voxels"),
        ({"Offset": "inf 0 0"}, "does not place voxels"),
        ({"DistanceUnits": "parsec"}, "DistanceUnits"),
        ({"NDims": "2"}, "2 dimensions"),
        ({"NDims": "4"}, "4 dimensions"),
    ],
)
def test_metaimage_without_certain_geometry_is_refused(tmp_path, changes, reason):
    with pytest.raises(GeometryError, match=reason):
        read_itk(meta(tmp_path / "a.mha", **changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ObjectType": "Mesh"}, "another than Image"),
        ({"ElementType": "MET_STRING"}, "none of numbers"),
        ({"DimSize": "2 3 0"}, "no voxels"),
        ({"DimSize": "2 3"}, "DimSize"),
        ({"DimSize": "30000 30000 30000"}, "cut off"),
        ({"ElementNumberOfChannels": "0"}, "ElementNumberOfChannels"),
        ({"BinaryData": None}, "no field BinaryData"),
        ({"BinaryData": "maybe"}, "BinaryData"),
        ({"CompressedData": "True"}, "compressed data is damaged"),
        ({"HeaderSize": "7"}, "HeaderSize"),
        ({"ElementDataFile": "LIST"}, "several files"),
        ({"ElementDataFile": "a%02d.raw 1 5 1"}, "several files"),
        ({"ElementDataFile": "none.raw"}, "data file that it names is missing"),
        ({"Position": "0 0 0"}, "given twice"),
        ({"ElementToIntensityFunctionSlope": "0"}, "scaled"),
    ],
)
def test_metaimage_damaged(tmp_path, changes, reason):
    with pytest.raises(ImageError, match=reason):
        read_itk(meta(tmp_path / "a.mha", **changes))
    (tmp_path / "b.mha").write_bytes(b"\0" * 100)
    with pytest.raises(ImageError, match="not a MetaImage"):
        read_itk(tmp_path / "b.mha")


def test_metaimage_as_text_and_with_its_image_at_the_end(tmp_path):
    text = " ".join(map(str, VALUES.ravel())).encode()
    assert np.array_equal(read_itk(meta(tmp_path / "a.mha", text, BinaryData="False")).array[0], VALUES)
    (tmp_path / "b.raw").write_bytes(b"header" + VALUES.tobytes())
    for size in ("-1", "6"):
        file = meta(tmp_path / "b.mhd", b"", HeaderSize=size, ElementDataFile="b.raw")
        assert np.array_equal(read_itk(file).array[0], VALUES)


def test_data_file_of_an_mhd_that_is_short_is_named(tmp_path):
    (tmp_path / "a.raw").write_bytes(VALUES.tobytes()[:7])
    with pytest.raises(ImageError, match=r"a\.mhd: cut off.*48 bytes expected.* 7"):
        read_itk(meta(tmp_path / "a.mhd", b"", ElementDataFile="a.raw"))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_all_orientations_written_by_simpleitk_are_read_without_a_warning(tmp_path, suffix):
    import SimpleITK as sitk

    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        image = sitk.GetImageFromArray(VALUES)
        image.SetSpacing((0.5, 1.5, 2.5))
        image.SetOrigin((1, -2, 3))
        image.SetDirection((np.eye(3)[:, order] * signs).ravel().tolist())
        sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
        volume = read_itk(tmp_path / f"a{suffix}")
        assert warnings_of(volume) == []
        place = image.TransformIndexToPhysicalPoint((1, 2, 3))
        assert np.allclose(volume.grid.to_world(np.array([[1, 2, 3]])), place)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_reading_needs_little_more_memory_than_the_array(tmp_path, suffix):
    values = np.zeros((128, 256, 256), np.int16)
    values += np.arange(256, dtype=np.int16)
    file = tmp_path / f"a{suffix}"
    write_itk(file, values, Grid(values.shape, np.eye(4)))
    tracemalloc.start()
    volume = read_itk(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(volume.array[0], values)
    assert peak < 1.3 * volume.array.nbytes


def test_shear_and_arrays_that_do_not_fit_are_not_written(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    with pytest.raises(OutputError, match="right angles"):
        write_itk(tmp_path / "a.mha", VALUES, Grid(VALUES.shape, sheared))
    with pytest.raises(OutputError, match="does not fit"):
        write_itk(tmp_path / "a.mha", VALUES, Grid((4, 3, 3), np.eye(4)))
