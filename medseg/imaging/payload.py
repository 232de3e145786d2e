"""Voxel values out of a file: decompressed and converted a slab at a time, so that memory holds the result only."""

import bz2
import io
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from isal import igzip_lib

from medseg.errors import ImageError
from medseg.imaging.precision import Float32Conversion
from medseg.volume import Note

__all__ = ["Codec", "Layout", "Payload", "begins_as_gzip", "convert_next", "open_file", "read_values"]

Codec = Literal["raw", "gzip", "zlib", "bzip2"]
SLAB = 1 << 20  # bytes; fits the cache, so that decoding, scaling and checking see main memory once
BLOCK = 1 << 18  # compressed bytes read at once
# The most bytes that one byte can become. Deflate: 258 bytes from 2 bits, 1032:1. bzip2: its run-length stage in
# front of 900 kB blocks, which hold 46 MB of equal bytes in some 46 bytes.
EXPANSION = {"raw": 1, "gzip": 1032, "zlib": 1032, "bzip2": 1_000_000}
TAIL = 1 << 24  # bytes after the image that are looked at before giving up on finding the end


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    ImageError
        When it cannot be opened.
    """
    try:
        return path.open("rb")
    except OSError as error:
        raise ImageError(f"{path}: cannot be opened ({error.strerror})") from error


def begins_as_gzip(stream: BinaryIO) -> bool:
    """Whether the content from the position of `stream` on, and not a name, says gzip; the position stays."""
    start = stream.read(2)
    stream.seek(-len(start), io.SEEK_CUR)
    return start == b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How numbers lie in a file whose fastest spatial axis is x.

    Parameters
    ----------
    dtype : numpy.dtype
        Type and byte order.
    shape : tuple of int
        Voxels along (z, y, x).
    channels : int
        Values a voxel.
    interleaved : bool
        Whether the values of a voxel lie together; otherwise one channel follows the other.
    slope, intercept : float
        Value = stored * `slope` + `intercept`.
    """

    dtype: np.dtype
    shape: tuple[int, int, int]
    channels: int = 1
    interleaved: bool = False
    slope: float = 1.0
    intercept: float = 0.0

    @property
    def size(self) -> int:
        """Numbers in all."""
        return math.prod(self.shape) * self.channels


class Payload:
    """The bytes of `stream` from its position on, decompressed on the way.

    Parameters
    ----------
    path : Path
        Named in messages.
    stream : binary file
        Must be seekable.
    codec : {"raw", "gzip", "zlib", "bzip2"}
        gzip and bzip2 may have several members, as parallel compressors write them.
    """

    def __init__(self, path: Path, stream: BinaryIO, codec: Codec = "raw") -> None:
        self.path = path
        self._stream = stream
        self._codec: Codec = codec
        self._engine = _engine(codec)
        self._waiting = b""
        self._taken = 0
        place = stream.tell()
        self._limit = (stream.seek(0, io.SEEK_END) - place) * EXPANSION[codec]
        stream.seek(place)

    def require(self, n_bytes: int, what: str) -> None:
        """Refuse, before anything is allocated, what the file is too short to hold.

        Raises
        ------
        ImageError
            When `n_bytes` more cannot come out of it.
        """
        if n_bytes > self._limit - self._taken:
            left = max(self._limit - self._taken, 0)
            most = "" if self._codec == "raw" else " at most, compressed as it is,"
            raise ImageError(
                f"{self.path}: cut off or its header is wrong: {what} of {n_bytes} bytes expected, "
                f"the file holds{most} {left}; fetch it again"
            )

    def take(self, n_bytes: int, what: str) -> bytes:
        """Return exactly `n_bytes`; `what` names them in messages."""
        self.require(n_bytes, what)
        parts = bytearray()
        while len(parts) < n_bytes:
            parts += self._part(min(SLAB, n_bytes - len(parts)), what, n_bytes, len(parts))
        return bytes(parts)

    @property
    def compressed(self) -> bool:
        """Whether the content can only be read forward."""
        return self._engine is not None

    @property
    def taken(self) -> int:
        """Bytes of content that were read or left out so far."""
        return self._taken

    def skip(self, n_bytes: int, what: str) -> None:
        """Leave `n_bytes` out; where nothing is compressed, they are not read."""
        self.require(n_bytes, what)
        if self._engine is None:
            self._stream.seek(n_bytes, io.SEEK_CUR)
            self._taken += n_bytes
            return
        done = 0
        while done < n_bytes:
            done += len(self._part(min(SLAB, n_bytes - done), what, n_bytes, done))

    def fill(self, view: memoryview, *, done: int, total: int) -> None:
        """Fill `view` with bytes, the image being read up to `done` of `total` bytes."""
        position = 0
        while position < len(view):
            part = self._part(len(view) - position, "image", total, done + position)
            view[position : position + len(part)] = part
            position += len(part)

    def rest(self) -> tuple[Note, ...]:
        """Read to the end, which proves the checksum, and note what follows the image."""
        found = 0
        while found < TAIL and (part := self._some(SLAB)):
            found += len(part)
        if not found:
            return ()
        amount = f"{found} bytes" if found < TAIL else "many bytes"
        return (Note("trailing_data", f"{amount} after the image were ignored", warning=True),)

    def _part(self, n_bytes: int, what: str, total: int, done: int) -> bytes:
        part = self._some(n_bytes)
        if not part:
            raise ImageError(
                f"{self.path}: cut off or its header is wrong: {what} of {total} bytes expected, {done} found; "
                "fetch it again"
            )
        return part

    def _some(self, n_bytes: int) -> bytes:
        """Return 1 to `n_bytes` bytes; none at the end."""
        try:
            part = self._stream.read(n_bytes) if self._engine is None else self._inflated(n_bytes)
        except (igzip_lib.IsalError, OSError, EOFError, ValueError) as error:  # type: ignore[misc]
            data = "data" if self._engine is None else "compressed data"
            raise ImageError(
                f"{self.path}: its {data} is damaged or cut off after {self._taken} bytes of content ({error}); "
                "fetch it again"
            ) from error
        self._taken += len(part)
        return part

    def _inflated(self, n_bytes: int) -> bytes:
        while True:
            if self._engine.eof and not self._next_member():
                return b""
            if self._engine.needs_input:
                data = self._waiting or self._stream.read(BLOCK)
                self._waiting = b""
            else:
                data = b""
            part = self._engine.decompress(data, n_bytes)
            if part:
                return bytes(part)
            if not data and self._engine.needs_input and not self._engine.eof:
                raise EOFError("the end of the stream is missing")

    def _next_member(self) -> bool:
        """Go on with the next gzip or bzip2 member, if there is one."""
        self._waiting = self._engine.unused_data or self._waiting or self._stream.read(BLOCK)
        while self._codec == "gzip" and self._waiting and not self._waiting.strip(b"\0"):  # tapes pad with zeros
            self._waiting = self._stream.read(BLOCK)
        if self._codec == "gzip":
            self._waiting = self._waiting.lstrip(b"\0")
        if self._codec == "zlib" or not self._waiting:
            return False
        self._engine = _engine(self._codec)
        return True


def _engine(codec: Codec) -> Any:
    if codec == "raw":
        return None
    if codec == "bzip2":
        return bz2.BZ2Decompressor()
    flag = igzip_lib.DECOMP_GZIP if codec == "gzip" else igzip_lib.DECOMP_ZLIB
    return igzip_lib.IgzipDecompressor(flag=flag)


def read_values(payload: Payload, layout: Layout) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Read an image.

    Returns
    -------
    ndarray, shape (channel, z, y, x)
        float32, contiguous.
    tuple of Note
        On precision, values that are not finite, and bytes left over.

    Raises
    ------
    ImageError
        When the file is shorter than `layout` says, damaged, or the image is larger than the memory.
    """
    total = layout.size * layout.dtype.itemsize
    payload.require(total, "image")
    _refuse_larger_than_memory(payload.path, layout)
    try:
        array = np.empty((layout.channels, *layout.shape), dtype=np.float32)
    except (MemoryError, ValueError) as error:
        raise ImageError(f"{payload.path}: an image of the shape {layout.shape} does not fit the memory") from error
    flat = array.reshape(layout.channels, -1)
    target = flat.T if layout.interleaved else array.reshape(-1, 1)  # rows in the order of the file
    convert = Float32Conversion(layout.dtype, layout.slope, layout.intercept)
    convert_next(payload, target, layout, convert)
    return array, convert.notes() + payload.rest()


def convert_next(
    payload: Payload, target: np.ndarray, layout: Layout, convert: Float32Conversion, *, done: int = 0
) -> None:
    """Fill `target`, float32 of shape (n, values that lie together), with the next numbers of the file.

    Parameters
    ----------
    done : int
        Bytes of the image that lie before them, named in messages.

    Raises
    ------
    ImageError
        When the file ends before, or is damaged.
    """
    total = layout.size * layout.dtype.itemsize
    rows = max(1, SLAB // (layout.dtype.itemsize * target.shape[1]))
    slab = np.empty((min(rows, len(target)), target.shape[1]), dtype=layout.dtype)
    raw = slab.view(np.uint8).reshape(-1).data
    for start in range(0, len(target), rows):
        part = slab[: len(target) - start]
        payload.fill(raw[: part.nbytes], done=done + start * slab.itemsize * target.shape[1], total=total)
        target[start : start + len(part)] = convert(part)


def _refuse_larger_than_memory(path: Path, layout: Layout) -> None:
    needed, memory = layout.size * 4, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ImageError(
            f"{path}: an image of {layout.channels} x {layout.shape} (z, y, x) needs {needed / 1e9:.1f} GB, "
            f"this computer has {memory / 1e9:.1f}; cut it into parts, or check its header"
        )
