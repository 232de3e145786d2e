"""A DICOM data set in each transfer syntax that hospitals use."""

from copy import deepcopy

import imagecodecs
import numpy as np
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
LOSSLESS = (
    uid.RLELossless,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
)
LOSSY = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless, uid.JPEG2000, uid.HTJ2K)
SYNTAXES = (*NATIVE, *LOSSLESS, *LOSSY)
NEAR = 2  # largest error of near-lossless JPEG-LS here


def can_encode(dataset: Dataset, transfer_syntax: str) -> bool:
    """Whether the transfer syntax holds pixels of this depth; JPEG baseline has 8 bit, extended 12, RLE any."""
    if transfer_syntax in NATIVE:
        return True
    if dataset.BitsAllocated == 1:
        return False
    most = {uid.JPEGBaseline8Bit: 8, uid.JPEGExtended12Bit: 12, uid.RLELossless: 64}.get(transfer_syntax, 16)
    unsigned_only = transfer_syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit, uid.JPEGLSNearLossless)
    return dataset.BitsStored <= most and not (unsigned_only and dataset.PixelRepresentation)


def encode(dataset: Dataset, transfer_syntax: str) -> Dataset:
    """Return a copy of a little-endian native `dataset` in `transfer_syntax`, ready for ``dcmwrite``.

    Signed values go into JPEG and JPEG-LS, which know no sign, as the bits of their two's complement.
    """
    syntax = uid.UID(transfer_syntax)
    frames = _frames(dataset)
    result = deepcopy(dataset)
    result.file_meta.TransferSyntaxUID = syntax
    if syntax == uid.ExplicitVRBigEndian:
        _to_big_endian(result)
    if syntax in NATIVE:
        return result
    if syntax in (uid.JPEGLSLossless, uid.JPEGLSNearLossless):  # this encoder knows samples of 9 to 15 bits
        result.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
        options = {"jls_error": NEAR} if syntax == uid.JPEGLSNearLossless else {}
        result.compress(syntax, generate_instance_uid=False, **options)
        return result
    result.PixelData = encapsulate([_frame(frame, dataset, syntax) for frame in frames])
    result["PixelData"].VR, result["PixelData"].is_undefined_length = "OB", True
    if dataset.SamplesPerPixel == 3:
        result.PlanarConfiguration = 0
        result.PhotometricInterpretation = _photometric(syntax, dataset.PhotometricInterpretation)
    if syntax in LOSSY:
        result.LossyImageCompression = "01"
    return result


def _frames(dataset: Dataset) -> np.ndarray:
    """Stored values of shape (frame, y, x) or (frame, y, x, 3)."""
    array = dataset.pixel_array
    return array if int(dataset.get("NumberOfFrames", 1)) > 1 else array[None]


def _to_big_endian(dataset: Dataset) -> None:
    size = dataset.BitsAllocated // 8
    if size > 1:
        dataset.PixelData = np.frombuffer(dataset.PixelData, f"<u{size}").astype(f">u{size}").tobytes()
    dataset["PixelData"].VR = "OW" if size > 1 else "OB"


def _photometric(syntax: uid.UID, photometric: str) -> str:
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        return "YBR_FULL"
    if syntax in (uid.JPEG2000Lossless, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL):
        return "YBR_RCT"
    return "YBR_ICT" if syntax in (uid.JPEG2000, uid.HTJ2K) else photometric


def _frame(frame: np.ndarray, dataset: Dataset, syntax: uid.UID) -> bytes:
    bits = int(dataset.BitsStored)
    unsigned = frame.view(f"u{frame.itemsize}") & np.array((1 << bits) - 1, f"u{frame.itemsize}")
    if syntax == uid.RLELossless:
        return rle_encode(frame)
    if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
        sampling = {"subsampling": "444"} if frame.ndim == 3 else {}
        return bytes(imagecodecs.jpeg8_encode(unsigned, level=95, bitspersample=8 if bits <= 8 else 12, **sampling))
    if syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1):
        colours = {"colorspace": "RGB", "outcolorspace": "RGB"} if frame.ndim == 3 else {}
        predictor = 1 if syntax == uid.JPEGLosslessSV1 else 6
        return bytes(
            imagecodecs.jpeg8_encode(unsigned, lossless=True, predictor=predictor, bitspersample=bits, **colours)
        )
    if syntax in (uid.JPEG2000Lossless, uid.JPEG2000):
        quality = {"level": 0, "reversible": True} if syntax == uid.JPEG2000Lossless else {"level": 70}
        return bytes(imagecodecs.jpeg2k_encode(frame, codecformat="J2K", bitspersample=bits, **quality))
    return bytes(
        imagecodecs.htj2k_encode(
            frame, reversible=syntax != uid.HTJ2K, tlm=syntax == uid.HTJ2KLosslessRPCL, rgb=frame.ndim == 3
        )
    )


def rle_encode(frame: np.ndarray) -> bytes:
    """PS3.5 annex G: a plane for each byte of each sample, the most significant first, rows packed one by one."""
    samples = frame.reshape(*frame.shape[:2], -1)
    planes = [
        np.ascontiguousarray(samples[..., sample]).view(np.uint8).reshape(*frame.shape[:2], -1)[..., byte]
        for sample in range(samples.shape[-1])
        for byte in reversed(range(frame.itemsize))
    ]
    segments = [bytes(imagecodecs.packbits_encode(np.ascontiguousarray(plane))) for plane in planes]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    header = np.zeros(16, "<u4")
    header[0] = len(segments)
    header[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])  # the header itself has 64 bytes
    return header.tobytes() + b"".join(segments)
