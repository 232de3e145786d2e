"""NRRD, MHA and MHD: reading by format, writing by SimpleITK."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import GeometryError, OutputError
from medseg.files import atomic_path, output_errors
from medseg.imaging.affine import RIGHT_ANGLE, shear
from medseg.volume import Grid, Volume

__all__ = ["read_itk", "to_itk", "write_itk"]


def read_itk(path: Path) -> Volume:
    """Read an NRRD or MetaImage file by its suffix: see `read_nrrd` and `read_metaimage`.

    Their headers are read here and not by ITK, which invents what is missing.
    """
    if path.suffix.lower() in (".nrrd", ".nhdr"):
        from medseg.imaging.nrrd import read_nrrd

        return read_nrrd(path)
    from medseg.imaging.metaimage import read_metaimage

    return read_metaimage(path)


def to_itk(array: np.ndarray, grid: Grid):  # type: ignore[no-untyped-def]
    """Return a SimpleITK image of `array`, shape (z, y, x) or (channel, z, y, x), on `grid`.

    Raises
    ------
    GeometryError
        When the array does not fit the grid, or the grid is sheared, which this kind of image cannot say.
    """
    import SimpleITK as sitk

    if array.shape[-3:] != grid.shape or array.ndim not in (3, 4):
        raise GeometryError(f"an array of the shape {array.shape} does not fit the grid {grid.shape}")
    spacing = np.array(grid.spacing[::-1])
    direction = grid.affine[:3, :3] / spacing
    if shear(grid.affine) > RIGHT_ANGLE:
        raise GeometryError("the axes of the volume are not at right angles, which this format cannot store")
    vector = array.ndim == 4 and array.shape[0] > 1
    values = np.moveaxis(array, 0, -1) if vector else array.reshape(array.shape[-3:])
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=vector)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def write_itk(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write NRRD, MHA or MHD; MHD's second file (.zraw) is written beside it, first.

    Raises
    ------
    OutputError
        When the format cannot hold the image, or the disk cannot.
    """
    try:
        image = to_itk(array, grid)
    except GeometryError as error:
        raise OutputError(f"{path}: {error}; write NIfTI instead") from error
    if path.suffix.lower() == ".mhd":
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
        try:
            _write(image, folder / path.name, path)
            with output_errors(path):
                path.unlink(missing_ok=True)  # an old header must not stand beside new data, even for a moment
                for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
                    os.replace(file, path.parent / file.name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    with atomic_path(path) as temporary:
        _write(image, temporary, path)


def _write(image: Any, temporary: Path, path: Path) -> None:
    import SimpleITK as sitk

    try:
        sitk.WriteImage(image, str(temporary), useCompression=True)
    except RuntimeError as error:
        raise OutputError(f"{path}: could not be written whole; is the disk full?") from error
