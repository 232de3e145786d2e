"""How the pixels of a DICOM file are stored: what of its header a decoder needs (PS3.3 C.7.6.3, PS3.5 8)."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from medseg.errors import ImageError

__all__ = ["PixelFormat"]

IMPLICIT, EXPLICIT, BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
NATIVE = (IMPLICIT, EXPLICIT, BIG_ENDIAN, DEFLATED)
PHOTOMETRIC = {  # PS3.3 C.7.6.3.1.2, with those that are retired
    "MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422",
    "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT", "XYB", "HSV", "ARGB", "CMYK",
}  # fmt: skip
ALLOCATED = (1, 8, 16, 32, 64)  # bits that are kept for a sample
LARGEST = 65535  # rows and columns are 16 bit numbers


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of one file are stored. Small and picklable; made once, of the header.

    Parameters
    ----------
    transfer_syntax : str
        UID of the encoding.
    offset : int
        Byte of the file at which the pixel data element (its tag) starts. Of no use for the deflated syntax.
    rows, columns, frames, samples : int
        Size of the image; 1 or 3 samples a pixel.
    bits_allocated, bits_stored, high_bit : int
        Bits kept for a sample, used by it, and number of its most significant bit.
    signed : bool
        Whether samples are two's complement.
    planar : int
        0: the samples of a pixel lie together (R G B R G B); 1: each sample has a plane.
    photometric : str
        Photometric Interpretation, such as ``MONOCHROME2`` or ``RGB``.
    """

    transfer_syntax: str
    offset: int
    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    planar: int
    photometric: str

    def __post_init__(self) -> None:
        allocated, stored = self.bits_allocated, self.bits_stored
        for name, value, allowed in (
            ("Rows", self.rows, 1 <= self.rows <= LARGEST),
            ("Columns", self.columns, 1 <= self.columns <= LARGEST),
            ("NumberOfFrames", self.frames, self.frames >= 1),
            ("SamplesPerPixel", self.samples, self.samples in (1, 3)),
            ("BitsAllocated", allocated, allocated in ALLOCATED and (allocated > 1 or self.samples == 1)),
            ("BitsStored", stored, 1 <= stored <= allocated),
            ("HighBit", self.high_bit, stored - 1 <= self.high_bit < allocated),
            ("PlanarConfiguration", self.planar, self.planar in (0, 1)),
        ):
            if not allowed:
                raise ImageError(f"damaged DICOM header: {name} is {value}, which no image has; export the file again")

    @classmethod
    def of(cls, dataset: Any, offset: int) -> "PixelFormat":
        """Take the format from a header that was read up to its pixels.

        Parameters
        ----------
        dataset : pydicom.Dataset
            The header.
        offset : int
            ``stream.tell()`` after ``pydicom.dcmread(stream, stop_before_pixels=True)``.

        Raises
        ------
        ImageError
            When a value is missing or impossible.
        """
        samples = _whole(dataset, "SamplesPerPixel", 1)
        allocated = _whole(dataset, "BitsAllocated")
        stored = _whole(dataset, "BitsStored", allocated)  # float pixel data state neither this nor what follows
        representation = _whole(dataset, "PixelRepresentation", 0)
        if representation not in (0, 1):
            raise ImageError(f"damaged DICOM header: PixelRepresentation is {representation}, expected 0 or 1")
        photometric = str(dataset.get("PhotometricInterpretation", "") or "").strip()
        if not photometric:
            raise ImageError("damaged DICOM header: it does not state PhotometricInterpretation, so not what is white")
        if photometric and photometric not in PHOTOMETRIC:
            raise ImageError("damaged DICOM header: PhotometricInterpretation is none of the standard's")
        return cls(
            transfer_syntax=_transfer_syntax(dataset),
            offset=offset,
            rows=_whole(dataset, "Rows"),
            columns=_whole(dataset, "Columns"),
            frames=_whole(dataset, "NumberOfFrames", 1),
            samples=samples,
            bits_allocated=allocated,
            bits_stored=stored,
            high_bit=_whole(dataset, "HighBit", stored - 1),
            signed=representation == 1,
            planar=_whole(dataset, "PlanarConfiguration", 0),
            photometric=photometric,
        )

    @property
    def dtype(self) -> np.dtype:
        """Type of a stored whole number, in the byte order of this machine."""
        return np.dtype(f"{'i' if self.signed else 'u'}{max(self.bits_allocated // 8, 1)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a decoded frame: (y, x), or (y, x, 3) for colours."""
        return (self.rows, self.columns) if self.samples == 1 else (self.rows, self.columns, self.samples)

    @property
    def is_native(self) -> bool:
        """Whether the pixels are not compressed one by one."""
        return self.transfer_syntax in NATIVE


def _whole(dataset: Any, keyword: str, default: int | None = None) -> int:
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            if default is None:
                raise ImageError(f"damaged DICOM header: it does not state {keyword}")
            return default
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"damaged DICOM header: {keyword} is not one whole number") from error


def _transfer_syntax(dataset: Any) -> str:
    """As the file states, or as pydicom found it to be where there is no file meta information."""
    stated = str(getattr(dataset, "file_meta", {}).get("TransferSyntaxUID", "") or "")
    if stated:
        return stated
    implicit, little_endian = getattr(dataset, "original_encoding", (True, True))
    return IMPLICIT if implicit else EXPLICIT if little_endian else BIG_ENDIAN
