"""Where the pixel data of a DICOM file lie: the head of the element, and fragments of frames (PS3.5 7 and A.4)."""

import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

import numpy as np

from medseg.errors import ImageError

__all__ = ["Fragment", "PixelElement", "frame_fragments", "joined", "pixel_element", "read_bytes"]

KEYWORDS = {0x0008: "FloatPixelData", 0x0009: "DoubleFloatPixelData", 0x0010: "PixelData"}  # of group 7FE0
UNDEFINED = 0xFFFFFFFF
ITEM, END = 0xFFFEE000, 0xFFFEE0DD
ITEM_HEAD = 8  # tag and length
# how a codestream starts: JPEG and JPEG-LS, JPEG 2000, and the latter in a JP2 file
CODESTREAMS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  ")
Fragment = tuple[int, int]  # first byte, number of bytes


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Head of a pixel data element.

    Parameters
    ----------
    keyword : {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
        What it is.
    start : int
        First byte of its value.
    length : int or None
        Bytes of its value; None where it holds fragments.
    little_endian : bool
        Byte order.
    swapped_words : bool
        Whether bytes stand swapped, as big-endian words of two have them.
    """

    keyword: str
    start: int
    length: int | None
    little_endian: bool = True
    swapped_words: bool = False


def read_bytes(stream: BinaryIO, start: int, size: int) -> np.ndarray:
    """Bytes of a stream, as writable array.

    Raises
    ------
    ImageError
        When the file ends before.
    """
    values = np.empty(size, np.uint8)
    stream.seek(start)
    found = stream.readinto(values.data)  # type: ignore[attr-defined]
    if found != size:
        raise ImageError(f"its pixel data are cut off: {found} of {size} bytes at byte {start}; copy the file again")
    return values


def pixel_element(stream: BinaryIO, offset: int) -> PixelElement:
    """Read the head of the pixel data element at byte `offset`, in whichever of the encodings it is.

    Raises
    ------
    ImageError
        When there is none, or the file ends before its value does.
    """
    stream.seek(offset)
    head = stream.read(12)
    little_endian = head[:2] == b"\xe0\x7f"
    order = "<" if little_endian else ">"
    if len(head) < ITEM_HEAD or head[:2] not in (b"\xe0\x7f", b"\x7f\xe0"):
        raise ImageError("it has no pixel data: the file is cut off, or holds no image")
    keyword = KEYWORDS.get(struct.unpack_from(f"{order}H", head, 2)[0])
    if keyword is None:
        raise ImageError("it has no pixel data that this version knows")
    explicit = head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"OV", b"UN")  # read as a length these would be odd
    place = 8 if explicit else 4
    if len(head) < place + 4:
        raise ImageError("its pixel data are cut off; copy the file again")
    (length,) = struct.unpack_from(f"{order}I", head, place)
    start = offset + place + 4
    present = stream.seek(0, os.SEEK_END) - start
    if length == UNDEFINED:
        return PixelElement(keyword, start, None, little_endian)
    if present < length:
        raise ImageError(f"its pixel data are cut off: {present} of {length} bytes; copy the file again")
    words = not little_endian and head[4:6] == b"OW"
    return PixelElement(keyword, start, length, little_endian, swapped_words=words)


def frame_fragments(stream: BinaryIO, element: PixelElement, frames: int) -> list[list[Fragment]]:
    """Find the fragments of each frame of encapsulated pixel data.

    Raises
    ------
    ImageError
        When the items are damaged or cut off, or are not those of `frames` frames.
    """
    if element.length is not None:
        raise ImageError("its pixel data are not compressed although its transfer syntax says so")
    items = _items(stream, element.start)
    if not items:
        raise ImageError("its compressed pixel data are empty or cut off; copy the file again")
    table, fragments = items[0], [item for item in items[1:] if item[1]]
    if len(fragments) == frames:  # by far the most; then the table is not needed, and may be wrong
        return [[fragment] for fragment in fragments]
    starts = np.frombuffer(read_bytes(stream, *table), "<u4")
    if len(starts) == frames > 1:
        base = table[0] + table[1] + ITEM_HEAD  # offsets count from the head of the first fragment
        places = set((starts.astype(np.int64) + base).tolist())
        fragments = items[1:]
        firsts = [index for index, (at, _) in enumerate(fragments) if at in places]
    else:
        firsts = [index for index, (at, _) in enumerate(fragments) if _starts_codestream(stream, at)]
        firsts = firsts or [0]
    if len(firsts) != frames or firsts[0] != 0 or not fragments:
        text = f"its compressed pixel data are those of {len(firsts) if fragments else 0} frame(s)"
        raise ImageError(f"{text}, its header says {frames}: the file is cut off, or its header wrong")
    return [fragments[first:last] for first, last in pairwise([*firsts, len(fragments)])]


def _items(stream: BinaryIO, start: int) -> list[Fragment]:
    """All items: the offset table, then the fragments. A missing end mark is no loss: the fragments are counted."""
    size = stream.seek(0, os.SEEK_END)
    items: list[Fragment] = []
    while start + ITEM_HEAD <= size:
        stream.seek(start)
        group, element, length = struct.unpack("<HHI", stream.read(ITEM_HEAD))
        tag = group << 16 | element
        if tag == END:
            break
        if tag != ITEM:
            raise ImageError(f"its compressed pixel data are damaged at byte {start}; copy the file again")
        start += ITEM_HEAD
        if start + length > size:
            raise ImageError(f"its pixel data are cut off: {size - start} of {length} bytes at byte {start}")
        items.append((start, length))
        start += length
    return items


def _starts_codestream(stream: BinaryIO, at: int) -> bool:
    stream.seek(at)
    return stream.read(8).startswith(CODESTREAMS)


def joined(stream: BinaryIO, fragments: Sequence[Fragment]) -> bytes:
    """Bytes of all fragments of a frame."""
    parts = []
    for start, length in fragments:
        stream.seek(start)
        parts.append(stream.read(length))
    return parts[0] if len(parts) == 1 else b"".join(parts)
