"""From stored values to what they mean: rescaling, lookup tables, padding, polarity (PS3.3 C.11.1, C.7.5.1.1.2)."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.decode_format import BIG_ENDIAN, PixelFormat
from medseg.imaging.precision import WHOLE_NUMBERS, Float32Conversion
from medseg.volume import Note

__all__ = [
    "LookupTable",
    "PixelPadding",
    "Rescale",
    "invert",
    "is_inverted",
    "modality_transform",
    "padding_darkest",
]


@dataclass(frozen=True, slots=True)
class Rescale:
    """Value = stored * slope + intercept (PS3.3 C.11.1.1.2).

    Raises
    ------
    ImageError
        When the slope is 0 or one of them is not finite.

    Examples
    --------
    >>> out = np.empty((1, 2), np.float32)
    >>> Rescale(1.0, -1024.0).apply(np.array([[0, 1064]], np.uint16), out)
    ()
    >>> out
    array([[-1024.,    40.]], dtype=float32)
    """

    slope: float = 1.0
    intercept: float = 0.0

    def __post_init__(self) -> None:
        if self.slope == 0 or not (isfinite(self.slope) and isfinite(self.intercept)):
            text = f"damaged DICOM header: values would be stored * {self.slope} + {self.intercept}"
            raise ImageError(f"{text}, a finite slope other than 0 was expected")

    def apply(self, stored: np.ndarray, out: np.ndarray) -> tuple[Note, ...]:
        """Write the values of `stored` into `out`, float32 of the same shape; return what that cost.

        Whole numbers are calculated in float32 where that is exact; otherwise in float64, and rounded once.
        """
        whole = self.slope.is_integer() and self.intercept.is_integer()
        if whole and stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2:
            largest = abs(self.slope) * 2**16 + abs(self.intercept)
            if largest < WHOLE_NUMBERS:
                out[...] = stored
                if self.slope != 1:
                    out *= np.float32(self.slope)
                if self.intercept:
                    out += np.float32(self.intercept)
                return ()
        convert = Float32Conversion(stored.dtype, self.slope, self.intercept)
        out[...] = convert(stored)
        return convert.notes()


@dataclass(frozen=True, slots=True, eq=False)
class LookupTable:
    """A table of values, of stored values from `first` on; what lies beyond takes its first or last entry.

    Parameters
    ----------
    first : int
        Stored value of the first entry.
    entries : ndarray of float, shape (n,)
        Values.
    bits : int
        Bits of an entry.
    """

    first: int
    entries: np.ndarray
    bits: int

    @classmethod
    def of(cls, item: Any, *, signed: bool, little_endian: bool = True) -> "LookupTable":
        """Read LUT Descriptor and LUT Data of a sequence item (PS3.3 C.11.1.1.1).

        Raises
        ------
        ImageError
            When they are missing or contradict each other.
        """
        try:
            count, first, bits = (int(value) for value in item.LUTDescriptor)
            data = item.LUTData
        except (AttributeError, TypeError, ValueError) as error:
            raise ImageError("damaged DICOM header: a lookup table without LUT Descriptor or LUT Data") from error
        count = count or 2**16  # which a 16 bit number cannot say
        if signed and first >= 2**15:  # the descriptor was read as unsigned
            first -= 2**16
        if isinstance(data, bytes):
            dtype = np.dtype("u1") if len(data) in (count, count + 1) and bits <= 8 else np.dtype("u2")
            dtype = dtype.newbyteorder("<" if little_endian else ">")
            entries = np.frombuffer(data, dtype, count=len(data) // dtype.itemsize)
        else:
            entries = np.atleast_1d(np.asarray(data, dtype=np.int64))
        if not 1 <= bits <= 16 or len(entries) < count:
            text = f"a lookup table of {len(entries)} entries, its descriptor says {count} of {bits} bit"
            raise ImageError(f"damaged DICOM header: {text}")
        return cls(first, entries[:count].astype(np.float64) % (1 << bits), bits)

    def apply(self, stored: np.ndarray, out: np.ndarray) -> tuple[Note, ...]:
        """Write the values of `stored`, whole numbers or floats, into `out`, float32 of the same shape."""
        index = np.clip(np.floor(stored.astype(np.float64)) - self.first, 0, len(self.entries) - 1).astype(np.intp)
        out[...] = self.entries[index]
        return ()

    def inverted(self) -> "LookupTable":
        """The table of an image whose lowest value is white: black and white of its output exchanged."""
        return LookupTable(self.first, (1 << self.bits) - 1 - self.entries, self.bits)


def modality_transform(dataset: Any) -> Rescale | LookupTable:
    """What makes modality values of the stored values of a classic image: its Modality LUT, or slope and intercept.

    Raises
    ------
    ImageError
        When they are damaged.
    """
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        signed = int(dataset.get("PixelRepresentation", 0) or 0) == 1
        syntax = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", ""))
        return LookupTable.of(tables[0], signed=signed, little_endian=syntax != BIG_ENDIAN)
    return Rescale(_number(dataset, "RescaleSlope", 1.0), _number(dataset, "RescaleIntercept", 0.0))


@dataclass(frozen=True, slots=True)
class PixelPadding:
    """Stored values that are padding: those from `low` to `high`, both included (PS3.3 C.7.5.1.1.2)."""

    low: int
    high: int

    @classmethod
    def of(cls, dataset: Any, form: PixelFormat) -> "PixelPadding | None":
        """Read Pixel Padding Value and Range Limit; None where there is none, or no stored value can have it."""
        value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
        if value is None or value == "":
            return None
        low, high = sorted(_in_sign(int(end), form) for end in (value, value if limit in (None, "") else limit))
        lowest = -(1 << form.bits_stored - 1) if form.signed else 0
        highest = lowest + (1 << form.bits_stored) - 1
        return cls(low, high) if lowest <= high and low <= highest else None

    def mask(self, stored: np.ndarray) -> np.ndarray:
        """Where `stored` is padding, bool."""
        return stored == self.low if self.low == self.high else (stored >= self.low) & (stored <= self.high)

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low} to {self.high}"


def padding_darkest(stored: np.ndarray, padding: PixelPadding, *, inverted: bool) -> tuple[np.ndarray, int]:
    """Give padding the darkest real value, so that it spoils neither percentiles nor a change of polarity.

    Parameters
    ----------
    stored : ndarray
        Stored values of a radiograph.
    inverted : bool
        Whether the highest value is the darkest: see `is_inverted`.

    Returns
    -------
    (ndarray, int)
        A copy, and the number of pixels replaced. An image of padding alone is left as it is.
    """
    mask = padding.mask(stored)
    count = int(np.count_nonzero(mask))
    if count in (0, stored.size):
        return stored, count
    real = stored[~mask]
    return np.where(mask, real.max() if inverted else real.min(), stored), count


def is_inverted(dataset: Any) -> bool:
    """Whether the lowest value is white: MONOCHROME1, or Presentation LUT Shape INVERSE (PS3.3 C.11.6).

    The two of them together say so once: INVERSE is the shape that MONOCHROME1 must have (PS3.3 C.8.11.3.1.2).
    """
    shape = str(dataset.get("PresentationLUTShape", "") or "").strip()
    return str(dataset.get("PhotometricInterpretation", "")).strip() == "MONOCHROME1" or shape == "INVERSE"


def invert(stored: np.ndarray, form: PixelFormat) -> np.ndarray:
    """Exchange black and white of stored values, by the bits of the header and not by the values that happen to occur.

    Value v becomes 2**bits - 1 - v, or -1 - v of signed ones: the range of the stored bits is mapped onto itself.

    Raises
    ------
    ImageError
        When values are floats, whose range no header states.

    Examples
    --------
    >>> from dataclasses import replace
    >>> form = PixelFormat("1.2.840.10008.1.2.1", 0, 1, 3, 1, 1, 16, 12, 11, False, 0, "MONOCHROME1")
    >>> invert(np.array([0, 95, 4095], np.uint16), form)
    array([4095, 4000,    0], dtype=uint16)
    >>> invert(np.array([-2048, 0, 2047], np.int16), replace(form, signed=True))
    array([ 2047,    -1, -2048], dtype=int16)
    """
    if stored.dtype.kind not in "iu":
        raise ImageError("MONOCHROME1 of float pixels: no header says which value is black, so it cannot be inverted")
    highest = -1 if form.signed else (1 << form.bits_stored) - 1
    return stored.dtype.type(highest) - stored


def _in_sign(value: int, form: PixelFormat) -> int:
    """A number of ambiguous sign, as the pixels are signed."""
    value &= (1 << form.bits_allocated) - 1
    return value - (1 << form.bits_allocated) if form.signed and value >> form.bits_allocated - 1 else value


def _number(item: Any, keyword: str, default: float) -> float:
    value = item.get(keyword)
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise ImageError(f"damaged DICOM header: {keyword} is not one number") from error
