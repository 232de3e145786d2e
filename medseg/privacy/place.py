"""One place at which an identifier may stand."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

__all__ = ["Nested", "Place", "Reader", "blocks", "within"]

BLOCK = 1 << 24  # bytes
OVERLAP = 1 << 10  # bytes of the block before, so that nothing is cut in two


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes to search, and where they stand.

    Parameters
    ----------
    kind : str
        Such as ``content`` or ``PNG tEXt chunk``; never text of the file itself.
    data : bytes
    field : bool
        Whether it is a field of a header, which may be padded, rather than a stretch of a file.
    problem : str
        Why this place could not be searched; empty where it can.
    """

    kind: str
    data: bytes = b""
    field: bool = False
    problem: str = ""


Nested = Callable[[BinaryIO], Iterator[Place]]  # the places of a file that is packed in another
Reader = Callable[[BinaryIO, Nested], Iterator[Place]]  # the places of one format


def blocks(stream: BinaryIO, kind: str = "content") -> Iterator[Place]:
    """Yield the rest of a file in overlapping blocks."""
    before = b""
    while block := stream.read(BLOCK):
        yield Place(kind, before + block)
        before = block[-OVERLAP:]


def within(outer: str, places: Iterator[Place]) -> Iterator[Place]:
    """Name the places of a packed file after what it is packed in."""
    for place in places:
        yield replace(place, kind=f"{outer}: {place.kind}")
