"""Frames that are stored as they are, one value after the other (PS3.5 8.1 and 8.2)."""

from typing import BinaryIO

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.decode_element import PixelElement, read_bytes
from medseg.imaging.dicom.decode_format import PixelFormat

__all__ = ["check_native_length", "native_frame", "stored_values"]

FLOATS: dict[str, np.dtype] = {"FloatPixelData": np.dtype("f4"), "DoubleFloatPixelData": np.dtype("f8")}
SHARED_CHROMA = ("YBR_FULL_422", "YBR_PARTIAL_422")  # two pixels share Cb and Cr: Y Y Cb Cr


def _frame_bits(form: PixelFormat) -> int:
    samples = 2 if form.photometric in SHARED_CHROMA else form.samples
    return form.rows * form.columns * samples * form.bits_allocated


def check_native_length(element: PixelElement, form: PixelFormat) -> None:
    """Refuse pixel data that are shorter than the header says, or longer by a frame or more.

    Raises
    ------
    ImageError
        With both lengths.
    """
    if form.photometric in SHARED_CHROMA and (form.columns % 2 or form.samples != 3):
        raise ImageError(f"damaged DICOM header: {form.photometric} of {form.samples} samples, {form.columns} columns")
    bits = _frame_bits(form)
    expected = -(-bits * form.frames // 8)
    if element.length is None:
        raise ImageError("its pixel data are compressed although its transfer syntax says that they are not")
    if element.length < expected:
        raise ImageError(f"its pixel data have {element.length} bytes, {expected} were expected: the file is damaged")
    if element.length - expected >= max(bits // 8, 2):  # one byte, or vendors' padding, may follow
        text = f"its pixel data have {element.length} bytes, {expected} were expected for {form.frames} frame(s)"
        raise ImageError(f"{text}: its header is wrong, or frames would be lost")


def native_frame(stream: BinaryIO, element: PixelElement, form: PixelFormat, number: int) -> np.ndarray:
    """Read one frame, shape (y, x) or (y, x, 3), in its stored type and the byte order of this machine."""
    bits = _frame_bits(form)
    if form.bits_allocated == 1:
        return _bit_frame(stream, element, form, number * bits, bits)
    size = bits // 8
    dtype = FLOATS.get(element.keyword, form.dtype)
    if dtype.itemsize * 8 != form.bits_allocated:
        raise ImageError(
            f"its {element.keyword} have BitsAllocated {form.bits_allocated}, expected {dtype.itemsize * 8}"
        )
    if element.swapped_words and dtype.itemsize == 1:
        return _coloured(_swapped(stream, element, number * size, size).view(dtype), form)
    values = read_bytes(stream, element.start + number * size, size).view(dtype)
    if not element.little_endian:
        values.byteswap(inplace=True)
    return _coloured(values if dtype.kind == "f" else stored_values(values, form), form)


def stored_values(values: np.ndarray, form: PixelFormat) -> np.ndarray:
    """Clear what lies in the unused bits, and extend the sign; `values` is changed in place.

    Raises
    ------
    ImageError
        When High Bit says that values fill the upper bits, and they do not.
    """
    lower = form.high_bit + 1 - form.bits_stored  # above 0 in old files alone, whose values fill the upper bits
    if lower and (values & values.dtype.type((1 << lower) - 1)).any():
        text = f"HighBit {form.high_bit} and BitsStored {form.bits_stored} contradict the pixel data"
        raise ImageError(f"damaged DICOM header: {text}; correct the header")
    if form.bits_stored < form.bits_allocated:
        values <<= form.bits_allocated - 1 - form.high_bit
        values >>= form.bits_allocated - form.bits_stored  # of signed numbers this keeps the sign
    return values


def _coloured(values: np.ndarray, form: PixelFormat) -> np.ndarray:
    if form.photometric in SHARED_CHROMA:
        pairs = values.reshape(form.rows, form.columns // 2, 4)  # Y Y Cb Cr
        result = np.empty((form.rows, form.columns // 2, 2, 3), values.dtype)
        result[..., 0] = pairs[..., :2]
        result[..., 1:] = pairs[..., None, 2:]
        return result.reshape(form.shape)
    if form.samples == 3 and form.planar == 1:
        return np.moveaxis(values.reshape(3, form.rows, form.columns), 0, -1)
    return values.reshape(form.shape)


def _bit_frame(stream: BinaryIO, element: PixelElement, form: PixelFormat, first: int, count: int) -> np.ndarray:
    """Frames of single bits follow each other without a gap, so one may start inside a byte (PS3.5 8.1.1)."""
    start, skipped = first // 8, first % 8
    size = (skipped + count + 7) // 8
    if element.swapped_words:
        packed = _swapped(stream, element, start, size)
    else:
        packed = read_bytes(stream, element.start + start, size)
    return np.unpackbits(packed, bitorder="little")[skipped : skipped + count].reshape(form.shape)


def _swapped(stream: BinaryIO, element: PixelElement, start: int, size: int) -> np.ndarray:
    """Bytes that were written as 16 bit words, most significant byte first."""
    before = start % 2
    words = (before + size + 1) // 2
    swapped = read_bytes(stream, element.start + start - before, words * 2).view(np.uint16).byteswap().view(np.uint8)
    return swapped[before : before + size]
