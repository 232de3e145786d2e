"""What the header of a picture says that its decoder keeps to itself: bit depth, polarity, integrity."""

import struct
from dataclasses import dataclass
from pathlib import Path

from isal import isal_zlib
from PIL import Image, TiffImagePlugin

from medseg.errors import ImageError

__all__ = ["PictureHeader", "read_header"]

PNG = b"\x89PNG\r\n\x1a\n"
PNG_COLOURS = {0: "grey", 2: "colour", 3: "palette", 4: "grey with alpha", 6: "colour with alpha"}
BLOCK = 1 << 20
WHITE_IS_ZERO = 0  # TIFF 6.0, PhotometricInterpretation


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """The header of one picture.

    Parameters
    ----------
    bits : int
        A sample; of a palette, that of its colours.
    several_samples : bool
        Whether a pixel has more than one: colours, transparency.
    white_is_zero : bool
        Whether 0 is white, as in MONOCHROME1.
    orientation : int
        Of EXIF: 1 where the stored rows are to be shown as they are.
    """

    bits: int
    several_samples: bool
    white_is_zero: bool
    orientation: int


def read_header(picture: Image.Image, path: Path) -> PictureHeader:
    """Read the header of an opened picture, and check what its decoder does not.

    Raises
    ------
    ImageError
        When a PNG's checksums are wrong, or a TIFF does not state its polarity or asks to be turned.
    """
    orientation = int(picture.getexif().get(0x0112, 1))  # Orientation
    if picture.format == "PNG":
        bits, colour = _checked_png(path)
        return PictureHeader(8 if picture.mode == "P" else bits, colour not in (0, 3), False, orientation)
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tags = picture.tag_v2
        photometric = tags.get(262)  # PhotometricInterpretation
        if photometric is None:
            raise ImageError(f"{path}: does not say whether 0 is black or white; convert it from the original")
        bits = 8 if picture.mode == "P" else int(tags.get(258, (1,))[0])  # BitsPerSample
        if orientation != 1:  # Pillow turns it, other decoders do not, and some layouts come out scrambled
            raise ImageError(f"{path}: asks to be turned or flipped (orientation {orientation}); save it upright")
        samples = int(tags.get(277, 1))  # SamplesPerPixel
        return PictureHeader(bits, samples > 1, photometric == WHITE_IS_ZERO, orientation)
    return PictureHeader(8, len(picture.getbands()) > 1, False, orientation)  # Pillow refuses JPEG of 12 bit


def _checked_png(path: Path) -> tuple[int, int]:
    """Return bit depth and colour type, all checksums being right: Pillow does not look at those of the pixels."""
    with path.open("rb") as stream:
        stream.seek(len(PNG))
        depth = colour = -1
        while True:
            start = stream.read(8)
            if len(start) < 8:
                raise ImageError(f"{path}: cut off: the end of the PNG is missing; fetch it again")
            length, name = struct.unpack(">I4s", start)
            checksum, left, first = isal_zlib.crc32(name), length, b""
            while left and (part := stream.read(min(left, BLOCK))):
                checksum, left, first = isal_zlib.crc32(part, checksum), left - len(part), first or part
            stored = stream.read(4)
            if left or len(stored) < 4:
                raise ImageError(f"{path}: cut off: the end of the PNG is missing; fetch it again")
            if checksum != struct.unpack(">I", stored)[0]:
                raise ImageError(f"{path}: damaged: the checksum of one of its parts is wrong; fetch it again")
            if name == b"IHDR" and length >= 13:
                depth, colour = first[8], first[9]
            if name == b"IEND":
                break
    if colour not in PNG_COLOURS:
        raise ImageError(f"{path}: damaged: its header is missing")
    return depth, colour
