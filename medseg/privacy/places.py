"""Places of a file at which an identifier may stand: its content, what it packs, the fields of its headers."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from medseg.privacy import archives, dicom_fields, documents, headers, pictures
from medseg.privacy.encodings import looks_like_text
from medseg.privacy.place import Place, Reader, blocks

__all__ = ["places_in"]

HEAD = 560  # bytes by which formats are told apart: a NIfTI-2 header is the longest
DEEPEST = 6  # archives within archives
LARGEST = 1 << 30  # bytes of a packed member that is taken into memory because its format needs it


def places_in(stream: BinaryIO, depth: int = 0) -> Iterator[Place]:
    """Yield the places of an open file.

    Parameters
    ----------
    stream : binary file
        Seekable.
    depth : int
        How many archives it lies in.
    """
    if depth > DEEPEST:
        yield Place("content", problem=f"more than {DEEPEST} archives within each other")
        return
    stream.seek(0)
    reader = _reader(stream.read(HEAD))
    stream.seek(0)
    if reader is None:
        yield from _plain(stream, depth)
        return
    if depth and reader in IN_MEMORY:
        packed = stream.read(LARGEST + 1)
        if len(packed) > LARGEST:
            yield Place("content", problem=f"packed and larger than {LARGEST >> 30} GiB")
            return
        stream = io.BytesIO(packed)
    yield from reader(stream, lambda inner: places_in(inner, depth + 1))


def _plain(stream: BinaryIO, depth: int) -> Iterator[Place]:
    for place in blocks(stream):
        yield place
        if looks_like_text(place.data):
            yield from documents.packed_in_text(place.data, lambda inner: places_in(inner, depth + 1))


MAGIC: tuple[tuple[int, bytes, Reader], ...] = (
    (0, b"\x1f\x8b", archives.gzip_places),
    (0, b"BZh", archives.bzip2_places),
    (0, b"\xfd7zXZ\0", archives.xz_places),
    (0, b"PK\x03\x04", archives.zip_places),
    (0, b"PK\x05\x06", archives.zip_places),
    (257, b"ustar", archives.tar_places),
    (0, b"\x89PNG\r\n\x1a\n", pictures.png_places),
    (0, b"\xff\xd8\xff", pictures.jpeg_places),
    (0, b"II*\0", pictures.tiff_places),
    (0, b"MM\0*", pictures.tiff_places),
    (0, b"%PDF-", documents.pdf_places),
    (128, b"DICM", dicom_fields.dicom_places),
    (0, b"NRRD", headers.text_header_places),
    *((0, magic, archives.closed_places) for magic in archives.CLOSED),
)
STREAMED: tuple[Reader, ...] = (
    archives.gzip_places, archives.bzip2_places, archives.xz_places, archives.closed_places, headers.nifti_places,
    headers.text_header_places,
)  # fmt: skip
IN_MEMORY = tuple(dict.fromkeys(reader for _, _, reader in MAGIC if reader not in STREAMED))


def _reader(head: bytes) -> Reader | None:
    for offset, magic, reader in MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return reader
    if headers.is_nifti(head):
        return headers.nifti_places
    return headers.text_header_places if headers.is_metaimage(head) else None
