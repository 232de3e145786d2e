"""`Volume`: an image with its place in space, and `Grid`: that place alone."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from medseg.errors import GeometryError

__all__ = ["Grid", "Note", "Unit", "Volume"]

Unit = Literal["mm", "px"]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular grid of voxels in the world.

    Parameters
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    affine : ndarray, shape (4, 4)
        Maps the index ``(x, y, z, 1)`` to world coordinates: LPS millimetres where `unit` is
        ``"mm"``, 0-based pixel centres of the original image where it is ``"px"``.
    unit : {"mm", "px"}
        Projection images (radiographs) have no patient coordinates: their unit is ``"px"``.

    Examples
    --------
    >>> grid = Grid.projection((4, 6))
    >>> grid.to_world(np.array([[2.0, 1.0, 0.0]])).tolist()
    [[2.0, 1.0, 0.0]]
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    unit: Unit = "mm"

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GeometryError(f"an affine is a finite 4x4 matrix, found {affine.tolist()}")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
            raise GeometryError(f"an affine must be invertible, found {affine.tolist()}")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @classmethod
    def projection(cls, shape_yx: tuple[int, int]) -> "Grid":
        """Return the grid of a projection image: pixel centres, z = 0."""
        return cls((1, *shape_yx), np.eye(4), "px")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Distance between neighbours along (z, y, x), in `unit`."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_size(self) -> float:
        """Volume of a voxel (mm) or area of a pixel (px: that of the original image's pixels)."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def to_world(self, index_xyz: np.ndarray) -> np.ndarray:
        """Map indices, shape (n, 3) in the order (x, y, z), to world coordinates."""
        return np.asarray(index_xyz, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, world_xyz: np.ndarray) -> np.ndarray:
        """Map world coordinates, shape (n, 3), to indices in the order (x, y, z)."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(world_xyz, dtype=np.float64) @ inverse[:3, :3].T + inverse[:3, 3]

    def same_as(self, other: "Grid", *, tolerance: float = 1e-3) -> bool:
        """Whether every corner of both grids agrees within `tolerance` of a voxel."""
        if self.shape != other.shape or self.unit != other.unit:
            return False
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape[::-1]])).reshape(3, -1).T
        return bool(np.abs(other.to_index(self.to_world(corners)) - corners).max() < tolerance)


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader did or noticed.

    Parameters
    ----------
    code : str
        Stable name of the kind of note, such as ``monochrome1`` or ``tilt_resampled``.
    message : str
        One sentence for people, without patient names or IDs.
    warning : bool
        Whether the user should look at it; otherwise it is only recorded.
    """

    code: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image and its geometry.

    Parameters
    ----------
    array : ndarray, shape (channel, z, y, x)
        Values as the file means them (after rescaling): Hounsfield units for CT.
    grid : Grid
        Where the voxels are. A projection image has the unit ``"px"``.
    pixel_spacing_mm : tuple of float, optional
        (y, x) of a projection image where it is known; sizes in mm need it.
    spacing_at : {"detector", "patient", ""}
        What `pixel_spacing_mm` refers to: the detector plane, or corrected for magnification.
    modality, body_part, view, patient_age : str
        As the file says, empty where it does not; the age as DICOM writes it, such as ``045Y``.
    notes : tuple of Note
        What the reader did or noticed.
    """

    array: np.ndarray
    grid: Grid
    pixel_spacing_mm: tuple[float, float] | None = None
    spacing_at: Literal["detector", "patient", ""] = ""
    modality: str = ""
    body_part: str = ""
    view: str = ""
    patient_age: str = ""
    notes: tuple[Note, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.array.ndim != 4:
            raise GeometryError(f"a volume has the axes (channel, z, y, x), found the shape {self.array.shape}")
        if tuple(self.array.shape[1:]) != self.grid.shape:
            raise GeometryError(f"array {self.array.shape[1:]} and grid {self.grid.shape} differ in size")

    @property
    def is_projection(self) -> bool:
        """Whether this is a projection image: a radiograph, a photograph of a slice."""
        return self.grid.unit == "px"

    @property
    def affine_lps(self) -> np.ndarray:
        """Affine of shape (4, 4) from the index ``(x, y, z, 1)`` to LPS mm, as ITK has it.

        Raises
        ------
        GeometryError
            For a projection image, which has no patient coordinates.
        """
        if self.is_projection:
            raise GeometryError("a projection image has no patient coordinates, so no affine in LPS mm")
        return self.grid.affine

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel spacing in mm along (z, y, x).

        Raises
        ------
        GeometryError
            For a projection image whose pixel spacing is unknown.
        """
        if not self.is_projection:
            return self.grid.spacing
        if self.pixel_spacing_mm is None:
            raise GeometryError("the pixel spacing of this projection image is unknown")
        return (1.0, *self.pixel_spacing_mm)

    def with_array(self, array: np.ndarray) -> "Volume":
        """Return the same geometry and description around another array of the same size."""
        return replace(self, array=array)
