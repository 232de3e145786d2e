"""Compressed files and archives."""

import bz2
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from medseg.privacy.place import Nested, Place, blocks, within

__all__ = ["CLOSED", "bzip2_places", "closed_places", "gzip_places", "tar_places", "xz_places", "zip_places"]

HAS_EXTRA, HAS_NAME, HAS_COMMENT = 4, 8, 16  # flags of RFC 1952
HEADER = 1 << 16
# first bytes of formats that Python's library does not open; the third byte of .Z holds the width of its codes
CLOSED = {
    b"7z\xbc\xaf\x27\x1c": "7z", b"\x28\xb5\x2f\xfd": "zstd", b"Rar!\x1a\x07": "rar", b"\x04\x22\x4d\x18": "lz4",
    b"LZIP\1": "lzip", b"MSCF\0\0\0\0": "cab",
} | {bytes((0x1F, 0x9D, 0x80 | bits)): ".Z" for bits in range(9, 17)}  # fmt: skip
DAMAGES = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)


def gzip_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Name and comment in the header, and what is compressed."""
    from isal import igzip, igzip_lib

    for kind, value in _gzip_header(stream.read(HEADER)):
        yield Place(f"gzip {kind}", value, field=True)
    stream.seek(0)
    damage: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]
    yield from _decompressed("gzip", igzip.open(stream), nested, damage)


def _gzip_header(head: bytes) -> Iterator[tuple[str, bytes]]:
    flags, at = head[3] if len(head) > 3 else 0, 10
    if flags & HAS_EXTRA:
        size = int.from_bytes(head[at : at + 2], "little")
        yield "extra field", head[at + 2 : at + 2 + size]
        at += 2 + size
    for flag, kind in ((HAS_NAME, "file name"), (HAS_COMMENT, "comment")):
        if flags & flag:
            value, _, _ = head[at:].partition(b"\0")
            yield kind, value
            at += len(value) + 1


def bzip2_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """What is compressed."""
    return _decompressed("bzip2", bz2.open(stream), nested)


def xz_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """What is compressed."""
    return _decompressed("xz", lzma.open(stream), nested)


def closed_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """The bytes of a file as it stands, and that what it packs is not searched."""
    head = stream.read(max(map(len, CLOSED)))
    name = next(name for magic, name in CLOSED.items() if head.startswith(magic))
    yield Place(name, problem="what it packs cannot be searched; unpack it first")
    stream.seek(0)
    yield from blocks(stream)


def _decompressed(name: str, stream: Any, nested: Nested, damage: type[Exception] = EOFError) -> Iterator[Place]:
    try:
        yield from within(name, nested(stream))
    except (*DAMAGES, damage):
        yield Place(name, problem=f"damaged {name} file: what follows the damage was not searched")


def zip_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Names, comments and contents of the members: also of .npz, .docx, .xlsx and PyTorch's files."""
    try:
        with zipfile.ZipFile(stream) as archive:
            yield Place("zip comment", archive.comment, field=True)
            for number, member in enumerate(archive.infolist(), start=1):
                kind = f"zip member {number}"
                yield Place(f"{kind} name", member.filename.encode("utf-8", "surrogateescape"), field=True)
                yield Place(f"{kind} comment", member.comment + b"\0" + member.extra, field=True)
                try:
                    with archive.open(member) as opened:
                        yield from within(kind, nested(opened))  # type: ignore[arg-type]
                except RuntimeError:  # zipfile's way to ask for a password
                    yield Place(kind, problem="encrypted zip member")
    except DAMAGES:
        yield Place("zip", problem="damaged zip archive")


def tar_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Names and contents of the members."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for number, member in enumerate(archive, start=1):
                kind = f"tar member {number}"
                names = (member.name, member.linkname, member.uname, member.gname, *member.pax_headers.values())
                for text in names:
                    yield Place(f"{kind} name", text.encode("utf-8", "surrogateescape"), field=True)
                opened = archive.extractfile(member) if member.isfile() else None
                if opened is not None:
                    yield from within(kind, nested(opened))  # type: ignore[arg-type]
    except DAMAGES:
        yield Place("tar", problem="damaged tar archive")
