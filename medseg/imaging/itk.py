"""NRRD, MHA and MHD through SimpleITK."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import GeometryError, ImageError, OutputError
from medseg.files import atomic_path, output_errors
from medseg.volume import Grid, Volume

__all__ = ["read_itk", "to_itk", "write_itk"]


def read_itk(path: Path) -> Volume:
    """Read an NRRD or MetaImage file; components become channels.

    Raises
    ------
    GeometryError
        When the image has two dimensions only, or its spacing is not above 0.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ImageError(f"{path}: damaged or not readable ({reason})") from error
    if image.GetDimension() != 3:
        raise GeometryError(f"{path}: has {image.GetDimension()} dimensions, a volume of 3 was expected")
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    spacing = np.array(image.GetSpacing())
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise GeometryError(f"{path}: spacing {spacing.tolist()} is not above 0 mm")
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * spacing
    affine[:3, 3] = image.GetOrigin()
    return Volume(np.ascontiguousarray(array), Grid(array.shape[1:], affine, "mm"))


def to_itk(array: np.ndarray, grid: Grid):  # type: ignore[no-untyped-def]
    """Return a SimpleITK image of `array`, shape (z, y, x) or (channel, z, y, x), on `grid`.

    Raises
    ------
    GeometryError
        When the grid is sheared, which this kind of image cannot say.
    """
    import SimpleITK as sitk

    spacing = np.array(grid.spacing[::-1])
    direction = grid.affine[:3, :3] / spacing
    if np.abs(direction.T @ direction - np.eye(3)).max() > 1e-4:
        raise GeometryError("the axes of the volume are not at right angles, which this format cannot store")
    vector = array.ndim == 4 and array.shape[0] > 1
    values = np.moveaxis(array, 0, -1) if vector else array.reshape(array.shape[-3:])
    image = sitk.GetImageFromArray(np.ascontiguousarray(values), isVector=vector)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def write_itk(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write NRRD, MHA or MHD; MHD's second file (.zraw) is written beside it, first."""

    image = to_itk(array, grid)
    if path.suffix.lower() == ".mhd":
        with output_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix=".partial-", dir=path.parent))
        try:
            _write(image, folder / path.name, path)
            for file in sorted(folder.iterdir(), key=lambda file: file.suffix == ".mhd"):
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
