"""NRRD files, with the header inside (``.nrrd``) or of their own (``.nhdr``).

The format is that of teem ("Definition of NRRD File Format"). Its geometry is read here and not by ITK, which takes
every missing field for an identity and every unit for mm.
"""

import io
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.imaging.affine import checked_grid, scaled
from medseg.imaging.payload import Codec, Layout, Payload, open_file, read_values
from medseg.imaging.text_header import data_file, header_lines, numbers, text_values, whole_numbers
from medseg.volume import Note, Volume

__all__ = ["read_nrrd"]

# to LPS
SPACES = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1), "right-anterior-superior": (-1, -1, 1),
    "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip
MM_PER_UNIT = {"mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "cm": 10.0, "m": 1000.0, "um": 0.001, "µm": 0.001}
TYPES = {
    "i1": "signed char, int8, int8_t", "u1": "uchar, unsigned char, uint8, uint8_t",
    "i2": "short, short int, signed short, signed short int, int16, int16_t",
    "u2": "ushort, unsigned short, unsigned short int, uint16, uint16_t", "i4": "int, signed int, int32, int32_t",
    "u4": "uint, unsigned int, uint32, uint32_t",
    "i8": "longlong, long long, long long int, signed long long, signed long long int, int64, int64_t",
    "u8": "ulonglong, unsigned long long, unsigned long long int, uint64, uint64_t", "f4": "float", "f8": "double",
}  # fmt: skip
TYPE_OF_NAME = {name: code for code, names in TYPES.items() for name in names.split(", ")}
CODECS: dict[str, Codec] = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}
TEXT = ("ascii", "text", "txt", "hex")
COMPONENTS = (
    "vector",
    "covariant-vector",
    "normal",
    "point",
    "2-vector",
    "3-vector",
    "4-vector",
    "3-gradient",
    "3-normal",
)
SERIES = ("", "???", "none", "list", "time", "domain", "space", "scalar", "stub")


@dataclass(frozen=True, slots=True)
class _Axes:
    shape: tuple[int, int, int]  # z, y, x
    spatial: list[int]  # positions of x, y, z among the axes
    channels: int
    interleaved: bool
    notes: tuple[Note, ...]


def read_nrrd(path: Path) -> Volume:
    """Read an NRRD file; an axis without direction in space becomes channels.

    Returns
    -------
    Volume
        float32, in LPS mm. Notes: ``four_d``, ``components``, ``origin_assumed``, ``unit`` and those of the values.

    Raises
    ------
    GeometryError
        When the file does not say where its voxels are in the patient: no ``space directions``, or a ``space``
        that is not one of left-posterior-superior, right-anterior-superior, left-anterior-superior.
    ImageError
        When it is damaged, cut off, or holds something else than grey values.
    """
    with ExitStack() as stack:
        stream = stack.enter_context(open_file(path))
        fields = _fields(path, stream)
        directions = _directions(path, fields)
        axes = _axes(path, fields, directions)
        affine, notes = _affine(path, fields, [directions[axis] for axis in axes.spatial])
        grid, more = checked_grid(path, axes.shape, affine)
        layout = Layout(
            dtype=_dtype(path, fields), shape=axes.shape, channels=axes.channels, interleaved=axes.interleaved
        )
        if "datafile" in fields:
            stream = stack.enter_context(open_file(data_file(path, _one_file(path, fields["datafile"]))))
        elif path.suffix.lower() == ".nhdr":
            raise ImageError(f"{path}: a header of its own, but it names no data file")
        array, values = read_values(_payload(path, fields, stream, layout), layout)
    return Volume(array, grid, notes=axes.notes + notes + more + values)


def _fields(path: Path, stream: BinaryIO) -> dict[str, str]:
    """Return the fields by their names in small letters without spaces: teem knows 'data file' and 'datafile'."""
    lines = header_lines(path, stream, lambda line: not line)
    if not lines or not re.fullmatch(r"NRRD000\d", lines[0]):
        raise ImageError(f"{path}: not an NRRD file: it does not begin with NRRD000")
    fields: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        name, mark, text = line.partition(": ")
        if not line or line.startswith("#") or (":=" in line and line.index(":=") < len(name)):
            continue
        name = name.lower().replace(" ", "")
        if not mark or name in fields:
            raise ImageError(f"{path}: damaged header: its line {number} is no field, or one given twice")
        fields[name] = text.strip()
    for name in ("dimension", "type", "sizes", "encoding"):
        if name not in fields:
            raise ImageError(f"{path}: damaged header: it has no field {name}")
    return fields


def _directions(path: Path, fields: dict[str, str]) -> list[list[float] | None]:
    """Return a vector for each axis, None where it is not in space."""
    if "spacedirections" not in fields:
        raise GeometryError(
            f"{path}: has no space directions, so that nothing says how it lies in the patient; convert it again"
        )
    (n_axes,) = whole_numbers(path, "dimension", fields["dimension"], 1)
    text = fields["spacedirections"]
    vectors: list[list[float] | None] = []
    for part in re.findall(r"\([^()]*\)|[^\s()]+", text):
        if part.lower() == "none":
            vectors.append(None)
        elif part.startswith("("):
            vectors.append(_vector(path, "space directions", part))
        else:
            raise ImageError(f"{path}: damaged header: its space directions are not all vectors (x,y,z) or none")
    if len(vectors) != n_axes:
        raise ImageError(f"{path}: damaged header: {n_axes} axes, but {len(vectors)} space directions")
    return vectors


def _vector(path: Path, field: str, text: str) -> list[float]:
    if not re.fullmatch(r"\([^()]*\)", text):
        raise ImageError(f"{path}: damaged header: {field} is not a vector (x,y,z)")
    return numbers(path, field, text[1:-1].replace(",", " "), 3)


def _axes(path: Path, fields: dict[str, str], directions: list[list[float] | None]) -> _Axes:
    sizes = whole_numbers(path, "sizes", fields["sizes"], len(directions))
    if min(sizes) < 1:
        raise ImageError(f"{path}: has the sizes {sizes}; an axis has no voxels")
    spatial = [axis for axis, vector in enumerate(directions) if vector is not None]
    if len(spatial) != 3:
        raise GeometryError(f"{path}: has {len(spatial)} axes in space, a volume of 3 was expected")
    x, y, z = (sizes[axis] for axis in spatial)
    others = [axis for axis in range(len(sizes)) if axis not in spatial and sizes[axis] > 1]
    if not others:
        return _Axes((z, y, x), spatial, 1, False, ())
    (axis, *more) = others
    if more or spatial[0] < axis < spatial[2]:
        raise ImageError(f"{path}: has the sizes {sizes}; one axis besides x, y, z, the first or the last, can be read")
    kinds = fields.get("kinds", "").lower().split()
    kind = kinds[axis] if len(kinds) == len(sizes) else ""
    if kind in COMPONENTS:
        note = Note("components", f"{sizes[axis]} components a voxel ({kind}) are channels")
    elif kind in SERIES:
        text = f"4D: {sizes[axis]} volumes along an axis of the kind {kind or 'unknown'} were read as channels"
        note = Note("four_d", text, warning=True)
    else:
        raise ImageError(f"{path}: its kinds say colours or others, grey values were expected")
    return _Axes((z, y, x), spatial, sizes[axis], axis < spatial[0], (note,))


def _affine(
    path: Path, fields: dict[str, str], directions: list[list[float] | None]
) -> tuple[np.ndarray, tuple[Note, ...]]:
    space = fields.get("space", "").lower()
    if space not in SPACES:
        found = "its space is another" if space else "no space is stated"
        raise GeometryError(
            f"{path}: {found}, which does not say where left is; expected left-posterior-superior, "
            "right-anterior-superior or left-anterior-superior"
        )
    notes = []
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions, dtype=np.float64).T
    if "spaceorigin" in fields:
        affine[:3, 3] = _vector(path, "space origin", fields["spaceorigin"])
    else:
        notes.append(Note("origin_assumed", "no space origin: the first voxel was placed at 0, 0, 0", warning=True))
    units = re.findall(r'"([^"]*)"', fields.get("spaceunits", ""))
    if "spaceunits" in fields:
        if len(units) != 3 or any(unit.lower() not in MM_PER_UNIT for unit in units):
            raise GeometryError(f'{path}: its space units are unknown; expected "mm" three times')
        scale = [MM_PER_UNIT[unit.lower()] for unit in units]
        if scale != [1.0] * 3:
            notes.append(Note("unit", f"lengths in {', '.join(units)} were converted to mm", warning=True))
        affine = scaled(affine, scale)
    else:
        notes.append(Note("unit", "the unit of length is not stated: mm, as the format is used"))
    return scaled(affine, SPACES[space]), tuple(notes)


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype:
    name = fields["type"].lower()
    if name not in TYPE_OF_NAME:
        raise ImageError(f"{path}: its type is none of numbers, such as short")
    dtype = np.dtype(TYPE_OF_NAME[name])
    if dtype.itemsize == 1 or fields["encoding"].lower() in ("ascii", "text", "txt"):
        return dtype
    order = {"little": "<", "big": ">"}.get(fields.get("endian", "").lower())
    if order is None:
        raise ImageError(f"{path}: damaged header: endian must say little or big, the order of its bytes")
    return dtype.newbyteorder(order)  # type: ignore[arg-type]


def _one_file(path: Path, name: str) -> str:
    if name.upper().startswith("LIST") or re.search(r"%0?\d*d", name):
        raise ImageError(f"{path}: its data lie in several files, which is not supported; convert it into one")
    return name


def _payload(path: Path, fields: dict[str, str], stream: BinaryIO, layout: Layout) -> Payload:
    """Return the bytes of the values, whatever their encoding; lines are skipped before, bytes after decompression."""
    (lines,) = whole_numbers(path, "line skip", fields.get("lineskip", "0"), 1)
    (skip,) = whole_numbers(path, "byte skip", fields.get("byteskip", "0"), 1)
    encoding = fields["encoding"].lower()
    if encoding not in (*CODECS, *TEXT):
        raise ImageError(f"{path}: its encoding is unknown; expected one of {', '.join((*CODECS, *TEXT))}")
    if lines < 0 or skip < (-1 if encoding == "raw" else 0):
        raise ImageError(f"{path}: damaged header: line skip {lines} and byte skip {skip} of the encoding {encoding}")
    for _ in range(lines):
        if not stream.readline():
            raise ImageError(f"{path}: cut off or its header is wrong: it has fewer than {lines} lines to skip")
    if encoding in TEXT:
        stream.seek(skip, io.SEEK_CUR)
        values = text_values(path, stream.read(), layout.dtype.str, hexadecimal=encoding == "hex")
        return Payload(path, io.BytesIO(values))
    if skip == -1:
        size = layout.size * layout.dtype.itemsize
        stream.seek(max(stream.seek(0, io.SEEK_END) - size, 0))  # what is too short is refused by its length
    payload = Payload(path, stream, CODECS[encoding])
    payload.skip(max(skip, 0), "bytes to skip")
    return payload
