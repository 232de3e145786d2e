"""Writing volumes, masks and maps."""

from pathlib import Path

import numpy as np

from medseg.errors import OutputError
from medseg.files import atomic_path
from medseg.volume import Grid, Volume

__all__ = ["write_map", "write_mask", "write_volume"]


def write_volume(path: str | Path, volume: Volume) -> None:
    """Write a volume as NIfTI, NRRD, MHA or MHD, a projection image as PNG (16 bit) or NIfTI.

    Raises
    ------
    OutputError
        When the format cannot hold the image.
    """
    path = Path(path)
    name = path.name.lower()
    array = volume.array
    if np.array_equal(array, np.rint(array)) and np.abs(array).max(initial=0) < 2**15:
        array = array.astype(np.int16)
    if name.endswith((".nii", ".nii.gz")):
        from medseg.imaging.nifti import write_nifti

        write_nifti(path, array[0] if len(array) == 1 else array, volume.grid)
    elif name.endswith((".nrrd", ".mha", ".mhd")):
        from medseg.imaging.itk import write_itk

        if volume.is_projection:
            raise OutputError(f"{path}: this format needs patient coordinates, which a projection image has not")
        write_itk(path, array, volume.grid)
    elif name.endswith(".png") and volume.is_projection and len(array) == 1:
        _write_png(path, volume.array[0, 0])
    else:
        raise OutputError(f"{path}: expected .nii.gz, .nii, .nrrd, .mha or .mhd (.png for a projection image)")


def _write_png(path: Path, image: np.ndarray) -> None:
    from PIL import Image

    if not np.array_equal(image, np.rint(image)) or image.min() < 0 or image.max() > 65535:
        raise OutputError(f"{path}: PNG holds whole numbers from 0 to 65535 only; write NIfTI instead")
    values = image.astype(np.uint8 if image.max() < 256 else np.uint16)
    with atomic_path(path) as temporary:
        Image.fromarray(values).save(temporary)


def write_mask(path: str | Path, mask: np.ndarray, grid: Grid) -> None:
    """Write a mask of shape (z, y, x) as uint8 NIfTI in the geometry of `grid`."""
    from medseg.imaging.nifti import write_nifti

    write_nifti(Path(path), np.asarray(mask, dtype=np.uint8), grid)


def write_map(path: str | Path, values: np.ndarray, grid: Grid) -> None:
    """Write a map of shape (z, y, x) as float32 NIfTI in the geometry of `grid`."""
    from medseg.imaging.nifti import write_nifti

    write_nifti(Path(path), np.asarray(values, dtype=np.float32), grid)
