"""PNG, JPEG and TIFF: depth, polarity, orientation, and damage that decoders let pass."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageFile

from medseg.errors import ImageError
from medseg.imaging.bit_depth import stored_bits
from medseg.imaging.picture import read_picture

GREY = np.array([[0, 1, 2], [3, 100, 255]], np.uint8)


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(path, rows, *, bits, colour, extra=b"", interlaced=0):
    """A PNG from its packed rows."""
    size = struct.pack(
        ">IIBBBBB", len(rows[0]) * 8 // bits // {0: 1, 3: 1}[colour], len(rows), bits, colour, 0, 0, interlaced
    )
    pixels = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b""))
    return path


def tiff(path, values, *, photometric, bits=None, sample_format=1, orientation=None):
    """An uncompressed little-endian TIFF of one strip; photometric None leaves the tag out."""
    bits = bits or values.dtype.itemsize * 8
    data = values.tobytes()
    tags = [(256, 3, values.shape[1]), (257, 3, values.shape[0]), (258, 3, bits), (259, 3, 1)]
    tags += [] if photometric is None else [(262, 3, photometric)]
    tags += [(273, 4, 8)] + ([] if orientation is None else [(274, 3, orientation)])
    tags += [(277, 3, 1), (278, 3, values.shape[0]), (279, 4, len(data)), (339, 3, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    path.write_bytes(start + data + struct.pack("<H", len(tags)) + entries + bytes(4))
    return path


def warnings_of(volume):
    return [note.code for note in volume.notes if note.warning]


@pytest.mark.parametrize(
    ("bits", "row", "expected"),
    [
        (1, [0b10110001], [1, 0, 1, 1, 0, 0, 0, 1]),
        (2, [0b00011011], [0, 1, 2, 3]),
        (4, [0x07, 0xF1], [0, 7, 15, 1]),
        (8, [0, 200, 255], [0, 200, 255]),
        (16, [0, 1, 1, 0, 255, 255], [1, 256, 65535]),
    ],
)
def test_png_of_every_depth_keeps_stored_values_and_depth(tmp_path, bits, row, expected):
    volume = read_picture(png(tmp_path / "a.png", [row, row], bits=bits, colour=0))
    assert volume.array[0, 0].tolist() == [expected, expected]
    assert stored_bits(volume) == bits
    assert volume.is_projection
    assert volume.pixel_spacing_mm is None


def test_depth_is_that_of_the_header_and_not_of_the_brightest_pixel(tmp_path):
    Image.fromarray(np.full((4, 4), 90, np.uint16)).save(tmp_path / "a.png")
    assert stored_bits(read_picture(tmp_path / "a.png")) == 16


def test_palette_of_greys_is_read_by_its_colours(tmp_path):
    palette = chunk(b"PLTE", bytes([10, 10, 10, 200, 200, 200, 30, 30, 30, 40, 40, 40]))
    volume = read_picture(png(tmp_path / "a.png", [[0b00011011]], bits=2, colour=3, extra=palette))
    assert volume.array[0, 0].tolist() == [[10, 200, 30, 40]]
    assert stored_bits(volume) == 8
    palette = chunk(b"PLTE", bytes([10, 10, 10, 200, 0, 0, 30, 30, 30, 40, 40, 40]))
    with pytest.raises(ImageError, match="colour picture"):
        read_picture(png(tmp_path / "b.png", [[0b00011011]], bits=2, colour=3, extra=palette))


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_stored_as_colour_keeps_its_depth(tmp_path, channels, dtype):
    top = np.iinfo(dtype).max
    grey = np.array([[0, 1, 2], [300 % (top + 1), top - 1, top]], dtype)
    values = np.repeat(grey[..., None], channels, axis=2)
    if channels in (2, 4):
        values[..., -1] = top
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(values))
    volume = read_picture(tmp_path / "a.png")
    assert np.array_equal(volume.array[0, 0], grey)
    assert stored_bits(volume) == np.iinfo(dtype).bits
    assert warnings_of(volume) == []
    if channels in (2, 4):
        values[0, 0, -1] = 0
        (tmp_path / "b.png").write_bytes(imagecodecs.png_encode(values))
        volume = read_picture(tmp_path / "b.png")
        assert np.array_equal(volume.array[0, 0], grey)
        assert warnings_of(volume) == ["transparency"]
    if channels > 2:
        values[0, 0, 0] = top
        (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(values))
        with pytest.raises(ImageError, match="colour picture"):
            read_picture(tmp_path / "c.png")


def test_density_of_a_print_is_no_pixel_spacing(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif"):
        Image.fromarray(GREY).save(tmp_path / name, dpi=(300, 300))
        assert read_picture(tmp_path / name).pixel_spacing_mm is None


def test_every_damaged_byte_of_a_png_is_noticed(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (6, 6), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for place in range(len(whole)):
        (tmp_path / "a.png").write_bytes(whole[:place] + bytes([whole[place] ^ 0x04]) + whole[place + 1 :])
        with pytest.raises(ImageError):
            read_picture(tmp_path / "a.png")
        (tmp_path / "a.png").write_bytes(whole[:place])
        with pytest.raises(ImageError):
            read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.jpg", "a.tif", "a.png"])
def test_pictures_cut_off_are_refused_even_if_another_library_allows_them(tmp_path, monkeypatch, name):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    values = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for kept in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 3):
        (tmp_path / name).write_bytes(whole[:kept])
        with pytest.raises(ImageError):
            read_picture(tmp_path / name)


def test_jpeg_of_12_bit_is_refused_with_the_reason(tmp_path):
    values = (np.arange(64 * 64, dtype=np.uint16) % 4096).reshape(64, 64)
    (tmp_path / "a.jpg").write_bytes(imagecodecs.jpeg8_encode(values, bitspersample=12))
    with pytest.raises(ImageError, match="JPEG of 12 bit"):
        read_picture(tmp_path / "a.jpg")


def test_cmyk_and_other_formats_are_refused(tmp_path):
    Image.fromarray(GREY).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="CMYK"):
        read_picture(tmp_path / "a.jpg")
    Image.fromarray(GREY).save(tmp_path / "b.gif")
    (tmp_path / "b.gif").rename(tmp_path / "b.png")
    with pytest.raises(ImageError, match="not a PNG, JPEG or TIFF"):
        read_picture(tmp_path / "b.png")


def test_several_pictures_in_a_file_are_refused(tmp_path):
    pages = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "a.png", save_all=True, append_images=pages[1:])
    for name in ("a.tif", "a.png"):
        with pytest.raises(ImageError, match="2 pictures"):
            read_picture(tmp_path / name)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_stored_pixels_are_kept_and_a_wish_to_turn_them_is_flagged(tmp_path, suffix, orientation):
    values = np.zeros((16, 32), np.uint8)
    values[:8, :8] = 240
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / f"a{suffix}", exif=exif)
    volume = read_picture(tmp_path / f"a{suffix}")
    assert volume.array.shape == (1, 1, 16, 32)
    assert np.abs(volume.array[0, 0] - values).max() < 3  # JPEG
    assert warnings_of(volume) == ([] if orientation == 1 else ["exif_orientation"])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_that_asks_to_be_turned_is_refused(tmp_path, orientation):
    file = tiff(tmp_path / "a.tif", GREY, photometric=1, orientation=orientation)
    if orientation == 1:
        assert np.array_equal(read_picture(file).array[0, 0], GREY)
    else:
        with pytest.raises(ImageError, match=f"orientation {orientation}"):
            read_picture(file)


@pytest.mark.parametrize(
    ("dtype", "sample_format", "bits"), [("u1", 1, 8), ("<u2", 1, 16), ("<i2", 2, 16), ("<i4", 2, 32), ("<f4", 3, 32)]
)
def test_tiff_types(tmp_path, dtype, sample_format, bits):
    values = GREY.astype(dtype)
    volume = read_picture(tiff(tmp_path / "a.tif", values, photometric=1, sample_format=sample_format))
    assert np.array_equal(volume.array[0, 0], values)
    assert stored_bits(volume) == bits
    assert warnings_of(volume) == []


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_tiff_whose_0_is_white_is_inverted(tmp_path, dtype):
    values = GREY.astype(dtype)
    volume = read_picture(tiff(tmp_path / "a.tif", values, photometric=0))
    assert np.array_equal(volume.array[0, 0], np.iinfo(dtype).max - values.astype(int))
    assert [note.code for note in volume.notes] == ["bit_depth", "white_is_zero"]


def test_tiff_of_4_and_12_bit(tmp_path):
    volume = read_picture(_packed(tmp_path / "a.tif", bytes([0x07, 0xF1]), width=4, bits=4, photometric=1))
    assert (volume.array[0, 0].tolist(), stored_bits(volume)) == ([[0, 7, 15, 1]], 4)
    volume = read_picture(_packed(tmp_path / "b.tif", bytes([0x07, 0xF1]), width=4, bits=4, photometric=0))
    assert volume.array[0, 0].tolist() == [[15, 8, 0, 14]]
    volume = read_picture(_packed(tmp_path / "c.tif", bytes([0x00, 0x1F, 0xFF]), width=2, bits=12, photometric=1))
    assert (volume.array[0, 0].tolist(), stored_bits(volume)) == ([[1, 4095]], 12)


def _packed(path, row, *, width, bits, photometric):
    tiff(path, np.frombuffer(row, np.uint8)[None], photometric=photometric, bits=bits)
    content = bytearray(path.read_bytes())
    place = content.index(struct.pack("<HHI", 256, 3, 1))
    content[place + 8 : place + 10] = struct.pack("<H", width)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_compressed_tiff_of_either_polarity(tmp_path, compression):
    for dtype in (np.uint8, np.uint16):
        values = GREY.astype(dtype)
        Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
        assert np.array_equal(read_picture(tmp_path / "a.tif").array[0, 0], values)
        content = (tmp_path / "a.tif").read_bytes()
        black, white = (struct.pack("<HHIH", 262, 3, 1, value) for value in (1, 0))
        assert content.count(black) == 1
        (tmp_path / "b.tif").write_bytes(content.replace(black, white))
        inverted = read_picture(tmp_path / "b.tif").array[0, 0]
        assert np.array_equal(inverted, np.iinfo(dtype).max - values.astype(int))


@pytest.mark.parametrize(
    ("dtype", "photometric", "sample_format", "reason"),
    [("u1", None, 1, "black or white"), ("<f4", 0, 3, "range that is not known"), ("<f8", 1, 3, "kind that can be")],
)
def test_tiff_whose_meaning_is_open_is_refused(tmp_path, dtype, photometric, sample_format, reason):
    file = tiff(tmp_path / "a.tif", GREY.astype(dtype), photometric=photometric, sample_format=sample_format)
    with pytest.raises(ImageError, match=reason):
        read_picture(file)


def test_colours_of_16_bit_in_a_tiff_are_refused(tmp_path):
    values = np.repeat((GREY.astype(np.uint16) * 257)[..., None], 3, axis=2)
    (tmp_path / "a.tif").write_bytes(imagecodecs.tiff_encode(values, photometric="rgb"))
    with pytest.raises(ImageError, match="colours of 16 bit"):
        read_picture(tmp_path / "a.tif")


def test_floats_that_are_not_finite_are_counted(tmp_path):
    values = GREY.astype("<f4")
    values[0, 0] = np.nan
    volume = read_picture(tiff(tmp_path / "a.tif", values, photometric=1, sample_format=3))
    assert warnings_of(volume) == ["not_finite"]


def test_a_picture_that_claims_to_be_huge_is_refused(tmp_path):
    size = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match="Bomb"):
        read_picture(tmp_path / "a.png")


def test_text_of_a_damaged_png_is_not_quoted(tmp_path):
    size = struct.pack(">IIBBBBB", 2, 2, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)
    pixels, end = chunk(b"IDAT", zlib.compress(b"\0\1\2" * 2)), chunk(b"IEND", b"")
    wrong = bytearray(chunk(b"dOEx", b"12"))
    wrong[-1] ^= 1
    orientation = b"MM\0*" + struct.pack(">IHHHI4sI", 8, 1, 0x0112, 2, 4, b"DOE\0", 0)  # text in place of a number
    parts = (pixels + wrong, "checksum"), (chunk(b"eXIf", orientation) + pixels, r"damaged or cut off \(ValueError\)")
    for content, reason in parts:
        (tmp_path / "a.png").write_bytes(start + content + end)
        with pytest.raises(ImageError, match=reason) as caught:
            read_picture(tmp_path / "a.png")
        assert "doe" not in str(caught.value).lower()
