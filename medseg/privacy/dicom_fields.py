"""Elements of a DICOM object."""

from collections.abc import Iterator
from typing import Any, BinaryIO

from medseg.imaging.quiet import quiet_pydicom
from medseg.privacy.place import Nested, Place, blocks

__all__ = ["dicom_places"]

PIXEL_DATA = (0x7FE00008, 0x7FE00009, 0x7FE00010)
MOST_VALUES = 10_000  # of one element that are joined


def dicom_places(stream: BinaryIO, nested: Nested) -> Iterator[Place]:
    """Every element, private ones and those of nested items too, and the whole file."""
    yield from _elements(stream)
    stream.seek(0)
    yield from blocks(stream)


def _elements(stream: BinaryIO) -> list[Place]:
    import pydicom

    found: list[Place] = []
    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(stream, force=True)
            for element in [*dataset.file_meta, *dataset.iterall()]:
                if element.tag not in PIXEL_DATA and element.VR != "SQ":
                    found += _values(element)
        except Exception:  # damaged objects raise many types; each means the same here
            found.append(Place("DICOM", problem="damaged DICOM object: its bytes were searched, not all its elements"))
    return found


def _values(element: Any) -> Iterator[Place]:
    private = "private " if element.tag.is_private else ""
    kind = f"{private}DICOM element {element.tag}"
    if isinstance(element.value, bytes):
        yield Place(kind, element.value, field=True)
        return
    values = element.value if element.VM > 1 else [element.value]
    texts = [str(value) for value in list(values)[:MOST_VALUES]]
    yield Place(kind, "\n".join(texts).encode("utf-8", "replace"), field=True)
    for value in values:
        raw = getattr(value, "original_string", b"")  # of a name, which may be in another encoding than it says
        if isinstance(raw, bytes) and not raw.isascii():
            yield Place(kind, raw, field=True)
