"""Writing NIfTI, compressed by isal, a slab at a time."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import OutputError
from medseg.files import atomic_path
from medseg.imaging.affine import RIGHT_ANGLE, scaled, shear
from medseg.imaging.nifti import PROJECTION
from medseg.imaging.nifti_geometry import RAS_TO_LPS
from medseg.volume import Grid

__all__ = ["nifti_header", "open_output", "write_nifti"]

LEVEL = 1  # of isal: as small as zlib's level 1, several times faster
THREADS = min(4, os.cpu_count() or 1)  # more only wait for the one that writes
WORTH_THREADS = 1 << 23  # bytes; their start costs as long as 2 MB
SLAB = 1 << 20  # voxels
NIFTI_1_AXIS = 2**15 - 1  # its sizes are int16; longer axes need NIfTI-2
SCANNER = 1  # NIFTI_XFORM_SCANNER_ANAT


def write_nifti(path: Path, array: np.ndarray, grid: Grid, *, dtype: Any = None) -> None:
    """Write `array`, shape (z, y, x) or (channel, z, y, x), in the geometry of `grid`, atomically.

    Parameters
    ----------
    dtype : numpy type, optional
        To store the values as, which must hold them exactly; that of `array` by default.

    Raises
    ------
    OutputError
        When the array does not fit the grid.
    """
    array = np.asarray(array)
    if array.shape[-3:] != grid.shape or array.ndim not in (3, 4):
        raise OutputError(f"{path}: an array of the shape {array.shape} does not fit the grid {grid.shape}")
    dtype = np.dtype(dtype or array.dtype).newbyteorder("=")
    header = nifti_header(array.shape, grid, dtype)
    with atomic_path(path) as temporary, open_output(temporary, array.size * dtype.itemsize) as stream:
        stream.write(header)
        for slab in _slabs(array, dtype):
            stream.write(slab)


def open_output(path: Path, n_bytes: int) -> AbstractContextManager[Any]:
    """Open a file for about `n_bytes`, which are compressed on the way where its name ends on ``.gz``."""
    from isal import igzip_threaded

    if not path.name.lower().endswith(".gz"):  # a temporary path keeps its suffixes
        return path.open("wb")
    if n_bytes < WORTH_THREADS:
        return _one_thread(path)
    return igzip_threaded.open(path, "wb", compresslevel=LEVEL, threads=THREADS)


@contextmanager
def _one_thread(path: Path) -> Iterator[Any]:
    """Without name and time in the header, as the threads write it: the same image is the same bytes."""
    from isal import igzip

    with path.open("wb") as file, igzip.IGzipFile("", "wb", compresslevel=LEVEL, fileobj=file, mtime=0) as stream:
        yield stream


def _slabs(array: np.ndarray, dtype: np.dtype) -> Iterator[memoryview]:
    """Yield the bytes of an array in the order of the file, x fastest, without a copy of it all."""
    slices = max(1, SLAB // max(1, array.shape[-1] * array.shape[-2]))
    for volume in [array] if array.ndim == 3 else array:
        for start in range(0, len(volume), slices):
            yield np.ascontiguousarray(volume[start : start + slices], dtype=dtype).data.cast("B")


def nifti_header(shape: tuple[int, ...], grid: Grid, dtype: np.dtype) -> bytes:
    """Return what stands before the voxels: the header, and that there are no extensions.

    Parameters
    ----------
    shape : tuple of int
        (z, y, x) or (channel, z, y, x).
    """
    import nibabel as nib

    header: Any = nib.Nifti2Header() if max(shape) > NIFTI_1_AXIS else nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape[::-1])
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    header["scl_slope"], header["scl_inter"] = 1, 0
    header["pixdim"][0] = 1
    _place(header, grid, len(shape) - 3)
    return bytes(header.binaryblock) + bytes(4)


def _place(header: Any, grid: Grid, more_axes: int) -> None:
    if grid.unit == "px":
        header["descrip"] = PROJECTION
        header.set_sform(np.eye(4), 0)
        return
    affine = scaled(grid.affine, RAS_TO_LPS)
    header.set_zooms((*grid.spacing[::-1], *[1.0] * more_axes))
    if shear(grid.affine) <= RIGHT_ANGLE:  # a quaternion cannot say more
        header.set_qform(affine, SCANNER)
    header.set_sform(affine, SCANNER)
    header.set_xyzt_units("mm")
