"""Text beside the pixels of PNG, JPEG and TIFF files."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from medseg.privacy.place import Nested, Place, blocks, within

__all__ = ["jpeg_places", "png_places", "tiff_places"]

PIXELS = (b"IDAT", b"fdAT", b"IHDR", b"PLTE", b"IEND")
JPEG_NAMES = {0xE1: "EXIF or XMP", 0xED: "IPTC", 0xFE: "comment"}
EXIF = b"Exif\0\0"
UTF16_TAGS = range(0x9C9B, 0x9CA0)  # XPTitle, XPComment, XPAuthor, XPKeywords, XPSubject of Windows
POINTERS = (0x8769, 0x8825, 0xA005, 0x014A)  # EXIF, GPS, interoperability, sub-images
BYTES_OF_TYPE = {1: 1, 2: 1, 6: 1, 7: 1}  # BYTE, ASCII, SBYTE, UNDEFINED: the types that hold text
LARGEST_TAG = 1 << 26  # bytes
MOST_DIRECTORIES = 10_000


def png_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Every chunk but those of the pixels, uncompressed, and what follows the image."""
    stream.seek(8)
    kind = b""
    while kind != b"IEND":
        head = stream.read(8)
        if len(head) < 8:
            yield Place("PNG", problem="damaged PNG: cut off")
            return
        size, kind = int.from_bytes(head[:4], "big"), head[4:]
        if kind in PIXELS:
            stream.seek(size + 4, io.SEEK_CUR)
            continue
        data = stream.read(size)
        stream.seek(4, io.SEEK_CUR)
        name = f"PNG {kind.decode('latin-1') if kind.isalpha() else '?'} chunk"
        if kind == b"eXIf":
            yield from within(name, _tags(io.BytesIO(data)))
        else:
            yield Place(name, _text_of(kind, data), field=True)
    yield from blocks(stream, "data after the PNG image")


def _text_of(kind: bytes, data: bytes) -> bytes:
    """Content of a chunk with its compressed part uncompressed (PNG specification 11.3.3)."""
    keyword, _, rest = data.partition(b"\0")
    if kind in (b"zTXt", b"iCCP"):
        packed, before = rest[1:], b""
    elif kind == b"iTXt" and rest[:1] == b"\1":
        language, _, after = rest[2:].partition(b"\0")
        translated, _, packed = after.partition(b"\0")
        before = language + b"\0" + translated + b"\0"
    else:
        return data
    try:
        return keyword + b"\0" + before + zlib.decompress(packed)
    except zlib.error:
        return data


def jpeg_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """The segments before the pixels, and the whole file."""
    stream.seek(2)
    while len(head := stream.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:  # until the start of scan
        data = stream.read(int.from_bytes(head[2:], "big") - 2)
        marker = head[1]
        name = f"JPEG {JPEG_NAMES.get(marker, f'segment {marker:02X}')}"
        if data.startswith(EXIF):
            yield from within("JPEG EXIF", _tags(io.BytesIO(data[len(EXIF) :])))
        elif marker >= 0xE0:
            yield Place(name, data, field=True)
    stream.seek(0)
    yield from blocks(stream)


def tiff_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """The tags of every directory, and the whole file."""
    yield from _tags(stream)
    stream.seek(0)
    yield from blocks(stream)


def _tags(stream: BinaryIO) -> Iterator[Place]:
    """Tags with text (TIFF 6.0 section 2), also those of EXIF."""
    stream.seek(0)
    head = stream.read(8)
    order = "<" if head[:2] == b"II" else ">"
    todo = [int.from_bytes(head[4:8], "little" if order == "<" else "big")]
    seen: set[int] = set()
    while todo and len(seen) < MOST_DIRECTORIES:
        offset = todo.pop()
        if offset in seen or offset == 0:
            continue
        seen.add(offset)
        stream.seek(offset)
        counted = stream.read(2)
        if len(counted) < 2:
            continue
        (n_entries,) = struct.unpack(f"{order}H", counted)
        table = stream.read(12 * n_entries + 4)
        for at in range(0, min(12 * n_entries, len(table) - 11), 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", table, at)
            (value,) = struct.unpack_from(f"{order}I", table, at + 8)
            if tag in POINTERS and count == 1:
                todo.append(value)
            elif kind in BYTES_OF_TYPE and 0 < count <= LARGEST_TAG:
                inline = table[at + 8 : at + 8 + count]
                yield _tag(tag, inline if count <= 4 else _bytes_at(stream, value, count))
        if len(table) == 12 * n_entries + 4:
            todo.append(struct.unpack_from(f"{order}I", table, 12 * n_entries)[0])


def _bytes_at(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    return stream.read(count)


def _tag(tag: int, data: bytes) -> Place:
    if tag in UTF16_TAGS:
        data = data.decode("utf-16-le", errors="replace").encode()
    return Place(f"TIFF tag {tag}", data, field=True)
