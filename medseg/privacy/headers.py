"""Headers of NIfTI, Analyze, NRRD and MetaImage files."""

import io
from collections.abc import Iterator
from typing import BinaryIO

from medseg.privacy.place import Nested, Place, blocks, within

__all__ = ["is_metaimage", "is_nifti", "nifti_places", "text_header_places"]

# (name, offset, bytes) of the fields that hold text
NIFTI_1 = (("data_type", 4, 10), ("db_name", 14, 18), ("descrip", 148, 80), ("aux_file", 228, 24),
           ("intent_name", 328, 16))  # fmt: skip
NIFTI_2 = (("descrip", 240, 80), ("aux_file", 320, 24), ("intent_name", 508, 16))
# the older header of the same size, where NIfTI-1 has its quaternion
ANALYZE = (*NIFTI_1[:4], ("originator", 253, 10), ("generated", 263, 10), ("scannum", 273, 10), ("patient_id", 283, 10))
SIZES = {348: NIFTI_1, 540: NIFTI_2}
DICOM_EXTENSION = 2  # code of a NIfTI extension that holds DICOM elements
HEADER_LINES = 1 << 20  # bytes within which the text header of an NRRD or MetaImage file ends


def is_nifti(head: bytes) -> bool:
    """Whether a file begins as a NIfTI or Analyze header."""
    return _byte_order(head) is not None and len(head) >= 348


def _byte_order(head: bytes) -> str | None:
    orders = (order for order in ("little", "big") if int.from_bytes(head[:4], order) in SIZES)  # type: ignore[arg-type]
    return next(orders, None)


def nifti_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Fields of the header, extensions, and the whole file."""
    head = stream.read(max(SIZES))
    order = _byte_order(head)
    size = int.from_bytes(head[:4], order)  # type: ignore[arg-type]
    nifti = size == 540 or head[344:347] in (b"n+1", b"ni1")
    for name, offset, length in SIZES[size] if nifti else ANALYZE:
        yield Place(f"{'NIfTI' if nifti else 'Analyze'} {name}", head[offset : offset + length], field=True)
    stream.seek(size)
    if nifti and stream.read(4)[:1] == b"\1":
        yield from _extensions(stream, order or "little", nested)
    stream.seek(0)
    yield from blocks(stream)


def _extensions(stream: BinaryIO, order: str, nested: Nested) -> Iterator[Place]:
    while len(head := stream.read(8)) == 8:
        size, code = (int.from_bytes(part, order) for part in (head[:4], head[4:]))  # type: ignore[arg-type]
        if size < 16 or size % 16 or size > HEADER_LINES * 64:  # what the standard asks of an extension
            return
        data = stream.read(size - 8)
        yield Place(f"NIfTI extension {code}", data, field=True)
        if code == DICOM_EXTENSION:
            yield from within("NIfTI extension 2", nested(io.BytesIO(data)))


def is_metaimage(head: bytes) -> bool:
    """Whether a file begins as a MetaImage header."""
    return head.lstrip()[:10].startswith((b"ObjectType", b"NDims"))


def text_header_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """The lines before the voxels of an NRRD or MetaImage file, and the whole file."""
    head = stream.read(HEADER_LINES)
    if head.startswith(b"NRRD"):
        name, end = (
            "NRRD header",
            min((at for at in (head.find(b"\n\n"), head.find(b"\r\n\r\n")) if at >= 0), default=-1),
        )
    else:
        name, at = "MetaImage header", head.find(b"ElementDataFile")
        end = head.find(b"\n", at) if at >= 0 else -1
    yield Place(name, head[: end if end >= 0 else len(head)], field=True)
    stream.seek(0)
    yield from blocks(stream)
