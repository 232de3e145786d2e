"""NIfTI-1 and NIfTI-2: ``.nii``, ``.nii.gz`` and pairs of ``.hdr`` and ``.img``."""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.imaging.affine import checked_grid
from medseg.imaging.nifti_geometry import nifti_affine
from medseg.imaging.payload import Layout, Payload, begins_as_gzip, open_file, read_values
from medseg.volume import Grid, Note, Volume

__all__ = ["PROJECTION", "OpenNifti", "open_nifti", "open_payload", "read_nifti"]

PROJECTION = b"projection image, unit px"  # written into descrip, so that such files are known again
MAGIC = {348: (b"n+1", b"ni1"), 540: (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n")}  # by sizeof_hdr: one file, a pair
TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
OTHER_TYPES = {
    1: "single bits", 32: "complex numbers", 128: "colours (RGB)", 1536: "128 bit floats", 1792: "complex numbers",
    2048: "complex numbers", 2304: "colours (RGBA)",
}  # fmt: skip
TIME_UNITS = {8: "s", 16: "ms", 24: "us", 32: "Hz", 40: "ppm", 48: "rad/s"}
LARGEST_OFFSET = 1 << 28  # bytes of header extensions; CIFTI's are some MB


def read_nifti(path: Path) -> Volume:
    """Read a NIfTI file; a fourth axis, or the fifth of vectors, becomes channels.

    Parameters
    ----------
    path : Path
        Of the image, or of either file of a pair.

    Returns
    -------
    Volume
        float32, scaled by scl_slope and scl_inter. Notes: ``four_d``, ``sform_qform``, ``pixdim_sform``,
        ``sheared``, ``unit``, ``unusual_spacing``, ``template_space``, ``precision``, ``not_finite``,
        ``trailing_data``.

    Raises
    ------
    GeometryError
        When the file does not say, without contradiction, where the voxels are.
    ImageError
        When it is Analyze 7.5, damaged, cut off, or holds something else than grey values.
    """
    with ExitStack() as stack:
        image = open_nifti(stack, path)
        array, values = read_values(image.payload, image.layout)
    return Volume(array, image.grid, notes=image.notes + values)


@dataclass(frozen=True, slots=True, eq=False)
class OpenNifti:
    """A NIfTI file whose header was read.

    Parameters
    ----------
    payload : Payload
        At the first voxel; its `taken` is the place of the image in the file's content.
    layout : Layout
        How the voxels lie there, one channel after the other.
    grid : Grid
        Where they are.
    notes : tuple of Note
        What the header gave cause for.
    """

    payload: Payload
    layout: Layout
    grid: Grid
    notes: tuple[Note, ...]


def open_nifti(stack: ExitStack, path: Path) -> OpenNifti:
    """Read the header of a NIfTI file, which stays open until `stack` is closed: see `read_nifti`."""
    header_path, data_path = _files(path)
    payload = open_payload(stack, header_path)
    header, paired = _header(payload)
    shape, channels, notes = _axes(path, header)
    layout = _layout(path, header, shape, channels)
    grid, geometry = _grid(path, header, shape)
    offset = _offset(path, header, paired)
    if paired and data_path == header_path:
        raise ImageError(f"{path}: the header of a pair, whose data lie in an .img file; name it .hdr")
    if paired:
        payload = open_payload(stack, data_path)
    payload.skip(offset - payload.taken, "space before the image")
    return OpenNifti(payload, layout, grid, notes + geometry)


def _files(path: Path) -> tuple[Path, Path]:
    """Return the files of the header and of the data: the same, but for a pair."""
    suffix = "".join(path.suffixes[-2:]) if path.name.lower().endswith(".gz") else path.suffix
    kinds = {".hdr": ".img", ".img": ".hdr"}
    kind = suffix.lower().removesuffix(".gz")
    if kind not in kinds:
        return path, path
    stem, other = path.name[: -len(suffix)], kinds[kind]
    candidates = [stem + ending for plain in (other, other.upper()) for ending in (plain, plain + ".gz")]
    partner = next((path.parent / name for name in candidates if (path.parent / name).is_file()), None)
    if partner is None:
        raise ImageError(f"{path}: half of a pair; its {other} file is missing beside it")
    return (path, partner) if kind == ".hdr" else (partner, path)


def open_payload(stack: ExitStack, path: Path) -> Payload:
    """Open the content of a NIfTI file, compressed or not, from its beginning on."""
    stream = stack.enter_context(open_file(path))
    return Payload(path, stream, "gzip" if begins_as_gzip(stream) else "raw")


def _header(payload: Payload) -> tuple[np.void, bool]:
    """Return the header by field names, and whether the data lie in another file."""
    from nibabel.nifti1 import header_dtype as version_1
    from nibabel.nifti2 import header_dtype as version_2

    path = payload.path
    start = payload.take(4, "header")
    for order in ("<", ">"):
        size = int(np.frombuffer(start, f"{order}i4")[0])
        if size in MAGIC:
            break
    else:
        raise ImageError(f"{path}: not a NIfTI file: its first number is neither 348 nor 540")
    layout: Any = (version_1 if size == 348 else version_2).newbyteorder(order)
    header: np.void = np.frombuffer(start + payload.take(size - 4, "header"), layout)[0]
    magic = bytes(header["magic"])
    if size == 540:  # the line ends show a transfer as text
        magic = magic.ljust(4, b"\0") + header["eol_check"].tobytes()
    if magic not in MAGIC[size]:
        if size == 348:
            raise ImageError(
                f"{path}: Analyze 7.5, or a damaged NIfTI file: its magic is not that of NIfTI. Analyze does not say "
                "where left is; convert from the original instead"
            )
        raise ImageError(f"{path}: a damaged NIfTI-2 file: its magic is wrong; was it transferred as text?")
    return header, magic == MAGIC[size][1]


def _axes(path: Path, header: np.void) -> tuple[tuple[int, int, int], int, tuple[Note, ...]]:
    """Return the shape (z, y, x), the number of channels, and what there is to say about them."""
    n_axes = int(header["dim"][0])
    if not 2 <= n_axes <= 7:
        raise ImageError(f"{path}: has {n_axes} axes; expected (x, y, z) or (x, y, z, channel)")
    sizes = [int(size) for size in header["dim"][1 : n_axes + 1]]
    if min(sizes) < 1:
        raise ImageError(f"{path}: has the shape {sizes} (x, y, z, ...); an axis has no voxels")
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    x, y, z, time, vector, *more = [*sizes, 1, 1, 1][: max(5, len(sizes))]
    if more or (time > 1 and vector > 1):
        raise ImageError(
            f"{path}: has the shape {sizes} (x, y, z, time, component, ...); one axis beyond x, y, z can be read; "
            "cut it into one file a component"
        )
    if vector > 1:
        return (z, y, x), vector, (Note("components", f"{vector} components a voxel are channels"),)
    if time > 1:
        unit = int(header["xyzt_units"]) & 0b111000
        step = float(header["pixdim"][4])
        kind = f"steps of {step:g} {TIME_UNITS[unit]}" if unit in TIME_UNITS else "an axis without unit"
        text = f"4D: {time} volumes along the fourth axis ({kind}) were read as channels"
        return (z, y, x), time, (Note("four_d", text, warning=True),)
    return (z, y, x), 1, ()


def _layout(path: Path, header: np.void, shape: tuple[int, int, int], channels: int) -> Layout:
    code = int(header["datatype"])
    if code not in TYPES:
        found = OTHER_TYPES.get(code, f"values of the unknown type {code}")
        raise ImageError(f"{path}: holds {found}, grey values were expected")
    dtype = np.dtype(TYPES[code]).newbyteorder(header.dtype["dim"].base.byteorder)
    if int(header["bitpix"]) != dtype.itemsize * 8:
        raise ImageError(
            f"{path}: contradictory header: type {dtype.name} has {dtype.itemsize * 8} bit, bitpix says "
            f"{int(header['bitpix'])}"
        )
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if np.isnan(slope) or slope == 0:  # nifti1.h: 0 means unscaled; nibabel writes NaN for it
        slope, intercept = 1.0, 0.0
    if not np.isfinite([slope, intercept]).all():
        raise ImageError(f"{path}: cannot be scaled by scl_slope {slope} and scl_inter {intercept}; correct them")
    return Layout(dtype=dtype, shape=shape, channels=channels, slope=slope, intercept=intercept)


def _grid(path: Path, header: np.void, shape: tuple[int, int, int]) -> tuple[Grid, tuple[Note, ...]]:
    if bytes(header["descrip"]).rstrip(b"\0") == PROJECTION:
        if shape[0] != 1:
            raise GeometryError(f"{path}: marked as a projection image, but has {shape[0]} slices")
        return Grid.projection(shape[1:]), ()
    affine, notes = nifti_affine(path, header, shape[::-1])
    grid, more = checked_grid(path, shape, affine)
    return grid, notes + more


def _offset(path: Path, header: np.void, paired: bool) -> int:
    """Where the image begins: after the header and the 4 bytes that announce extensions, but in a pair."""
    offset, least = float(header["vox_offset"]), 0 if paired else int(header["sizeof_hdr"]) + 4
    if not (least <= offset <= LARGEST_OFFSET) or offset != int(offset):
        raise ImageError(f"{path}: vox_offset {offset:g} is not a place behind the header ({least} bytes)")
    return int(offset)
