"""PDF files, and files packed into text as base64."""

import base64
import io
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from medseg.privacy.encodings import looks_like_text
from medseg.privacy.place import Nested, Place, blocks, within

__all__ = ["packed_in_text", "pdf_places"]

ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
SHORTEST = 16  # characters of base64: twelve bytes
FILE = 88  # characters of base64 from which it may be a file of its own: the smallest PNG is as long
LARGEST_STREAM = 1 << 28  # bytes of an inflated stream
PDF_STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
PDF_HEX = re.compile(rb"<([0-9A-Fa-f\s]{8,})>")
PDF_OCTAL = re.compile(rb"\\([0-7]{3})")


def packed_in_text(data: bytes, nested: Nested) -> Iterator[Place]:
    """Images and other files in `data:` addresses, and any shorter text as base64."""
    texts: list[bytes] = []
    others: list[bytes] = []
    for number, run in enumerate(_runs(data), start=1):
        run = run[:-1] if len(run) % 4 == 1 else run  # cut off: no such length exists
        decoded = base64.b64decode(run + b"=" * (-len(run) % 4))
        if len(run) >= FILE:
            yield from within(f"base64 {number}", nested(io.BytesIO(decoded)))
        else:
            (texts if looks_like_text(decoded) else others).append(decoded)
    if texts:
        yield Place("base64", b"\n".join(texts))
    if others:
        yield Place("base64", b"\0\0".join(others))


def _runs(data: bytes) -> Iterator[bytes]:
    """Stretches of the alphabet; found as one repeated byte, which is many times faster than by a pattern."""
    marks = data.translate(bytes(code in ALPHABET for code in range(256)))
    at = 0
    while (at := marks.find(b"\1" * SHORTEST, at)) >= 0:
        end = marks.find(b"\0", at)
        end = len(data) if end < 0 else end
        yield data[at:end]
        at = end


def pdf_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Inflated streams, strings in hexadecimal and octal digits, and the whole file.

    Text that is drawn with the numbers of a font's own glyphs is not found.
    """
    data = stream.read()
    for number, match in enumerate(PDF_STREAM.finditer(data), start=1):
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(match[1], LARGEST_STREAM)
        except zlib.error:
            continue  # another filter; as bytes it is searched below
        if inflater.unconsumed_tail:
            yield Place(f"PDF stream {number}", problem=f"larger than {LARGEST_STREAM >> 20} MiB")
        yield Place(f"PDF stream {number}", inflated)
        yield from _strings(inflated)
    yield from _strings(data)
    stream.seek(0)
    yield from blocks(stream)


def _strings(data: bytes) -> Iterator[Place]:
    for match in PDF_HEX.finditer(data):
        digits = re.sub(rb"\s", b"", match[1])
        yield Place("PDF string", _text(bytes.fromhex((digits + b"0" * (len(digits) % 2)).decode())), field=True)
    if PDF_OCTAL.search(data):
        plain = PDF_OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), data)
        yield Place("PDF string", plain)


def _text(data: bytes) -> bytes:
    """A PDF text string is UTF-16 where it begins with the mark of it (ISO 32000-1 7.9.2.2)."""
    return data.decode("utf-16", errors="replace").encode() if data.startswith(b"\xfe\xff") else data
