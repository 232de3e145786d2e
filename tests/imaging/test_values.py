from dataclasses import replace

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, apply_windowing

from medseg.errors import ImageError
from medseg.imaging.dicom.decode import Decoded, PixelFormat, read_frames
from medseg.imaging.dicom.values import (
    LookupTable,
    PixelPadding,
    Rescale,
    invert,
    is_inverted,
    modality_transform,
    padding_darkest,
)
from medseg.imaging.dicom.values_colour import to_grey
from medseg.imaging.dicom.values_display import voi_lut

TWELVE = PixelFormat(
    transfer_syntax=uid.ExplicitVRLittleEndian, offset=0, rows=1, columns=3, frames=1, samples=1, bits_allocated=16,
    bits_stored=12, high_bit=11, signed=False, planar=0, photometric="MONOCHROME2",
)  # fmt: skip
SIGNED = replace(TWELVE, bits_stored=16, high_bit=15, signed=True)


def applied(transform, stored):
    out = np.full(np.shape(stored), np.nan, np.float32)
    transform.apply(np.asarray(stored), out)
    return out


def of(**attributes):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    return data


def table(descriptor, entries, *, vr="US"):
    item = Dataset()
    item.add_new("LUTDescriptor", "US", descriptor)
    item.add_new("LUTData", vr, entries)
    return item


# rescaling


def test_hounsfield_units():
    assert applied(Rescale(1.0, -1024.0), np.array([[0, 1064, 4095]], np.uint16)).tolist() == [[-1024, 40, 3071]]
    assert applied(Rescale(), np.array([-5], np.int8)).tolist() == [-5]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"])
@pytest.mark.parametrize(
    ("slope", "intercept"), [(1, 0), (1, -1024), (2, 3), (257, 10001), (0.1234567, -3.3), (1e-9, 1e6)]
)
def test_values_are_rounded_once(dtype, slope, intercept):
    """Every value is the float32 nearest to the value calculated in float64."""
    random = np.random.default_rng(0)
    if dtype[0] == "f":
        stored = random.normal(0, 1e4, 1000).astype(dtype)
    else:
        info = np.iinfo(dtype)
        stored = random.integers(info.min, info.max, 1000, dtype=dtype, endpoint=True)
        stored[:2] = info.min, info.max
    found = applied(Rescale(float(slope), float(intercept)), stored)
    assert np.array_equal(found, (stored.astype(np.float64) * slope + intercept).astype(np.float32))


def test_what_float32_cannot_hold_is_told():
    notes = Rescale().apply(np.array([2**24 + 1], np.uint32), np.empty(1, np.float32))
    assert [(note.code, note.warning) for note in notes] == [("precision", True)]
    assert Rescale().apply(np.array([1], np.uint16), np.empty(1, np.float32)) == ()


@pytest.mark.parametrize(
    ("slope", "intercept"), [(0.0, 1.0), (np.nan, 0.0), (np.inf, 0.0), (1.0, np.nan), (1.0, -np.inf)]
)
def test_impossible_rescaling_is_refused(slope, intercept):
    with pytest.raises(ImageError, match="finite slope other than 0"):
        Rescale(slope, intercept)


def test_the_header_says_how_values_are_made():
    assert modality_transform(of()) == Rescale(1.0, 0.0)
    assert modality_transform(of(RescaleSlope="2.5", RescaleIntercept="-10")) == Rescale(2.5, -10.0)
    with pytest.raises(ImageError, match="finite slope other than 0"):
        modality_transform(of(RescaleSlope="0", RescaleIntercept="1"))


def test_a_modality_table_by_hand():
    transform = modality_transform(of(ModalityLUTSequence=[table([3, 10, 16], [100, 200, 400])]))
    assert isinstance(transform, LookupTable)
    assert applied(transform, np.array([0, 10, 11, 12, 13, 65535], np.uint16)).tolist() == [
        100,
        100,
        200,
        400,
        400,
        400,
    ]
    assert transform.inverted().entries.tolist() == [65435, 65335, 65135]


@pytest.mark.parametrize(("first", "dtype"), [(0, np.uint16), (300, np.uint16), (-200, np.int16)])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_a_modality_table_as_pydicom_applies_it(first, dtype, bits):
    random = np.random.default_rng(bits)
    entries = random.integers(0, 1 << bits, 512).tolist()
    item = table([512, first % 65536, bits], entries)  # a negative first value reads as an unsigned number
    data = of(ModalityLUTSequence=[item], PixelRepresentation=int(dtype == np.int16))
    stored = random.integers(-1000 if dtype == np.int16 else 0, 2000, (8, 9)).astype(dtype)
    signed = table([512, 0, 16], entries)
    signed.LUTDescriptor = [512, first, 16]
    expected = apply_modality_lut(stored.astype(np.int32), of(ModalityLUTSequence=[signed]))
    assert np.array_equal(applied(modality_transform(data), stored), expected)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_tables_of_bytes(syntax):
    """LUT Data may be words in the byte order of the file, or packed bytes."""
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    words = np.array([256, 2, 3], f"{order}u2").tobytes()
    data = of(ModalityLUTSequence=[table([3, 0, 16], words, vr="OW")])
    data.file_meta.TransferSyntaxUID = syntax
    assert modality_transform(data).entries.tolist() == [256, 2, 3]
    data.ModalityLUTSequence = [table([3, 0, 8], bytes([7, 8, 9, 0]), vr="OW")]
    assert modality_transform(data).entries.tolist() == [7, 8, 9]


def test_a_full_table_has_65536_entries():
    entries = np.arange(2**16)[::-1]
    found = LookupTable.of(table([0, 0, 16], entries.tolist()), signed=False)
    assert applied(found, np.array([0, 65535], np.uint16)).tolist() == [65535, 0]


@pytest.mark.parametrize("item", [table([4, 0, 16], [1, 2, 3]), table([3, 0, 17], [1, 2, 3]), Dataset()])
def test_damaged_tables_are_refused(item):
    with pytest.raises(ImageError, match="damaged DICOM header: a lookup table"):
        LookupTable.of(item, signed=False)


# padding and polarity


def test_padding_is_a_value_or_a_range():
    stored = np.array([[-2000, -1999, 0]], np.int16)
    one = PixelPadding.of(of(PixelPaddingValue=-2000), SIGNED)
    assert one.mask(stored).tolist() == [[True, False, False]]
    for ends in ((-2000, -1999), (-1999, -2000)):  # the limit may lie on either side
        both = PixelPadding.of(of(PixelPaddingValue=ends[0], PixelPaddingRangeLimit=ends[1]), SIGNED)
        assert both.mask(stored).tolist() == [[True, True, False]]
    assert PixelPadding.of(of(), SIGNED) is None


def test_padding_in_the_other_sign_and_out_of_range():
    assert PixelPadding.of(of(PixelPaddingValue=63536), SIGNED) == PixelPadding(-2000, -2000)
    assert PixelPadding.of(of(PixelPaddingValue=4095), TWELVE) == PixelPadding(4095, 4095)
    assert PixelPadding.of(of(PixelPaddingValue=63536), TWELVE) is None  # beyond 12 bits


def test_padding_of_radiographs_takes_the_darkest_real_value():
    stored = np.array([[0, 100, 900]], np.uint16)
    found, count = padding_darkest(stored, PixelPadding(0, 0), inverted=False)
    assert (found.tolist(), found.dtype, count) == ([[100, 100, 900]], np.uint16, 1)
    found, count = padding_darkest(stored, PixelPadding(0, 0), inverted=True)
    assert (found.tolist(), count) == ([[900, 100, 900]], 1)
    assert stored.tolist() == [[0, 100, 900]]
    alone = np.zeros((1, 3), np.uint16)
    assert padding_darkest(alone, PixelPadding(0, 0), inverted=False)[0].tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("photometric", "shape", "expected"),
    [
        ("MONOCHROME2", None, False), ("MONOCHROME1", None, True), ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "INVERSE", True), ("MONOCHROME2", "INVERSE", True),
    ],
)  # fmt: skip
def test_which_images_have_white_lowest_values(photometric, shape, expected):
    data = of(PhotometricInterpretation=photometric)
    if shape:
        data.PresentationLUTShape = shape
    assert is_inverted(data) is expected


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("allocated", "bits"), [(8, 8), (16, 10), (16, 16), (32, 32)])
def test_inversion_maps_the_range_of_the_bits_onto_itself(allocated, bits, signed):
    form = replace(TWELVE, bits_allocated=allocated, bits_stored=bits, high_bit=bits - 1, signed=signed)
    low = -(1 << bits - 1) if signed else 0
    high = low + (1 << bits) - 1
    stored = np.array([low, low + 1, high - 7, high], form.dtype)
    assert invert(stored, form).tolist() == [high, high - 1, low + 7, low]
    assert invert(stored, form).dtype == form.dtype
    assert np.array_equal(invert(invert(stored, form), form), stored)


def test_inversion_does_not_depend_on_the_values_that_occur():
    stored = np.array([10, 20, 30], np.uint16)
    assert invert(stored, TWELVE).tolist() == [4085, 4075, 4065]
    assert invert(stored[:1], TWELVE).tolist() == [4085]
    with pytest.raises(ImageError, match="no header says which value is black"):
        invert(np.ones(3, np.float32), TWELVE)


# windows


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(40, 400), (-600.5, 1500), (0, 1), (127.5, 256)])
def test_windows_as_pydicom_applies_them(function, centre, width):
    values = np.arange(-2048, 2048, 7, dtype=np.int16)
    data = of(WindowCenter=[1, centre], WindowWidth=[2, width], VOILUTFunction=function)
    data.PhotometricInterpretation, data.BitsStored, data.PixelRepresentation = "MONOCHROME2", 12, 0
    if function == "LINEAR" and width == 1:  # a step, where theirs divides by 0
        expected = (values > centre - 0.5).astype(float)
    else:
        expected = apply_windowing(values, data, index=1) / 4095
    found = voi_lut(values, data, index=1)
    assert found.dtype == np.float32
    assert np.allclose(found, expected, atol=1e-6)


def test_windows_by_hand():
    """PS3.3 C.11.2.1.2: a window of width 100 at 50 is black up to 0 and white from 99 on."""
    shown = voi_lut(np.array([-1, 0, 49.5, 99, 100]), of(WindowCenter=50, WindowWidth=100))
    assert shown.tolist() == [0, 0, 0.5, 1, 1]
    shown = voi_lut(np.array([0, 50, 100]), of(WindowCenter=50, WindowWidth=100, VOILUTFunction="LINEAR_EXACT"))
    assert shown.tolist() == [0, 0.5, 1]
    shown = voi_lut(np.array([-1e6, 50, 1e6]), of(WindowCenter=50, WindowWidth=100, VOILUTFunction="SIGMOID"))
    assert shown.tolist() == [0, 0.5, 1]


def test_tables_go_before_windows_unless_not_preferred():
    entries = np.random.default_rng(0).integers(0, 1024, 256).tolist()
    data = of(VOILUTSequence=[table([256, 10, 10], entries)], WindowCenter=50, WindowWidth=100)
    values = np.arange(300, dtype=np.int16)
    reference = of(VOILUTSequence=[table([256, 10, 16], entries)], PixelRepresentation=0)
    assert np.allclose(voi_lut(values, data), apply_voi_lut(values, reference) / 1023, atol=1e-6)
    assert voi_lut(np.array([50.0]), data, prefer_table=False)[0] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "attributes",
    [
        {}, {"WindowCenter": 1}, {"WindowCenter": 1, "WindowWidth": 0}, {"WindowCenter": 1, "WindowWidth": 0.5},
        {"WindowCenter": 1, "WindowWidth": 5, "VOILUTFunction": "LOG"},
    ],
)  # fmt: skip
def test_windows_that_are_missing_or_damaged(attributes):
    with pytest.raises(ImageError, match="header"):
        voi_lut(np.zeros(3), of(**attributes))


# colours


def colours(*pixels, photometric="RGB", bits=8):
    array = np.array([pixels], np.uint8 if bits == 8 else np.uint16)
    return to_grey(Decoded(array, "native", photometric), of(BitsStored=bits))


def test_colours_of_equal_channels_are_grey():
    values, note = colours((10, 10, 10), (200, 202, 204))
    assert (values.tolist(), values.dtype, note.code) == ([[10, 202]], np.float32, "grey_from_colour")
    values, note = colours((10, 128, 128), (200, 128, 128), photometric="YBR_FULL")
    assert values.tolist() == [[10, 200]]
    assert colours((40000, 41000, 41500), bits=16)[0][0, 0] == pytest.approx(40833.33, abs=0.01)


@pytest.mark.parametrize(
    "given",
    [
        {"pixels": [(10, 10, 10), (0, 7, 0)]},
        {"pixels": [(40000, 42000, 40000)], "bits": 16},
        {"pixels": [(100, 128, 140)], "photometric": "YBR_FULL"},
        {"pixels": [(10, 10, 10)], "photometric": "HSV"},
    ],
)
def test_colours_that_carry_meaning_are_refused(given):
    with pytest.raises(ImageError, match=r"a colour image \(.*grey was expected") as caught:
        colours(*given.pop("pixels"), **given)
    assert caught.value.code == "colour"


def test_grey_frames_are_left_alone():
    array = np.ones((2, 3), np.int16)
    assert to_grey(Decoded(array, "native", "MONOCHROME1"), None) == (array, None)


def palette_image(descriptor, *channels):
    data = of(PhotometricInterpretation="PALETTE COLOR", BitsStored=8, PixelRepresentation=0)
    for name, values in zip(("Red", "Green", "Blue"), channels):
        data.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", descriptor)
        data.add_new(f"{name}PaletteColorLookupTableData", "OW", np.array(values, "<u2").tobytes())
    return data


def test_palettes_of_grey_and_of_colour():
    indices = Decoded(np.array([[0, 1, 3]], np.uint8), "native", "PALETTE COLOR")
    ramp = [0, 1000, 30000, 65535]
    values, note = to_grey(indices, palette_image([4, 0, 16], ramp, ramp, ramp))
    assert (values.tolist(), note.code) == ([[0, 1000, 65535]], "grey_from_colour")
    with pytest.raises(ImageError, match="a colour image"):
        to_grey(indices, palette_image([4, 0, 16], ramp, ramp, ramp[::-1]))
    with pytest.raises(ImageError, match="palette is damaged or missing"):
        to_grey(indices, of(PhotometricInterpretation="PALETTE COLOR"))


def test_a_real_palette_in_colour_is_refused():
    path = get_testdata_file("examples_palette.dcm", download=False)
    with open(path, "rb") as stream:
        header = pydicom.dcmread(stream, stop_before_pixels=True)
        form = PixelFormat.of(header, stream.tell())
    with pytest.raises(ImageError, match=r"a colour image \(PALETTE COLOR"):
        to_grey(next(read_frames(path, form)), header)
