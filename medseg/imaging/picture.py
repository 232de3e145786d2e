"""PNG, JPEG and TIFF: projection images without patient coordinates."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from medseg.errors import ImageError
from medseg.volume import Grid, Note, Volume

__all__ = ["read_picture"]

COLOUR_TOLERANCE = 6  # grey JPEGs stored as colour differ by rounding


def read_picture(path: Path) -> Volume:
    """Read a picture of 8 or 16 bit as grey values.

    Raises
    ------
    ImageError
        When the file is damaged or its colours carry meaning.
    """
    try:
        with Image.open(path) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise ImageError(f"{path}: holds {picture.n_frames} pictures, one was expected; save them one by one")  # type: ignore[attr-defined]
            picture.load()
            values, note = _grey(picture, path)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path}: damaged or not a picture ({error})") from error
    values = np.ascontiguousarray(values, dtype=np.float32)
    return Volume(values[None, None], Grid.projection(values.shape), notes=note)  # type: ignore[arg-type]


def _grey(picture: Image.Image, path: Path) -> tuple[np.ndarray, tuple[Note, ...]]:
    if picture.mode in ("L", "I", "F", "1") or picture.mode.startswith("I;16"):
        return np.asarray(picture), ()
    colours = np.asarray(picture.convert("RGB")).astype(np.int16)
    if (colours.max(axis=2) - colours.min(axis=2)).max() > COLOUR_TOLERANCE:
        raise ImageError(f"{path}: a colour picture (mode {picture.mode}); convert it to grey knowingly first")
    return colours.mean(axis=2), (Note("grey_from_colour", "colour picture of equal channels read as grey"),)
