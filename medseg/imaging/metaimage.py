"""MetaImage files: MHA, and MHD with its data file.

The format is that of MetaIO. Its geometry is read here and not by ITK, which takes every missing field for an identity
and ignores units and intensity scaling.
"""

import io
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.imaging.affine import checked_grid, scaled
from medseg.imaging.payload import Codec, Layout, Payload, begins_as_gzip, open_file, read_values
from medseg.imaging.text_header import data_file, header_lines, numbers, text_values, whole_numbers
from medseg.volume import Note, Volume

__all__ = ["read_metaimage"]

TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
SYNONYMS = {
    "Position": "Offset", "Origin": "Offset", "Orientation": "TransformMatrix", "Rotation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}  # fmt: skip
MODALITIES = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_NM": "NM", "MET_MOD_US": "US"}
MM_PER_UNIT = {"mm": 1.0, "cm": 10.0, "um": 0.001}
# where an axis comes from when it runs along +x, +y, +z, -x, -y, -z of LPS
LETTERS = "RAILPS"
# Sum of the cosines between the axes and those that AnatomicalOrientation names: 3 where all are the same, 1 at most
# where one is turned by 90 degrees or mirrored, 1.7 at least where ITK names the axes of an oblique image.
SAME_AXES = 1.5
UNIT_LENGTH = 1e-3  # by which a row of the TransformMatrix may be longer or shorter than 1


def read_metaimage(path: Path) -> Volume:
    """Read an MHA file, or an MHD file with its data file; elements of several channels become channels.

    Returns
    -------
    Volume
        float32, in LPS mm. Notes: ``components``, ``orientation_assumed``, ``origin_assumed``, ``spacing_from_size``,
        ``byte_order_assumed``, ``anatomical_orientation``, ``center_of_rotation``, ``intensity_scaled``, ``unit``
        and those of the values.

    Raises
    ------
    GeometryError
        When the file has not three dimensions, no spacing, or neither an offset nor an orientation. Without one of
        the latter MetaIO's default, 0 or the identity, is taken and flagged.
    ImageError
        When it is damaged, cut off, or holds something else than grey values.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(open_file(path))
        fields = _fields(path, stream)
        (n_axes,) = whole_numbers(path, "NDims", fields["NDims"], 1)
        if n_axes != 3:
            raise GeometryError(f"{path}: has {n_axes} dimensions, a volume of 3 was expected")
        x, y, z = whole_numbers(path, "DimSize", fields["DimSize"], 3)
        if min(x, y, z) < 1:
            raise ImageError(f"{path}: has the DimSize {[x, y, z]}; an axis has no voxels")
        affine, geometry = _affine(path, fields)
        grid, more = checked_grid(path, (z, y, x), affine)
        layout, about = _layout(path, fields, (z, y, x))
        if fields["ElementDataFile"].upper() != "LOCAL":
            name = fields["ElementDataFile"]
            if name.upper().startswith("LIST") or "%" in name:
                raise ImageError(f"{path}: its data lie in several files, which is not supported; convert it into one")
            stream = stack.enter_context(open_file(data_file(path, name)))
        array, values = read_values(_payload(path, fields, stream, layout), layout)
    modality = MODALITIES.get(fields.get("Modality", ""), "")
    return Volume(array, grid, modality=modality, notes=geometry + more + about + values)


def _fields(path: Path, stream: BinaryIO) -> dict[str, str]:
    fields: dict[str, str] = {}
    lines = header_lines(path, stream, lambda line: line.startswith("ElementDataFile"))
    for number, line in enumerate(lines, start=1):
        name, mark, text = line.partition("=")
        name = SYNONYMS.get(name.strip(), name.strip())
        if not line.strip() or name == "Comment":
            continue
        if not mark or name in fields:
            raise ImageError(f"{path}: not a MetaImage header: its line {number} is no field, or one given twice")
        fields[name] = text.strip()
    if fields.get("ObjectType", "Image") != "Image":
        raise ImageError(f"{path}: its ObjectType is another than Image")
    for name in ("NDims", "DimSize", "ElementType", "BinaryData", "ElementDataFile"):
        if name not in fields:
            raise ImageError(f"{path}: damaged header, or not a MetaImage: it has no field {name}")
    return fields


def _affine(path: Path, fields: dict[str, str]) -> tuple[np.ndarray, tuple[Note, ...]]:
    notes = []
    if "ElementSpacing" not in fields and "ElementSize" in fields:  # MetaIO's own rule
        notes.append(Note("spacing_from_size", "no ElementSpacing: ElementSize is the spacing", warning=True))
    text = fields.get("ElementSpacing", fields.get("ElementSize"))
    if text is None:
        raise GeometryError(f"{path}: has no ElementSpacing: the size of its voxels is unknown; convert it again")
    spacing = np.array(numbers(path, "ElementSpacing", text, 3))
    if not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise GeometryError(f"{path}: spacing {spacing.tolist()} is not above 0 mm; correct its header")
    if "Offset" not in fields and "TransformMatrix" not in fields:
        raise GeometryError(
            f"{path}: has neither Offset nor TransformMatrix, so that nothing says how it lies in the patient; "
            "convert it again"
        )
    axes = np.eye(3)  # a row for each axis of the image
    if "TransformMatrix" in fields:
        axes = np.array(numbers(path, "TransformMatrix", fields["TransformMatrix"], 9)).reshape(3, 3)
        if not np.abs(np.linalg.norm(axes, axis=1) - 1).max() <= UNIT_LENGTH:
            raise GeometryError(f"{path}: the rows of its TransformMatrix {axes.tolist()} have not the length 1")
    else:
        text = "no TransformMatrix: the axes were taken to run to left, posterior, superior, MetaIO's default"
        notes.append(Note("orientation_assumed", text, warning=True))
    if "Offset" not in fields:
        notes.append(Note("origin_assumed", "no Offset: the first voxel was placed at 0, 0, 0", warning=True))
    affine = np.eye(4)
    affine[:3, :3] = axes.T * spacing
    affine[:3, 3] = numbers(path, "Offset", fields.get("Offset", "0 0 0"), 3)
    unit = fields.get("DistanceUnits", "?")
    if unit not in (*MM_PER_UNIT, "?"):
        raise GeometryError(f"{path}: its DistanceUnits are unknown; expected mm, cm or um")
    if MM_PER_UNIT.get(unit, 1.0) != 1.0:
        affine = scaled(affine, [MM_PER_UNIT[unit]] * 3)
        notes.append(Note("unit", f"lengths in {unit} were converted to mm", warning=True))
    return affine, (*notes, *_contradictions(path, fields, axes))


def _contradictions(path: Path, fields: dict[str, str], axes: np.ndarray) -> list[Note]:
    """What else the header says about the orientation; the TransformMatrix is believed."""
    notes = []
    along = np.concatenate([axes, -axes], axis=1)  # cosines of each axis with the directions of LETTERS
    stated = fields.get("AnatomicalOrientation", "").upper()
    if len(stated) == 3 and set(stated) <= set(LETTERS):
        agreement = sum(along[axis, LETTERS.index(letter)] for axis, letter in enumerate(stated))
        if agreement < SAME_AXES:
            code = "".join(LETTERS[k] for k in along.argmax(axis=1))
            text = f"AnatomicalOrientation says {stated}, the TransformMatrix {code}; the matrix was used"
            notes.append(Note("anatomical_orientation", text, warning=True))
    centre = numbers(path, "CenterOfRotation", fields.get("CenterOfRotation", "0 0 0"), 3)
    if any(centre) and not np.array_equal(axes, np.eye(3)):
        text = f"CenterOfRotation {centre} was ignored, as ITK does"
        notes.append(Note("center_of_rotation", text, warning=True))
    return notes


def _flag(path: Path, fields: dict[str, str], name: str) -> bool:
    text = fields.get(name, "False").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise ImageError(f"{path}: damaged header: {name} is neither True nor False")
    return text in ("true", "1", "t")


def _layout(path: Path, fields: dict[str, str], shape: tuple[int, int, int]) -> tuple[Layout, tuple[Note, ...]]:
    if fields["ElementType"] not in TYPES:
        raise ImageError(f"{path}: its ElementType is none of numbers, such as MET_SHORT")
    dtype = np.dtype(TYPES[fields["ElementType"]])
    notes = []
    if dtype.itemsize > 1 and _flag(path, fields, "BinaryData"):
        if "BinaryDataByteOrderMSB" not in fields:
            text = "the order of bytes is not stated: least significant first"
            notes.append(Note("byte_order_assumed", text, warning=True))
        dtype = dtype.newbyteorder(">" if _flag(path, fields, "BinaryDataByteOrderMSB") else "<")
    (channels,) = whole_numbers(path, "ElementNumberOfChannels", fields.get("ElementNumberOfChannels", "1"), 1)
    if channels < 1:
        raise ImageError(f"{path}: damaged header: ElementNumberOfChannels is {channels}")
    if channels > 1:
        notes.append(Note("components", f"{channels} components a voxel are channels"))
    prefix = "ElementToIntensityFunction"
    (slope,) = numbers(path, prefix + "Slope", fields.get(prefix + "Slope", "1"), 1)
    (intercept,) = numbers(path, prefix + "Offset", fields.get(prefix + "Offset", "0"), 1)
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise ImageError(f"{path}: cannot be scaled by the slope {slope} and offset {intercept}; correct them")
    if (slope, intercept) != (1.0, 0.0):
        text = f"values were scaled by the header's slope {slope:g} and offset {intercept:g}, which ITK ignores"
        notes.append(Note("intensity_scaled", text, warning=True))
    layout = Layout(dtype=dtype, shape=shape, channels=channels, interleaved=True, slope=slope, intercept=intercept)
    return layout, tuple(notes)


def _payload(path: Path, fields: dict[str, str], stream: BinaryIO, layout: Layout) -> Payload:
    (skip,) = whole_numbers(path, "HeaderSize", fields.get("HeaderSize", "0"), 1)
    compressed = _flag(path, fields, "CompressedData")
    if not _flag(path, fields, "BinaryData"):
        if compressed or skip:
            raise ImageError(f"{path}: compressed text, or text behind a header, is not supported; convert it again")
        return Payload(path, io.BytesIO(text_values(path, stream.read(), layout.dtype.str)))
    if skip < -1 or (skip > 0 and stream.tell() > 0) or (skip and compressed):
        raise ImageError(f"{path}: damaged header: HeaderSize is {skip}")
    if skip == -1:  # the image is the end of the file
        size = layout.size * layout.dtype.itemsize
        stream.seek(max(stream.seek(0, io.SEEK_END) - size, 0))  # what is too short is refused by its length
    codec: Codec = "raw"
    if compressed:  # MetaIO takes both
        codec = "gzip" if begins_as_gzip(stream) else "zlib"
    payload = Payload(path, stream, codec)
    payload.skip(max(skip, 0), "bytes before the image")
    return payload
