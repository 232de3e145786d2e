"""Decoders of compressed frames, by transfer syntax, in the order in which they are tried."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.decode_codestream import Codestream
from medseg.imaging.dicom.decode_format import PixelFormat
from medseg.imaging.dicom.decode_native import stored_values

__all__ = ["ENCAPSULATED", "Codec", "Decoded", "decode_frame"]

RLE = "1.2.840.10008.1.2.5"
JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # baseline (process 1), extended (2 and 4)
JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")  # process 14, and with the first predictor only
JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")

RLE_LARGEST = 64  # two bytes of RLE, a number and a value, stand for 128 bytes at most
LARGE = 2**20  # pixels from which the decoder of a single JPEG 2000 frame uses several threads
THREADS = 2
CODED_AS_YBR = ("YBR_RCT", "YBR_ICT")  # JPEG 2000 decoders undo these


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """A frame, the name of the decoder that read it and the colour space of its samples."""

    array: np.ndarray
    decoder: str
    photometric: str


@dataclass(frozen=True, slots=True)
class Codec:
    """A decoder: its name, and what makes samples of the bytes of a frame, of any whole number type and axis order."""

    name: str
    decode: Callable[[bytes, PixelFormat], np.ndarray]


def decode_frame(data: bytes, form: PixelFormat) -> Decoded:
    """Decode a frame with the first decoder that can.

    Raises
    ------
    ImageError
        When the codestream is cut off, or no decoder can read it, with the reason of each.
    """
    if form.transfer_syntax == RLE:
        code = None
    else:
        code = Codestream.of(data)
        _check(code, form)
    reasons = []
    for codec in ENCAPSULATED[form.transfer_syntax]:
        try:
            samples = np.asarray(codec.decode(data, form))
        except Exception as error:  # decoders raise many types for damaged data; each means the same here
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            reasons.append(f"{codec.name}: {reason}")
            continue
        return Decoded(_stored(_shaped(samples, form), code, form), codec.name, _colour_space(form))
    raise ImageError(f"its compressed pixel data cannot be decoded ({'; '.join(reasons)})")


def _check(code: Codestream, form: PixelFormat) -> None:
    """Refuse a frame that is not as the header says: some decoders would return it in another shape, or cut to size."""
    found, expected = (code.rows or form.rows, code.columns, code.samples), (form.rows, form.columns, form.samples)
    if found != expected:
        raise ImageError(
            f"its compressed pixel data have (rows, columns, samples) {found}, its header says {expected}: "
            "one of them is damaged"
        )
    if code.precision > form.bits_allocated:
        raise ImageError(f"its compressed pixel data have {code.precision} bit, its header says {form.bits_allocated}")


def _shaped(samples: np.ndarray, form: PixelFormat) -> np.ndarray:
    """(y, x) or (y, x, 3), whether or not the decoder kept axes of length one, or a plane for each colour."""
    if samples.shape == form.shape:
        return samples
    if form.samples == 3 and samples.shape == (3, form.rows, form.columns):
        return np.moveaxis(samples, 0, -1)
    if [size for size in samples.shape if size > 1] == [size for size in form.shape if size > 1]:
        return samples.reshape(form.shape)
    raise ImageError(f"its pixel data decode to the shape {samples.shape}, its header says {form.shape}")


def _stored(samples: np.ndarray, code: Codestream | None, form: PixelFormat) -> np.ndarray:
    """Decoded samples in the type that the header states, with their sign.

    Codestreams of JPEG and JPEG-LS know no sign, and those of JPEG 2000 may state another than the header. The header
    is followed, on as many bits as the codestream has: more of them would make positive what was below 0. Values that
    lossy coding lifted above the stored bits are left alone: clearing bits there would make black of white.
    """
    values = _cast(samples, form)
    if code is None or form.transfer_syntax in JPEG_LOSSLESS:
        return stored_values(values, form)
    is_jpeg_2000 = form.transfer_syntax in (*JPEG_2000, *HTJ2K)
    unused = form.bits_allocated - (code.precision if is_jpeg_2000 else min(code.precision, form.bits_stored))
    if code.signed != form.signed and unused > 0:
        values <<= unused
        values >>= unused
    return values


def _cast(samples: np.ndarray, form: PixelFormat) -> np.ndarray:
    if samples.dtype == form.dtype and samples.flags.writeable and samples.flags.c_contiguous:
        return samples
    return samples.astype(form.dtype, order="C")  # between signed and unsigned this keeps the bits


def _colour_space(form: PixelFormat) -> str:
    is_jpeg = form.transfer_syntax in JPEG and form.samples == 3
    return "RGB" if is_jpeg or form.photometric in CODED_AS_YBR else form.photometric


def _rle(data: bytes, form: PixelFormat) -> np.ndarray:
    import imagecodecs

    dtype = form.dtype.newbyteorder("<")
    expected = form.rows * form.columns * form.samples
    if expected * dtype.itemsize > len(data) * RLE_LARGEST:
        raise ImageError(f"{len(data)} bytes are too few for {expected} values")
    writable = bytearray(expected * dtype.itemsize)  # in which values can be changed later
    planes = np.frombuffer(imagecodecs.dicomrle_decode(data, dtype, out=writable), dtype)
    if len(planes) != expected:
        raise ImageError(f"{len(planes)} values, {expected} were expected")
    return np.moveaxis(planes.reshape(form.samples, form.rows, form.columns), 0, -1)  # RLE has a plane for each sample


def _jpeg(data: bytes, form: PixelFormat) -> np.ndarray:
    """Grey, or RGB: what the codestream says of its colours goes before the header. Lossless colours stay as coded."""
    import imagecodecs

    if form.samples == 1:
        return imagecodecs.jpeg8_decode(data)
    if form.transfer_syntax in JPEG_LOSSLESS:
        return imagecodecs.jpeg8_decode(data, colorspace="RGB", outcolorspace="RGB")
    coded = None if Codestream.of(data).says_colours else "RGB" if form.photometric == "RGB" else "YCBCR"
    return imagecodecs.jpeg8_decode(data, colorspace=coded, outcolorspace="RGB")


def _jpeg_ls(data: bytes, form: PixelFormat) -> np.ndarray:
    import imagecodecs

    return imagecodecs.jpegls_decode(data)


def _jpeg_2000(data: bytes, form: PixelFormat) -> np.ndarray:
    import imagecodecs

    threads = THREADS if form.rows * form.columns >= LARGE else 1
    return imagecodecs.jpeg2k_decode(data, numthreads=threads)


def _htj2k(data: bytes, form: PixelFormat) -> np.ndarray:
    import imagecodecs

    return imagecodecs.htj2k_decode(data)


def _by_pydicom(data: bytes, form: PixelFormat) -> np.ndarray:
    """Whichever plugin of pydicom is there."""
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder

    options: dict[str, Any] = {
        "rows": form.rows, "columns": form.columns, "number_of_frames": 1, "samples_per_pixel": form.samples,
        "photometric_interpretation": form.photometric, "bits_allocated": form.bits_allocated,
        "bits_stored": form.bits_stored, "pixel_representation": int(form.signed),
        "planar_configuration": form.planar, "pixel_keyword": "PixelData",
    }  # fmt: skip
    as_coded = form.transfer_syntax not in JPEG
    return get_decoder(form.transfer_syntax).as_array(encapsulate([data]), raw=as_coded, **options)[0]


def _by_simpleitk(data: bytes, form: PixelFormat) -> np.ndarray:
    """GDCM, which reads files alone and rescales: given one of this frame that states no rescaling."""
    import SimpleITK as sitk
    from pydicom import dcmwrite
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    if form.samples != 1:
        raise ImageError("colours are not read this way")
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = UID(form.transfer_syntax)
    image.SOPClassUID, image.SOPInstanceUID = SecondaryCaptureImageStorage, generate_uid()
    image.Rows, image.Columns, image.SamplesPerPixel = form.rows, form.columns, 1
    image.BitsAllocated, image.BitsStored, image.HighBit = form.bits_allocated, form.bits_stored, form.high_bit
    image.PixelRepresentation, image.PhotometricInterpretation = int(form.signed), "MONOCHROME2"
    image.PixelData = encapsulate([data])
    image["PixelData"].VR = "OB"
    with TemporaryDirectory() as folder:
        file = Path(folder) / "frame.dcm"
        dcmwrite(file, image, enforce_file_format=True)
        reader = sitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        return sitk.GetArrayFromImage(reader.Execute())


PYDICOM, SIMPLEITK = Codec("pydicom", _by_pydicom), Codec("simpleitk", _by_simpleitk)


def _table() -> dict[str, tuple[Codec, ...]]:
    """Decoders of each transfer syntax, in the order in which they are tried.

    imagecodecs is the first throughout: it decodes from memory, gives the stored values, and lets other threads run
    meanwhile, which the plugins of pydicom do not. ``scripts/bench/read.py`` measures whole series; here milliseconds
    for a slice of 512 x 512 of a synthetic CT, 16 bit, on one core, decoding alone:

    =====================  ===========  =========  ==============================================================
    transfer syntax        imagecodecs  SimpleITK
    =====================  ===========  =========  ==============================================================
    RLE                    0.22         15.4       pydicom 3.6
    JPEG baseline          0.25         1.2
    JPEG extended          1.3          3.0        Pillow, of pydicom, reads no 12 bit
    JPEG lossless          1.4          3.2        its `ljpeg` 2.3 and `jpegsof3` 4.0; without plugin none in pydicom
    JPEG-LS                4.1          4.8        pydicom 6.5
    JPEG 2000              24           24         all are OpenJPEG; SimpleITK uses two cores for one image
    HTJ2K                  1.0          4.0        OpenJPEG 2.1; without plugin none in pydicom
    =====================  ===========  =========  ==============================================================

    RLE has no second decoder: pydicom passes over damaged segments with a warning alone.
    """
    table: dict[str, tuple[Codec, ...]] = {RLE: (Codec("imagecodecs", _rle),)}
    for syntaxes, decode in (
        ((*JPEG, *JPEG_LOSSLESS), _jpeg),
        (JPEG_LS, _jpeg_ls),
        (JPEG_2000, _jpeg_2000),
        (HTJ2K, _htj2k),
    ):
        table |= {syntax: (Codec("imagecodecs", decode), PYDICOM, SIMPLEITK) for syntax in syntaxes}
    return table


ENCAPSULATED = _table()
