"""NIfTI files."""

from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.files import atomic_path
from medseg.volume import Grid, Volume

__all__ = ["read_nifti", "write_nifti"]

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
PROJECTION = b"projection image, unit px"  # written into descrip, so that such files are known again
LEVEL = 1  # of isal: larger files by a tenth, many times faster


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file; a fourth axis becomes channels.

    Raises
    ------
    GeometryError
        When neither sform nor qform says where the voxels are, or a spacing is not above 0.
    """
    import nibabel as nib

    try:
        image: Any = nib.load(path)
        stored = image.get_data_dtype()
        if stored.kind not in "iuf":
            raise ImageError(f"{path}: holds values of type {stored}, grey values were expected")
        values = np.asarray(image.dataobj, dtype=np.float32)
    except ImageError:
        raise
    except Exception as error:  # nibabel raises many types for damaged files; each means the same here
        raise ImageError(f"{path}: damaged or not a NIfTI file ({type(error).__name__}: {error})") from error
    if not isinstance(image, nib.Nifti1Image):
        raise ImageError(f"{path}: a {type(image).__name__}, not a NIfTI image")
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim not in (3, 4):
        raise ImageError(f"{path}: has the shape {values.shape}; expected (x, y, z) or (x, y, z, channel)")
    array = np.ascontiguousarray(values.T if values.ndim == 4 else values.T[None])  # (channel, z, y, x)
    if bytes(image.header["descrip"]).rstrip(b"\0") == PROJECTION:
        return Volume(array, Grid.projection(array.shape[2:]))  # type: ignore[arg-type]
    return Volume(array, Grid(array.shape[1:], _affine(image, path), "mm"))  # type: ignore[arg-type]


def _affine(image, path: Path) -> np.ndarray:  # type: ignore[no-untyped-def]
    header = image.header
    zooms = np.asarray(header.get_zooms()[:3], dtype=float)
    if not np.isfinite(zooms).all() or (zooms <= 0).any():
        raise GeometryError(f"{path}: spacing {zooms.tolist()} is not above 0 mm")
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        raise GeometryError(f"{path}: neither sform nor qform says where the voxels are; convert it again")
    affine = np.asarray(image.affine, dtype=float)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise GeometryError(f"{path}: its affine {affine.tolist()} cannot be inverted")
    if int(header["sform_code"]) and int(header["qform_code"]):
        other = np.asarray(header.get_qform(), dtype=float)
        corners = np.array([[0, 0, 0, 1], [*(np.array(image.shape[:3]) - 1), 1]], dtype=float)
        gap = float(np.abs(corners @ (affine - other).T).max())
        if gap > max(1.0, float(zooms.max())):
            raise GeometryError(f"{path}: sform and qform differ by up to {gap:.1f} mm; correct one of them")
    return RAS_TO_LPS @ affine


def write_nifti(path: Path, array: np.ndarray, grid: Grid) -> None:
    """Write `array`, shape (z, y, x) or (channel, z, y, x), in the geometry of `grid`, atomically."""
    import nibabel as nib
    from isal import igzip

    affine = np.eye(4) if grid.unit == "px" else RAS_TO_LPS @ grid.affine
    image = nib.Nifti1Image(np.asarray(array).T, affine)
    code = 0 if grid.unit == "px" else 1
    image.set_sform(affine, code)
    image.set_qform(affine, code)
    image.header.set_xyzt_units("unknown" if grid.unit == "px" else "mm")
    if grid.unit == "px":
        image.header["descrip"] = PROJECTION
    with atomic_path(path) as temporary:
        if path.name.endswith(".gz"):
            with igzip.open(temporary, "wb", compresslevel=LEVEL) as stream:
                stream.write(image.to_bytes())
        else:
            temporary.write_bytes(image.to_bytes())
