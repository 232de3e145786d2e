"""Pixel values of one DICOM image, decoded by its transfer syntax."""

from pathlib import Path

import numpy as np

from medseg.errors import ImageError

__all__ = ["pixels"]

HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
JPEG_FAMILY = "1.2.840.10008.1.2.4."  # JPEG, JPEG-LS, JPEG 2000: SimpleITK decodes these fastest


def pixels(path: Path) -> np.ndarray:
    """Decode one image, shape (y, x), float32, after rescale slope and intercept.

    Raises
    ------
    ImageError
        When the pixels are missing, damaged or in colour.
    """
    import pydicom

    try:
        data = pydicom.dcmread(path)
        syntax = str(data.file_meta.get("TransferSyntaxUID", ""))
        if int(data.get("SamplesPerPixel", 1)) != 1:
            raise ImageError(f"{path}: a colour image ({data.get('PhotometricInterpretation')}), grey was expected")
        if syntax in HTJ2K:
            stored = _high_throughput(data)
        elif syntax.startswith(JPEG_FAMILY):
            return _by_itk(path)
        else:
            stored = data.pixel_array
    except ImageError:
        raise
    except Exception as error:  # decoders raise many types for damaged pixels; each means the same here
        raise ImageError(f"{path}: its pixels cannot be decoded ({type(error).__name__}: {error})") from error
    slope, intercept = float(data.get("RescaleSlope", 1) or 1), float(data.get("RescaleIntercept", 0) or 0)
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _high_throughput(data) -> np.ndarray:  # type: ignore[no-untyped-def]
    import imagecodecs
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(data.PixelData, number_of_frames=1))
    return np.asarray(imagecodecs.htj2k_decode(frame))


def _by_itk(path: Path) -> np.ndarray:
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    array = sitk.GetArrayFromImage(reader.Execute())  # rescaled by the reader
    return array.reshape(array.shape[-2:]).astype(np.float32)
