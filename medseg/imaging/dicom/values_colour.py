"""Colour images that show grey values, read as such; others are refused."""

from typing import Any

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.decode import Decoded
from medseg.imaging.picture import COLOUR_TOLERANCE
from medseg.volume import Note

__all__ = ["GREY", "to_grey"]

GREY = ("MONOCHROME1", "MONOCHROME2")
PALETTE = "PALETTE COLOR"
# of R, G and B in Y, Cb - 128, Cr - 128 (ITU-R BT.601, PS3.3 C.7.6.3.1.2)
FROM_YBR = np.array([[1.0, 0.0, 1.402], [1.0, -0.344136, -0.714136], [1.0, 1.772, 0.0]])


def to_grey(decoded: Decoded, header: Any) -> tuple[np.ndarray, Note | None]:
    """Return the grey values of a decoded frame.

    Colours are read as grey where the three channels agree as nearly as those of grey images that were stored as colour
    do. Grey frames are returned as they are.

    Parameters
    ----------
    decoded : Decoded
        A frame.
    header : pydicom.Dataset or None
        The whole header of the file; of a grey frame it is not looked at.

    Returns
    -------
    (ndarray of shape (y, x), Note or None)
        Stored values; or the mean of the channels in float32, and a note that says so.

    Raises
    ------
    ImageError
        When the colours carry meaning, or are of a kind that is not known.
    """
    if decoded.photometric in GREY:
        return decoded.array, None
    colours, highest = _rgb(decoded, header)
    spread = float((colours.max(axis=-1) - colours.min(axis=-1)).max()) / highest
    if spread > COLOUR_TOLERANCE:
        text = f"a colour image ({decoded.photometric}; its channels differ by up to {spread:.0%} of the range)"
        raise ImageError(f"{text}, grey was expected; convert it to grey knowingly first", code="colour")
    note = Note("grey_from_colour", f"colour image ({decoded.photometric}) of equal channels read as grey")
    return colours.mean(axis=-1).astype(np.float32), note


def _rgb(decoded: Decoded, header: Any) -> tuple[np.ndarray, float]:
    """Red, green and blue, float32 of shape (y, x, 3), and their highest possible value."""
    if decoded.photometric == PALETTE:
        colours = _of_palette(decoded.array, header)
        return colours.astype(np.float32), float(np.iinfo(colours.dtype).max)
    bits = int(header.BitsStored)
    values, highest = decoded.array.astype(np.float32), 2.0**bits - 1
    if decoded.photometric == "RGB":
        return values, highest
    if decoded.photometric == "YBR_FULL":
        values[..., 1:] -= 2.0 ** (bits - 1)
        return values @ FROM_YBR.T.astype(np.float32), highest
    text = f"a colour image ({decoded.photometric}), grey was expected; convert it to grey knowingly first"
    raise ImageError(text, code="colour")


def _of_palette(stored: np.ndarray, header: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    try:
        return apply_color_lut(stored, header)[..., :3]
    except Exception as error:  # damaged palettes raise many types; each means the same here
        text = f"its colour palette is damaged or missing ({type(error).__name__})"
        raise ImageError(text, code="colour") from error
