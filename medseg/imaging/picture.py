"""PNG, JPEG and TIFF: projection images without patient coordinates.

The densities that PNG (pHYs), JPEG (JFIF) and TIFF (XResolution) may state are those of a print, not of the detector:
they are never taken for a pixel spacing.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from medseg.errors import ImageError
from medseg.imaging.bit_depth import bit_depth_note
from medseg.imaging.picture_header import PictureHeader, read_header
from medseg.imaging.precision import Float32Conversion
from medseg.volume import Grid, Note, Volume

__all__ = ["read_picture"]

FORMATS = ("PNG", "JPEG", "TIFF")
COLOUR_TOLERANCE = 6 / 255  # of the range: grey JPEGs stored as colour differ by rounding
SHORT_SCALE = {2: 85, 4: 17}  # Pillow stretches values of 2 and 4 bit to 8


def read_picture(path: Path) -> Volume:
    """Read a picture of 1 to 32 bit as grey values: the stored pixels, large values white.

    Returns
    -------
    Volume
        A projection image without pixel spacing. Notes: ``bit_depth`` (always), ``white_is_zero``,
        ``grey_from_colour``, ``exif_orientation``, ``transparency``, ``precision``, ``not_finite``.

    Raises
    ------
    ImageError
        When the file is damaged, cut off, holds several pictures, or its colours carry meaning.
    """
    # Another library may have asked for grey instead of an error. Not set back: other threads may be reading too.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path, formats=FORMATS) as picture:
            frames = getattr(picture, "n_frames", 1)
            if frames > 1:
                raise ImageError(f"{path}: holds {frames} pictures, one was expected; save them one by one")
            header = read_header(picture, path)
            picture.load()
            values, notes = _grey(picture, header, path)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{path}: {_why_unknown(path)}") from error
    except Exception as error:  # Pillow raises many types for damaged files; each means the same here
        reason = getattr(error, "strerror", None) or type(error).__name__  # its message may quote the file
        raise ImageError(f"{path}: damaged or cut off ({reason}); fetch it again") from error
    convert = Float32Conversion(values.dtype)
    values = convert(values)
    notes += _about(header) + convert.notes()
    return Volume(values[None, None], Grid.projection(values.shape), notes=notes)  # type: ignore[arg-type]


def _about(header: PictureHeader) -> tuple[Note, ...]:
    notes = [bit_depth_note(header.bits)]
    if header.white_is_zero:
        notes.append(Note("white_is_zero", "0 is white in the file: values were inverted"))
    if header.orientation != 1:
        text = f"the header asks to turn or flip it (orientation {header.orientation}); the stored pixels were kept"
        notes.append(Note("exif_orientation", text, warning=True))
    return tuple(notes)


def _why_unknown(path: Path) -> str:
    """Say why Pillow cannot read a file; of a JPEG, the precision in its frame header (ITU-T T.81, B.2.2)."""
    with path.open("rb") as stream:
        data = stream.read(1 << 20)
    place = 2
    while data[:2] == b"\xff\xd8" and data[place : place + 1] == b"\xff" and place + 9 < len(data):
        marker = data[place + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a frame, no table
            if data[place + 4] != 8:
                return f"a JPEG of {data[place + 4]} bit, 8 were expected; convert it to PNG of 16 bit"
            break
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return "damaged, or not a PNG, JPEG or TIFF of a kind that can be read"


def _grey(picture: Image.Image, header: PictureHeader, path: Path) -> tuple[np.ndarray, tuple[Note, ...]]:
    """Return grey values, shape (y, x), large ones white."""
    if header.several_samples or picture.mode == "P":
        return _from_colour(picture, header, path)
    notes = _transparent("transparency" in picture.info)
    values = np.asarray(picture)
    if picture.mode == "1":
        return values.astype(np.uint8), notes
    if header.bits in SHORT_SCALE:
        return values // SHORT_SCALE[header.bits], notes
    if picture.mode == "L" or not header.white_is_zero:  # Pillow inverts up to 8 bit
        return values, notes
    if picture.mode.startswith("I;16"):
        return (2**header.bits - 1 - values.astype(np.int32)), notes
    raise ImageError(
        f"{path}: 0 is white, in a range that is not known ({header.bits} bit); convert it from the original"
    )


def _from_colour(picture: Image.Image, header: PictureHeader, path: Path) -> tuple[np.ndarray, tuple[Note, ...]]:
    if header.white_is_zero or picture.mode not in ("RGB", "RGBA", "LA", "P", "PA", "YCbCr", "RGBX"):
        raise ImageError(f"{path}: a picture of the mode {picture.mode}, grey was expected; convert it knowingly first")
    if header.bits <= 8 or picture.mode == "P":
        with_alpha, full = np.asarray(picture.convert("RGBA")), 255
    elif picture.format == "PNG":
        import imagecodecs

        full = 65535
        with_alpha = imagecodecs.png_decode(path.read_bytes())  # Pillow keeps 8 bit of each colour
    else:
        raise ImageError(f"{path}: colours of {header.bits} bit in a {picture.format}; save it as grey of 16 bit")
    n_colours = 3 if with_alpha.shape[2] >= 3 else 1
    colours, alpha = with_alpha[..., :n_colours], with_alpha[..., n_colours:]
    if np.ptp(colours, axis=2).max() > COLOUR_TOLERANCE * full:
        raise ImageError(f"{path}: a colour picture (mode {picture.mode}); convert it to grey knowingly first")
    notes = _transparent("transparency" in picture.info or bool((alpha < full).any()))
    if n_colours == 3 and picture.mode != "LA":
        notes += (Note("grey_from_colour", "colour picture of equal channels read as grey"),)
    return colours.mean(axis=2, dtype=np.float32), notes  # exact for equal channels of 16 bit


def _transparent(found: bool) -> tuple[Note, ...]:
    if not found:
        return ()
    return (Note("transparency", "some pixels are marked transparent; their values were kept", warning=True),)
