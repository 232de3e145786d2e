"""Series of every kind that a DICOM reader meets, whose right reading is known: `write_matrix_series`.

The content of a series is a function of the position in the patient (`Content`), so that geometry is checked by the
values that lie at a position, whatever grid a reader returns.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from dicom_matrix_files import Plane, write_classic, write_enhanced

ORIENTATIONS = ("axial", "coronal", "sagittal", "oblique", "double_oblique")
ROWS, COLUMNS = 20, 24
SPACING = (1.5, 1.25)  # mm between rows, between columns
PITCH = 3.0  # mm between slices, along the normal
FEW = {"one": 1, "two": 2, "two_unsure": 2}  # slices
CENTRE = np.array([10.0, -20.0, 30.0])  # of the volume, LPS mm


@dataclass(frozen=True, slots=True)
class Case:
    """What is written.

    Parameters
    ----------
    orientation : str
        One of `ORIENTATIONS`.
    flipped : bool
        Columns run the other way, so that the normal points to the other side.
    tilt : float
        Degrees between the normal and the direction from slice to slice.
    missing : tuple of int
        Slices that are not written.
    doubled : {"", "identical", "different", "copy"}
        A second image at one position: same or other pixels; or the same file once more.
    split : {"", "echo", "b", "phase", "trigger", "acquisition", "type"}
        Two interleaved volumes that differ in this attribute.
    odd : {"", "localizer", "matrix", "one", "two", "two_unsure", "two_stacks", "two_spacings"}
        One slice across, or of another matrix; only one slice, or two whose distance the thickness confirms, or does
        not; a second complete volume of another orientation or pixel spacing.
    syntax : str
        Keyword of the transfer syntax in `pydicom.uid`; explicit little endian by default.
    bits, signed : int, bool
        Bits stored, and whether pixels are signed.
    rescale : {"", "ct", "fine", "coarse", "per_slice"}
        Rescale slope and intercept.
    ordered : bool
        Files, instance numbers and frames follow the position; at random otherwise, which the standard allows.
    """

    orientation: str = "axial"
    flipped: bool = False
    tilt: float = 0.0
    missing: tuple[int, ...] = ()
    doubled: str = ""
    split: str = ""
    odd: str = ""
    syntax: str = ""
    bits: int = 16
    signed: bool = True
    rescale: str = ""
    modality: str = "CT"
    enhanced: bool = False
    ordered: bool = False
    slices: int = 8

    @property
    def name(self) -> str:
        """Settings that are not the default ones, as text."""
        plain = Case()
        parts = []
        for name in self.__slots__:
            value = getattr(self, name)
            if value != getattr(plain, name):
                text = "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
                parts.append(name if value is True else f"{name}={text}")
        return ",".join(parts) or "plain"


@dataclass(frozen=True, slots=True)
class Content:
    """Values at positions: a gradient and a blob, steep enough that a mirrored axis is seen."""

    base: float
    scale: float

    def at(self, world: np.ndarray, volume: int = 0) -> np.ndarray:
        """Value at positions of shape (..., 3) in volume `volume` of the series."""
        from_centre = world - CENTRE
        blob = 300 * np.exp(-((from_centre - (4.0, 3.0, -3.0)) ** 2).sum(-1) / (2 * 6.0**2))
        return self.base + self.scale * (from_centre @ (6.0, 4.0, -5.0) + blob + 100 * volume)


@dataclass(frozen=True, slots=True, eq=False)
class TruthVolume:
    """One volume of the series: `array` (z, y, x) as stored and rescaled, `affine` to LPS mm, sheared if tilted."""

    affine: np.ndarray
    array: np.ndarray
    number: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What a right reader answers.

    Parameters
    ----------
    outcome : {"read", "resampled", "rejected", "copies"}
        ``copies``: read or rejected, but with a word about the copy.
    codes : tuple of str
        Codes of the problem, of which one must be given.
    volumes : tuple of TruthVolume
        All volumes, without holes.
    """

    case: Case
    content: Content
    outcome: str
    codes: tuple[str, ...]
    volumes: tuple[TruthVolume, ...]


def axes(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Directions of the rows and of the columns."""
    angles = {"oblique": (20.0, 0.0, 0.0), "double_oblique": (25.0, -15.0, 10.0)}.get(case.orientation)
    row, column = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    if case.orientation == "coronal":
        column = np.array([0, 0, -1.0])
    elif case.orientation == "sagittal":
        row, column = np.array([0, 1.0, 0]), np.array([0, 0, -1.0])
    elif angles:
        turn = _rotation(*np.radians(angles))
        row, column = turn @ row, turn @ column
    return row, -column if case.flipped else column


def _rotation(x: float, y: float, z: float) -> np.ndarray:
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_y = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    return np.array(about_z) @ np.array(about_y) @ np.array(about_x)


def affine_of(case: Case, spacing: tuple[float, float] = SPACING) -> np.ndarray:
    """Index (x, y, z, 1) to LPS mm; slices follow the normal, sheared along the columns by the tilt."""
    row, column = axes(case)
    step = PITCH * (np.cross(row, column) + np.tan(np.radians(case.tilt)) * column)
    matrix = np.stack([row * spacing[1], column * spacing[0], step], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = CENTRE - matrix @ (np.array([COLUMNS, ROWS, case.slices]) - 1) / 2
    return affine


def world_of(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """LPS mm of every voxel, shape (z, y, x, 3)."""
    index = np.moveaxis(np.indices(shape), 0, -1)[..., ::-1]
    return index @ affine[:3, :3].T + affine[:3, 3]


def content_of(case: Case) -> Content:
    """Content that the pixel format can hold."""
    if case.bits == 8:
        return Content(100.0, 0.2)
    return Content(-100.0 if case.signed else 1000.0, 1.0)


def _rescale(case: Case, number: int) -> tuple[float, float]:
    if case.rescale == "per_slice":
        return 0.5 + 0.125 * number, 10.0
    return {"": (1.0, 0.0), "ct": (1.0, -1024.0), "fine": (0.5, 10.0), "coarse": (2.0, -50.0)}[case.rescale]


def _dtype(case: Case) -> np.dtype:
    return np.dtype(f"{'i' if case.signed else 'u'}{1 if case.bits == 8 else 2}")


def _planes(case: Case, affine: np.ndarray, spacing: tuple[float, float], volume: int) -> list[Plane]:
    """All slices of one volume, in their order along the normal."""
    row, column = axes(case)
    world = world_of(affine, (case.slices, ROWS, COLUMNS))
    values = content_of(case).at(world, volume)
    planes = []
    for number in range(case.slices):
        slope, intercept = _rescale(case, number)
        stored = np.rint((values[number] - intercept) / slope)
        limits = -(2 ** (case.bits - 1)) * case.signed, 2 ** (case.bits - case.signed) - 1
        if stored.min() < limits[0] or stored.max() > limits[1]:
            raise ValueError(f"{case.name}: values {stored.min()} to {stored.max()} do not fit the pixel format")
        pixels = stored.astype(_dtype(case))
        planes.append(Plane(pixels, world[number, 0, 0], (*row, *column), spacing, (slope, intercept), volume))
    return planes


def _volume(planes: list[Plane], affine: np.ndarray, number: int) -> TruthVolume:
    array = np.stack([plane.stored.astype(np.float32) * np.float32(plane.rescale[0]) for plane in planes])
    return TruthVolume(affine, array + np.float32([p.rescale[1] for p in planes])[:, None, None], number)


def write_matrix_series(folder: Path, case: Case, *, seed: int = 0) -> Truth:
    """Write a series into `folder`; return what a right reader answers."""
    if case.odd in FEW:
        case = replace(case, slices=FEW[case.odd])
    stacks = [(case, SPACING)] * (2 if case.split else 1)
    if case.odd == "two_stacks":
        stacks.append((replace(case, orientation="coronal" if case.orientation != "coronal" else "axial"), SPACING))
    if case.odd == "two_spacings":
        stacks.append((case, (SPACING[0] / 2, SPACING[1] / 2)))
    written: list[Plane] = []
    volumes = []
    for number, (stack, spacing) in enumerate(stacks):
        affine = affine_of(stack, spacing)
        planes = _planes(stack, affine, spacing, number)
        volumes.append(_volume(planes, affine, number))
        written += [plane for index, plane in enumerate(planes) if index not in case.missing]
    written += _extra(case, written)
    random = np.random.default_rng(seed)
    order = np.arange(len(written)) if case.ordered else random.permutation(len(written))
    folder.mkdir(parents=True, exist_ok=True)
    (write_enhanced if case.enhanced else write_classic)(folder, [written[i] for i in order], case)
    if case.doubled == "copy":
        file = sorted(folder.iterdir())[0]
        (folder / "zz_copy.dcm").write_bytes(file.read_bytes())
    outcome, codes = expected(case)
    return Truth(case, content_of(case), outcome, codes, tuple(volumes))


def _extra(case: Case, planes: list[Plane]) -> list[Plane]:
    """Images that should not be in the series."""
    one = planes[len(planes) // 3]
    if case.doubled == "identical":
        return [one]
    if case.doubled == "different":
        return [replace(one, stored=one.stored + np.array(7, one.stored.dtype))]
    if case.odd == "localizer":
        row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
        return [replace(one, orientation=(*row, *np.cross(row, column)))]
    if case.odd == "matrix":
        return [replace(one, stored=one.stored[:-4], position=one.position + 0.5)]
    return []


def expected(case: Case) -> tuple[str, tuple[str, ...]]:
    """Outcome by the rules of the reader, and the codes of which one must be named."""
    rules = (
        (case.odd == "localizer", "mixed_orientation"),
        (case.odd == "matrix", "mixed_matrix"),
        (case.odd == "two_unsure", "too_few_slices"),
        (case.doubled in ("identical", "different"), "doubled_slices"),
        (bool(case.missing), "missing_slices"),
    )
    codes = tuple(code for applies, code in rules if applies)
    if codes:
        return "rejected", codes
    if case.doubled == "copy":
        return "copies", ()
    return ("resampled", ("tilt_resampled",)) if case.tilt and case.odd != "one" else ("read", ())
