"""Stored values of the frames of a DICOM file, decoded by its transfer syntax."""

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from medseg.errors import ImageError
from medseg.imaging.dicom.decode_codecs import ENCAPSULATED, Decoded, decode_frame
from medseg.imaging.dicom.decode_element import (
    Fragment,
    PixelElement,
    frame_fragments,
    joined,
    pixel_element,
)
from medseg.imaging.dicom.decode_format import DEFLATED, PixelFormat
from medseg.imaging.dicom.decode_native import SHARED_CHROMA, check_native_length, native_frame

__all__ = ["Decoded", "PixelFormat", "read_frames"]

NATIVE_DECODER = "native"
KNOWN_FILES = 16  # multi-frame files whose fragments are remembered


def read_frames(path: str | Path, form: PixelFormat, frames: Sequence[int] = (0,)) -> Iterator[Decoded]:
    """Read frames of a file, one at a time, in the order asked for.

    The file is opened once, its header is not read again, and of its pixels no more than the frames asked for. There is
    no shared state: any number of threads may read one file or many, each with a call of its own. Decoders let the
    other threads run meanwhile.

    Parameters
    ----------
    path : str or Path
        The file.
    form : PixelFormat
        How its pixels are stored, of its header.
    frames : sequence of int
        0-based numbers of the frames.

    Yields
    ------
    Decoded
        ``array`` of shape (y, x), or (y, x, 3) for colours: stored values in their whole number or float type, with
        their sign, before any rescaling; ``decoder``, the name of what decoded it; ``photometric``, the colour space of
        the samples as they are now.

    Raises
    ------
    ImageError
        When the transfer syntax is unknown, when pixels are missing, cut off, damaged or of another size than the
        header says. Nothing is ever filled in.

    Examples
    --------
    >>> next(read_frames("slice.dcm", form)).array.shape  # doctest: +SKIP
    (512, 512)
    """
    path = Path(path)
    try:
        yield from _frames(path, form, frames)
    except ImageError as error:
        raise ImageError(f"{path}: {error}", code=error.code) from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror or error})") from error


def _frames(path: Path, form: PixelFormat, frames: Sequence[int]) -> Iterator[Decoded]:
    beyond = [number for number in frames if not 0 <= number < form.frames]
    if beyond:
        raise ImageError(f"holds the frames 0 to {form.frames - 1}, frame {beyond[0]} was asked for")
    if form.transfer_syntax == DEFLATED:
        yield from _native_frames(*_inflated(path), form, frames)
        return
    if not form.is_native and form.transfer_syntax not in ENCAPSULATED:
        raise ImageError(f"its transfer syntax {_name(form.transfer_syntax)} is not read; export it uncompressed")
    with path.open("rb") as stream:
        element = pixel_element(stream, form.offset)
        if form.is_native:
            yield from _native_frames(stream, element, form, frames)
            return
        if form.frames == 1:
            fragments = frame_fragments(stream, element, 1)
        else:
            about = os.fstat(stream.fileno())
            fragments = _fragments(path, form, (about.st_size, about.st_mtime_ns))
        for number in frames:
            yield decode_frame(joined(stream, fragments[number]), form)


@lru_cache(maxsize=KNOWN_FILES)  # frames are often read one by one, from several threads
def _fragments(path: Path, form: PixelFormat, state: tuple[int, int]) -> list[list[Fragment]]:
    """Where the frames of a file lie; `state`, its size and time, tells when it has changed."""
    with path.open("rb") as stream:
        return frame_fragments(stream, pixel_element(stream, form.offset), form.frames)


def _native_frames(
    stream: BinaryIO, element: PixelElement, form: PixelFormat, frames: Sequence[int]
) -> Iterator[Decoded]:
    check_native_length(element, form)
    photometric = form.photometric.removesuffix("_422") if form.photometric in SHARED_CHROMA else form.photometric
    for number in frames:
        yield Decoded(native_frame(stream, element, form, number), NATIVE_DECODER, photometric)


def _inflated(path: Path) -> tuple[BinaryIO, PixelElement]:
    """Pixel data of a file that is deflated as a whole: it can only be read as a whole."""
    import pydicom

    try:
        data = pydicom.dcmread(path)
        found = [name for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if name in data]
        value = bytes(data[found[0]].value) if found else b""
    except Exception as error:  # damaged streams raise many types; each means the same here
        raise ImageError(f"it cannot be inflated ({type(error).__name__}); copy the file again") from error
    if not found:
        raise ImageError("it has no pixel data: the file is cut off, or holds no image")
    return BytesIO(value), PixelElement(found[0], 0, len(value))


def _name(transfer_syntax: str) -> str:
    from pydicom.uid import UID

    uid = UID(transfer_syntax)
    return str(uid.name) if uid.is_valid and uid.is_transfer_syntax else "(unknown)"
