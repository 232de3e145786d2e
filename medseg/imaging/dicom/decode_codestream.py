"""What a JPEG, JPEG-LS or JPEG 2000 codestream says of itself, before it is decoded."""

import struct
from dataclasses import dataclass

from medseg.errors import ImageError

__all__ = ["Codestream"]

END_OF_IMAGE = b"\xff\xd9"  # of each of them; coded data cannot hold it
SIZ = b"\xff\x4f\xff\x51"  # start of a JPEG 2000 codestream and of its size segment
START_OF_FRAME = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)  # of JPEG, JPEG lossless and JPEG-LS
# segments that say what the colours of a JPEG codestream are, and their least length: shorter ones are not obeyed
COLOUR_SEGMENTS = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14)}


@dataclass(frozen=True, slots=True)
class Codestream:
    """Head of a codestream.

    Parameters
    ----------
    rows, columns, samples : int
        Size of the image; `rows` is 0 where a JPEG codestream says it at its end.
    precision : int
        Bits of a sample.
    signed : bool
        Whether samples are signed; JPEG and JPEG-LS cannot say so.
    says_colours : bool
        Whether a JPEG codestream says itself what its colours are.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    says_colours: bool = False

    @classmethod
    def of(cls, data: bytes) -> "Codestream":
        """Read the head of a frame.

        Raises
        ------
        ImageError
            When it is damaged, or the codestream has no end: decoders fill what is missing without a word.
        """
        if data.rfind(END_OF_IMAGE) < 0:
            raise ImageError("its compressed pixel data are cut off: they have no end mark; copy the file again")
        try:
            return cls._of_jpeg(data) if data[:2] == b"\xff\xd8" else cls._of_jpeg_2000(data)
        except (IndexError, ValueError, struct.error) as error:
            raise ImageError("its compressed pixel data are damaged at their start; copy the file again") from error

    @classmethod
    def _of_jpeg(cls, data: bytes) -> "Codestream":
        """ITU-T T.81 B.2: segments up to the start of frame, each with its length, which counts itself."""
        at, says_colours = 2, False
        while (marker := data[at + 1]) not in START_OF_FRAME:
            if data[at] != 0xFF:
                raise ValueError("no segment")
            if marker == 0xFF:  # a fill byte
                at += 1
                continue
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            mark, least = COLOUR_SEGMENTS.get(marker, (b"", 0))
            says_colours |= bool(mark) and length >= least and data.startswith(mark, at + 4)
            at += 2 + length
        precision, rows, columns, samples = struct.unpack_from(">BHHB", data, at + 4)
        names = data[at + 10 : at + 10 + 3 * samples : 3]
        return cls(rows, columns, samples, precision, False, says_colours or names == b"RGB")

    @classmethod
    def _of_jpeg_2000(cls, data: bytes) -> "Codestream":
        """ISO/IEC 15444-1 A.5.1: the size segment follows the start, which a JP2 file has inside."""
        start = data.index(SIZ)
        right, lower, left, upper = struct.unpack_from(">4I", data, start + 8)
        (samples,) = struct.unpack_from(">H", data, start + 40)
        depth = data[start + 42]
        return cls(lower - upper, right - left, samples, (depth & 0x7F) + 1, bool(depth & 0x80))
