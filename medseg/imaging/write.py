"""Writing volumes, masks and maps."""

from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import OutputError
from medseg.files import atomic_path
from medseg.imaging.bit_depth import stored_bits
from medseg.volume import Grid, Volume

__all__ = ["write_map", "write_mask", "write_volume"]

WHOLE_NUMBERS = 2**24  # float32 skips whole numbers beyond


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume as NIfTI, NRRD, MHA or MHD, a projection image as PNG or NIfTI.

    Whole numbers are stored as int16, uint16 or int32, the first that holds them; other values as float32. A PNG has
    16 bit when the image was read with more than 8 or holds values above 255. Formats of pictures have no place for
    the pixel spacing.

    Raises
    ------
    OutputError
        When the format cannot hold the image.
    """
    path = Path(path)
    name = path.name.lower()
    array = volume.array
    if name.endswith((".nii", ".nii.gz")):
        from medseg.imaging.nifti_write import write_nifti

        write_nifti(path, array[0] if len(array) == 1 else array, volume.grid, dtype=_stored_type(array))
    elif name.endswith((".nrrd", ".mha", ".mhd")):
        from medseg.imaging.itk import write_itk

        if volume.is_projection:
            raise OutputError(f"{path}: this format needs patient coordinates, which a projection image has not")
        write_itk(path, array.astype(_stored_type(array), copy=False), volume.grid)
    elif name.endswith(".png") and volume.is_projection and len(array) == 1:
        _write_png(path, volume)
    else:
        raise OutputError(f"{path}: expected .nii.gz, .nii, .nrrd, .mha or .mhd (.png for a projection image)")


def _stored_type(array: np.ndarray) -> type[Any]:
    """Return the smallest type that holds every value of an array of shape (channel, z, y, x) exactly."""
    low = high = 0.0
    for volume in array:
        for slice_ in volume:
            lowest, highest = float(slice_.min(initial=0)), float(slice_.max(initial=0))
            # NaN fails the comparison
            if not (lowest >= -WHOLE_NUMBERS and highest <= WHOLE_NUMBERS) or (slice_ != np.rint(slice_)).any():
                return np.float32
            low, high = min(low, lowest), max(high, highest)
    for kind in (np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.int32


def _write_png(path: Path, volume: Volume) -> None:
    from PIL import Image

    image = volume.array[0, 0]
    if not np.array_equal(image, np.rint(image)) or image.min() < 0 or image.max() > 65535:
        raise OutputError(f"{path}: PNG holds whole numbers from 0 to 65535 only; write NIfTI instead")
    deep = (stored_bits(volume) or 8) > 8 or image.max() > 255
    values = image.astype(np.uint16 if deep else np.uint8)
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary)


def write_mask(path: str | Path, mask: np.ndarray, grid: Grid) -> None:
    """Write a mask of shape (z, y, x) as uint8 NIfTI in the geometry of `grid`.

    Raises
    ------
    OutputError
        When the mask does not fit the grid, or its labels are not whole numbers from 0 to 255.
    """
    from medseg.imaging.nifti_write import write_nifti

    mask = np.asarray(mask)
    with np.errstate(invalid="ignore"):  # NaN, refused below
        labels = mask.astype(np.uint8, copy=False)
    if not np.array_equal(labels, mask):
        raise OutputError(f"{path}: the labels of a mask are whole numbers from 0 to 255, others were found")
    write_nifti(Path(path), labels, grid)


def write_map(path: str | Path, values: np.ndarray, grid: Grid) -> None:
    """Write a map of shape (z, y, x) as float32 NIfTI in the geometry of `grid`.

    Raises
    ------
    OutputError
        When the map does not fit the grid.
    """
    from medseg.imaging.nifti_write import write_nifti

    write_nifti(Path(path), np.asarray(values), grid, dtype=np.float32)
