import pickle
import struct
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_syntaxes import LOSSLESS, LOSSY, NATIVE, NEAR, SYNTAXES, can_encode, encode, rle_encode
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array

from medseg.errors import ImageError
from medseg.imaging.dicom import decode_codecs
from medseg.imaging.dicom.decode import PixelFormat, read_frames

ROWS, COLUMNS = 37, 50  # neither square nor a multiple of 8, so that blocks and axes cannot be confused
KINDS = {
    "u8": (8, 8, 0),
    "i8": (8, 8, 1),
    "u12": (16, 12, 0),
    "i12": (16, 12, 1),
    "u16": (16, 16, 0),
    "i16": (16, 16, 1),
}


def dataset(values, *, bits=None, signed=None, photometric="MONOCHROME2"):
    """A native data set of values of shape (frame, y, x) or (frame, y, x, 3)."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = uid.CTImageStorage, uid.generate_uid()
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if values.ndim == 4 else (1, photometric)
    if values.ndim == 4:
        data.PlanarConfiguration = 0
    data.NumberOfFrames, data.Rows, data.Columns = values.shape[:3]
    data.BitsAllocated = values.itemsize * 8
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(values.dtype.kind == "i" if signed is None else signed)
    data.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    data["PixelData"].VR = "OW" if data.BitsAllocated > 8 else "OB"
    return data


def smooth(kind, shape=(1, ROWS, COLUMNS), seed=0):
    """Values over nearly the whole range of the stored bits, as smooth as images are."""
    allocated, bits, signed = KINDS[kind]
    low = -(1 << bits - 1) if signed else 0
    y, x = np.ogrid[0 : 1 : shape[1] * 1j, 0 : 1 : shape[2] * 1j]
    field = (y * x)[None, ..., *([None] * (len(shape) - 3))]
    noise = np.random.default_rng(seed).random(shape)
    values = low + ((1 << bits) - 1) * (0.05 + 0.8 * field + 0.1 * noise)
    return values.astype(f"{'i' if signed else 'u'}{allocated // 8}")


def stored(kind, **given):
    return dataset(smooth(kind, **given), bits=KINDS[kind][1])


HELD = [(syntax, kind) for syntax, kind in product(SYNTAXES, KINDS) if can_encode(stored(kind), syntax)]


def write(path, data):
    """Write, and return the format as a reader finds it."""
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return header_format(path)


def header_format(path):
    with open(path, "rb") as stream:
        header = pydicom.dcmread(stream, stop_before_pixels=True, force=True)
        return PixelFormat.of(header, stream.tell())


def read(path, form=None, frames=None):
    form = form or header_format(path)
    return list(read_frames(path, form, range(form.frames) if frames is None else frames))


def arrays(path, form=None, frames=None):
    return np.stack([decoded.array for decoded in read(path, form, frames)])


@pytest.mark.parametrize(("syntax", "kind"), HELD, ids=lambda part: getattr(part, "keyword", part))
def test_every_transfer_syntax_gives_the_values_with_their_sign(tmp_path, syntax, kind):
    form = write(tmp_path / "a.dcm", encode(stored(kind), syntax))
    (decoded,) = read(tmp_path / "a.dcm", form)
    expected = smooth(kind)[0]
    assert decoded.array.dtype == expected.dtype
    assert decoded.decoder == ("native" if syntax in NATIVE else "imagecodecs")
    difference = np.abs(decoded.array.astype(np.int64) - expected).max()
    if syntax in LOSSY:
        span = 1 << KINDS[kind][1]
        assert difference <= (NEAR if syntax == uid.JPEGLSNearLossless else max(span // 32, 1))
    else:
        assert difference == 0


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_colours_and_their_colour_space(tmp_path, syntax):
    colours = smooth("u8", shape=(1, ROWS, COLUMNS, 3))
    colours[..., 1] //= 2
    colours[..., 2] = 255 - colours[..., 2]
    form = write(tmp_path / "a.dcm", encode(dataset(colours), syntax))
    (decoded,) = read(tmp_path / "a.dcm", form)
    assert decoded.photometric == "RGB"
    assert decoded.array.shape == (ROWS, COLUMNS, 3)
    difference = np.abs(decoded.array.astype(int) - colours[0])
    assert difference.max() <= (24 if syntax in LOSSY else 0)
    assert difference.mean() <= 4  # no channels exchanged


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL_422"])
@pytest.mark.parametrize("marked", [True, False])
def test_a_jpeg_that_says_its_colours_is_believed_before_the_header(tmp_path, photometric, marked):
    """Real files say RGB in the header of a JFIF codestream, which is YCbCr. Without a mark, the header says it."""
    import imagecodecs

    colours = smooth("u8", shape=(1, ROWS, COLUMNS, 3))
    colours[..., 2] //= 4
    frame = bytes(imagecodecs.jpeg8_encode(colours[0], level=98, subsampling="444"))
    assert frame[6:10] == b"JFIF"
    if not marked:
        frame = frame[:2] + frame[20:]  # without the segment of 18 bytes
    data = dataset(colours)
    data.PixelData = encapsulate([frame])
    data["PixelData"].VR = "OB"
    data.file_meta.TransferSyntaxUID, data.PhotometricInterpretation = uid.JPEGBaseline8Bit, photometric
    write(tmp_path / "a.dcm", data)
    (decoded,) = read(tmp_path / "a.dcm")
    assert decoded.photometric == "RGB"
    right = np.abs(decoded.array.astype(int) - colours[0]).mean() < 5
    assert right == (marked or photometric != "RGB")


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
def test_single_frames_of_many_in_any_order(tmp_path, syntax):
    data = stored("u12", shape=(5, 8, 9))
    form = write(tmp_path / "a.dcm", encode(data, syntax))
    whole = arrays(tmp_path / "a.dcm", form)
    assert np.abs(whole.astype(int) - data.pixel_array).max() <= (64 if syntax in LOSSY else 0)
    assert np.array_equal(arrays(tmp_path / "a.dcm", form, [3, 0, 3]), whole[[3, 0, 3]])
    with pytest.raises(ImageError, match="frames 0 to 4, frame 5"):
        read(tmp_path / "a.dcm", form, [5])


def test_the_offset_is_where_the_pixel_data_element_starts():
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "rtdose.dcm"):
        path = get_testdata_file(name, download=False)
        form = header_format(path)
        tag = Path(path).read_bytes()[form.offset : form.offset + 4]
        assert tag == (b"\x7f\xe0\x00\x10" if form.transfer_syntax == uid.ExplicitVRBigEndian else b"\xe0\x7f\x10\x00")


UNREADABLE = {  # bundled with pydicom; the reason is part of our message
    "MR_truncated.dcm": "cut off: 8130 of 8192",
    "badVR.dcm": "NumberOfFrames is not one whole number",
    "JPEG2000-embedded-sequence-delimiter.dcm": "one of them is damaged",
}
NO_OTHER_DECODER = (
    "JPEG-lossy.dcm",
    "JPGExtended.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "GDCMJ2K_TextGBR.dcm",
)  # without plugins


def bundled():
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    for path in sorted(folder.rglob("*")):
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        except Exception:  # folders, and files that are no DICOM on purpose
            continue
        if "Rows" in header and path.name not in (*UNREADABLE, *NO_OTHER_DECODER):
            yield path


def test_every_image_bundled_with_pydicom_as_pydicom_reads_it():
    paths = list(bundled())
    assert len(paths) > 80
    for path in paths:
        form = header_format(path)
        decoded = read(path, form)
        ours = np.stack([frame.array for frame in decoded])
        theirs = pixel_array(pydicom.dcmread(path, force=True), raw=decoded[0].photometric != "RGB")
        assert np.array_equal(ours.reshape(theirs.shape), theirs), path.name
        assert ours.dtype == theirs.dtype.newbyteorder("="), path.name


@pytest.mark.parametrize(("name", "reason"), UNREADABLE.items())
def test_damaged_files_of_pydicom_are_refused_with_the_reason(name, reason):
    with pytest.raises(ImageError, match=reason):
        read(get_testdata_file(name, download=False))


@pytest.mark.parametrize("name", ["JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_twelve_bit_jpeg_as_gdcm_reads_it(name):
    import SimpleITK as sitk

    path = get_testdata_file(name, download=False)
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(path))
    assert np.abs(arrays(path).astype(int) - theirs).max() <= 1  # rounding of the cosine transform


def test_real_files_of_each_transfer_syntax_as_gdcm_reads_them(real_data):
    import SimpleITK as sitk

    generic = real_data / "dicom_odd" / "dicom2nifti" / "tests" / "data" / "generic"
    for name in ("compressed", "compressed_rle", "compressed_jpeg", "compressed_jpegls", "compressed_j2k"):
        for path in sorted((generic / name / "001").iterdir()):
            assert header_format(path).transfer_syntax not in NATIVE
            header = pydicom.dcmread(path, stop_before_pixels=True)
            values = arrays(path) * float(header.get("RescaleSlope", 1)) + float(header.get("RescaleIntercept", 0))
            assert np.array_equal(values, sitk.GetArrayFromImage(sitk.ReadImage(path))), path


def test_real_high_throughput_files_as_openjpeg_reads_them(real_data):
    import imagecodecs

    for path in sorted((real_data / "dicom_odd" / "htj2k").glob("*.dcm")):
        frame = next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))
        assert np.array_equal(arrays(path)[0], imagecodecs.jpeg2k_decode(frame)), path


def test_a_codestream_whose_sign_is_not_that_of_the_header():
    path = get_testdata_file("J2K_pixelrep_mismatch.dcm", download=False)  # header signed, codestream unsigned, 13 bit
    values = arrays(path)
    assert (values.dtype, values.min(), values[0, 0, 0]) == (np.int16, -2000, -2000)


def test_a_signed_codestream_under_an_unsigned_header(tmp_path):
    values = np.array([[[-1, -2048, 0, 5]]], np.int16)
    data = encode(dataset(values, bits=12), uid.JPEG2000Lossless)
    data.PixelRepresentation = 0
    write(tmp_path / "a.dcm", data)
    assert arrays(tmp_path / "a.dcm").tolist() == [[[4095, 2048, 0, 5]]]  # the same 12 bits


def test_a_jpeg_ls_codestream_of_more_bits_than_are_stored(tmp_path):
    import imagecodecs

    values = np.array([[-1, -2048], [0, 2047]], np.int16)
    for bits in (values.view(np.uint16), values.view(np.uint16) & 0xFFF):  # sign extended, or of 12 bits alone
        data = dataset(values[None], bits=12)
        data.PixelData = encapsulate([bytes(imagecodecs.jpegls_encode(bits))])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = uid.JPEGLSLossless
        write(tmp_path / "a.dcm", data)
        assert np.array_equal(arrays(tmp_path / "a.dcm")[0], values)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_unused_bits_are_cleared_and_the_sign_extended(tmp_path, syntax):
    raw = np.array([[[0xF001, 0x0FFF, 0xA800]]], np.uint16)  # overlays once lay in bits 12 to 15
    for signed, expected in ((0, [1, 4095, 2048]), (1, [1, -1, -2048])):
        data = dataset(raw, bits=12, signed=signed)
        if syntax == uid.RLELossless:
            data.PixelData = encapsulate([rle_encode(raw[0])])
            data.file_meta.TransferSyntaxUID = syntax
        else:
            data = encode(data, syntax)
            data.PixelData = raw.astype(">u2" if syntax == uid.ExplicitVRBigEndian else "<u2").tobytes()
        write(tmp_path / "a.dcm", data)
        assert arrays(tmp_path / "a.dcm").tolist() == [[expected]]


def test_old_files_with_values_in_the_upper_bits(tmp_path):
    data = dataset(np.array([[[16, 0xFFF0]]], np.uint16), bits=12)
    data.HighBit = 15
    write(tmp_path / "a.dcm", data)
    assert arrays(tmp_path / "a.dcm").tolist() == [[[1, 4095]]]
    data.PixelData = np.array([16, 17], np.uint16).tobytes()  # the lowest bits are used after all
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="HighBit 15 and BitsStored 12 contradict"):
        read(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", NATIVE, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize(("keyword", "dtype"), [("FloatPixelData", "f4"), ("DoubleFloatPixelData", "f8")])
def test_float_pixels(tmp_path, syntax, keyword, dtype):
    values = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(dtype)
    data = dataset(values)
    for name in ("PixelData", "BitsStored", "HighBit", "PixelRepresentation"):  # which float images do not have
        del data[name]
    data.file_meta.TransferSyntaxUID = syntax
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    setattr(data, keyword, values.astype(order + dtype).tobytes())
    write(tmp_path / "a.dcm", data)
    found = arrays(tmp_path / "a.dcm", frames=[2, 0])
    assert found.dtype == dtype
    assert np.array_equal(found, values[[2, 0]])


@pytest.mark.parametrize("syntax", [*NATIVE, uid.RLELossless], ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("dtype", ["u4", "i4"])
def test_thirty_two_bits(tmp_path, syntax, dtype):
    values = np.array([[[1, 2**31 - 1], [7, 2**24 + 1]]], dtype)
    if dtype == "i4":
        values = -values
    write(tmp_path / "a.dcm", encode(dataset(values), syntax))
    found = arrays(tmp_path / "a.dcm")
    assert found.dtype == dtype
    assert np.array_equal(found, values)


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian])
def test_single_bits_run_on_from_frame_to_frame(tmp_path, syntax, words):
    frames = np.random.default_rng(0).integers(0, 2, (5, 3, 7), np.uint8)  # 21 bits: all but the first start in a byte
    packed = np.packbits(frames.ravel(), bitorder="little")
    packed = np.append(packed, np.zeros(len(packed) % 2, np.uint8))
    data = dataset(frames)
    data.BitsAllocated = data.BitsStored = 1
    data.HighBit = 0
    swapped = words and syntax == uid.ExplicitVRBigEndian
    data.PixelData = (packed.view(np.uint16).byteswap() if swapped else packed).tobytes()
    data["PixelData"].VR = "OW" if words else "OB"
    data.file_meta.TransferSyntaxUID = syntax
    write(tmp_path / "a.dcm", data)
    assert np.array_equal(arrays(tmp_path / "a.dcm"), frames)
    assert np.array_equal(arrays(tmp_path / "a.dcm", frames=[4, 1]), frames[[4, 1]])


def test_bytes_in_big_endian_words(tmp_path):
    values = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)  # frames of 9 bytes, so some start inside a word
    data = dataset(values)
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    data.PixelData = np.append(values.ravel(), np.uint8(0)).view(np.uint16).byteswap().tobytes()
    data["PixelData"].VR = "OW"
    write(tmp_path / "a.dcm", data)
    assert np.array_equal(arrays(tmp_path / "a.dcm"), values)


def test_planes_of_colour_and_shared_chroma(tmp_path):
    colours = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    data = dataset(colours)
    data.PlanarConfiguration = 1
    data.PixelData = np.moveaxis(colours[0], -1, 0).tobytes()
    write(tmp_path / "a.dcm", data)
    assert np.array_equal(arrays(tmp_path / "a.dcm"), colours)
    data.PlanarConfiguration, data.PhotometricInterpretation = 0, "YBR_FULL_422"
    data.PixelData = bytes([10, 11, 128, 129, 20, 21, 130, 131])  # Y Y Cb Cr for two pixels
    write(tmp_path / "a.dcm", data)
    (decoded,) = read(tmp_path / "a.dcm")
    assert decoded.photometric == "YBR_FULL"
    assert decoded.array.tolist() == [
        [[10, 128, 129], [11, 128, 129]],
        [[20, 130, 131], [21, 130, 131]],
    ]
    data.Rows, data.Columns = 4, 1
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="YBR_FULL_422 of 3 samples, 1 columns"):
        read(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.keyword)
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.98])
def test_a_file_that_was_cut_off_is_refused_and_never_filled(tmp_path, syntax, kept):
    path = tmp_path / "a.dcm"
    data = stored("u8", shape=(2, 64, 64))
    form = write(path, encode(data, syntax))
    content = path.read_bytes()
    start = 400 if syntax == uid.DeflatedExplicitVRLittleEndian else form.offset + 12
    path.write_bytes(content[: start + int((len(content) - start) * kept)])
    with pytest.raises(ImageError, match=f"{path.name}: .*(cut off|inflated|no pixel data|damaged)"):
        read(path, form)


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.RLELossless])
def test_of_a_file_that_was_cut_off_no_frame_is_read(tmp_path, syntax):
    path = tmp_path / "a.dcm"
    form = write(path, encode(stored("u8", shape=(2, 64, 64)), syntax))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ImageError, match="cut off"):
        read(path, form, [0])


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda syntax: syntax.keyword)
def test_a_frame_that_ends_early_inside_a_whole_file_is_refused(tmp_path, syntax):
    data = encode(stored("u8", shape=(1, 64, 64)), syntax)
    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    data.PixelData = encapsulate([frame[: len(frame) // 2]])
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match=r"cut off|cannot be decoded \(imagecodecs: "):
        read(tmp_path / "a.dcm")


def test_native_pixels_of_another_length(tmp_path):
    data = stored("u16")
    data.Rows += 1
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="3700 bytes, 3800 were expected"):
        read(tmp_path / "a.dcm")
    data.Rows = ROWS
    data.PixelData += b"\0\0"  # padding, shorter than a frame
    write(tmp_path / "a.dcm", data)
    assert np.array_equal(arrays(tmp_path / "a.dcm"), smooth("u16"))
    data.PixelData = smooth("u16", shape=(3, ROWS, COLUMNS)).tobytes()
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match=r"11100 bytes, 3700 were expected for 1 frame\(s\): .*frames would be lost"):
        read(tmp_path / "a.dcm")


@pytest.mark.parametrize("syntax", [*LOSSLESS, *LOSSY], ids=lambda syntax: syntax.keyword)
def test_compressed_pixels_of_another_size(tmp_path, syntax):
    data = encode(stored("u8"), syntax)
    data.Rows, data.Columns = COLUMNS, ROWS  # as many pixels: only the shape is wrong
    if syntax == uid.RLELossless:
        data.Rows += 1  # RLE does not say its shape, only how many values there are
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match=r"\(37, 50, 1\), its header says \(50, 37, 1\)|1850 values, 1887"):
        read(tmp_path / "a.dcm")


def test_more_pixels_than_the_bytes_could_hold_are_not_made_room_for(tmp_path):
    data = encode(stored("u16"), uid.RLELossless)
    data.Rows = data.Columns = 65535
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="bytes are too few for 4294836225 values"):
        read(tmp_path / "a.dcm")


def test_a_codestream_deeper_than_its_header(tmp_path):
    data = encode(stored("u12"), uid.JPEG2000Lossless)
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit = 7
    write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="have 12 bit, its header says 8"):
        read(tmp_path / "a.dcm")


def in_fragments(frames, pieces, *, table=True):
    """Encapsulated frames, each cut into `pieces` fragments, with or without a filled offset table."""
    offsets, body = [], b""
    for frame in frames:
        offsets.append(len(body))
        size = -(-len(frame) // pieces // 2) * 2
        for start in range(0, len(frame), size):
            part = frame[start : start + size]
            body += struct.pack("<HHI", 0xFFFE, 0xE000, len(part)) + part
    entries = struct.pack(f"<{len(offsets)}I", *offsets) if table else b""
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(entries)) + entries + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


@pytest.mark.parametrize(
    ("syntax", "pieces", "table"),
    [
        (uid.JPEG2000Lossless, 3, True), (uid.JPEG2000Lossless, 3, False), (uid.JPEGLosslessSV1, 2, False),
        (uid.RLELossless, 3, True),  # nothing in the data shows where a frame starts: the table alone does
    ],
)  # fmt: skip
def test_frames_in_several_fragments(tmp_path, syntax, pieces, table):
    data = stored("u12", shape=(4, 16, 16))
    encoded = encode(data, syntax)
    frames = [frame + b"\0" * (len(frame) % 2) for frame in generate_frames(encoded.PixelData, number_of_frames=4)]
    encoded.PixelData = in_fragments(frames, pieces, table=table)
    form = write(tmp_path / "a.dcm", encoded)
    assert np.array_equal(arrays(tmp_path / "a.dcm", form), data.pixel_array)
    assert np.array_equal(arrays(tmp_path / "a.dcm", form, [2])[0], data.pixel_array[2])


@pytest.mark.parametrize("stated", [1, 3, 5])
def test_a_number_of_frames_that_the_data_do_not_have(tmp_path, stated):
    encoded = encode(stored("u12", shape=(4, 16, 16)), uid.JPEG2000Lossless)
    encoded.NumberOfFrames = stated
    write(tmp_path / "a.dcm", encoded)
    with pytest.raises(ImageError, match=f"those of 4 frame.*header says {stated}"):
        read(tmp_path / "a.dcm")


def test_a_missing_end_mark_of_the_items_loses_nothing(tmp_path):
    data = stored("u12", shape=(4, 16, 16))
    form = write(tmp_path / "a.dcm", encode(data, uid.RLELossless))
    content = (tmp_path / "a.dcm").read_bytes()
    (tmp_path / "a.dcm").write_bytes(content[:-8])
    assert np.array_equal(arrays(tmp_path / "a.dcm", form), data.pixel_array)


def test_encodings_that_contradict_the_transfer_syntax(tmp_path):
    data = stored("u8")
    form = write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match="not compressed although"):
        read(tmp_path / "a.dcm", replace(form, transfer_syntax=str(uid.JPEGLSLossless)))
    form = write(tmp_path / "b.dcm", encode(data, uid.JPEGLSLossless))
    with pytest.raises(ImageError, match="compressed although"):
        read(tmp_path / "b.dcm", replace(form, transfer_syntax=str(uid.ExplicitVRLittleEndian)))
    with pytest.raises(ImageError, match="MPEG2 Main Profile / Main Level is not read"):
        read(tmp_path / "b.dcm", replace(form, transfer_syntax=str(uid.MPEG2MPML)))


def test_a_file_without_pixels_and_one_that_is_gone(tmp_path):
    data = stored("u8")
    del data.PixelData
    form = write(tmp_path / "a.dcm", data)
    with pytest.raises(ImageError, match=r"a\.dcm: it has no pixel data"):
        read(tmp_path / "a.dcm", form)
    with pytest.raises(ImageError, match=r"b\.dcm: cannot be read \(No such file"):
        read(tmp_path / "b.dcm", form)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Rows", 0), ("Columns", None), ("BitsAllocated", 12), ("BitsStored", 17), ("HighBit", 16), ("HighBit", 3),
        ("SamplesPerPixel", 2), ("PixelRepresentation", 2), ("NumberOfFrames", 0), ("PhotometricInterpretation", ""),
    ],
)  # fmt: skip
def test_impossible_headers_are_refused(keyword, value):
    data = stored("u16")
    setattr(data, keyword, value)
    with pytest.raises(ImageError, match=f"damaged DICOM header: .*{keyword}"):
        PixelFormat.of(data, 0)


@pytest.mark.parametrize("syntax", [uid.JPEGLSLossless, uid.JPEG2000Lossless, uid.JPEGLosslessSV1, uid.HTJ2KLossless])
@pytest.mark.parametrize("kind", ["i12", "u16"])
def test_where_one_decoder_fails_the_next_one_reads_the_same(tmp_path, monkeypatch, syntax, kind):
    def broken(*_):
        raise RuntimeError("no")

    data = stored(kind)
    form = write(tmp_path / "a.dcm", encode(data, syntax))
    codecs = decode_codecs.ENCAPSULATED[syntax]
    for failing in range(1, len(codecs)):
        chosen = tuple(replace(codec, decode=broken) if k < failing else codec for k, codec in enumerate(codecs))
        monkeypatch.setitem(decode_codecs.ENCAPSULATED, syntax, chosen)
        (decoded,) = read(tmp_path / "a.dcm", form)
        assert decoded.decoder != "imagecodecs"
        assert np.array_equal(decoded.array, data.pixel_array)
    monkeypatch.setitem(decode_codecs.ENCAPSULATED, syntax, tuple(replace(codec, decode=broken) for codec in codecs))
    with pytest.raises(ImageError, match=r"imagecodecs: no; pydicom: no; simpleitk: no"):
        read(tmp_path / "a.dcm", form)


def test_many_threads_read_one_file(tmp_path):
    data = stored("i16", shape=(16, ROWS, COLUMNS))
    form = write(tmp_path / "a.dcm", encode(data, uid.JPEGLSLossless))
    assert pickle.loads(pickle.dumps(form)) == form
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: arrays(tmp_path / "a.dcm", form, [number])[0], list(range(16)) * 4))
    assert np.array_equal(found, np.tile(data.pixel_array, (4, 1, 1)))


def test_a_frame_of_many_is_read_alone(tmp_path, monkeypatch):
    """Of a multi-frame file no more is read than the frame and the heads of the others."""
    form = write(tmp_path / "a.dcm", encode(stored("u16", shape=(64, 64, 64)), uid.JPEGLSLossless))
    size = (tmp_path / "a.dcm").stat().st_size
    asked = []
    original = decode_codecs.decode_frame
    monkeypatch.setattr(
        sys.modules["medseg.imaging.dicom.decode"], "decode_frame", lambda d, f: asked.append(len(d)) or original(d, f)
    )
    read(tmp_path / "a.dcm", form, [40])
    assert len(asked) == 1
    assert asked[0] < size / 32
