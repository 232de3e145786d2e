"""Rigid registration of two volumes of one patient: another sequence or phase onto the first."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from medseg.data.resample import canonical_grid, resample, respaced_grid
from medseg.errors import GeometryError
from medseg.volume import Grid

__all__ = ["RigidMotion", "register_rigid"]

LEAST_SLICES = 4  # along each axis: the smallest that can be smoothed, and below it a rotation is not determined
LEVELS = (4, 2, 1)  # coarse to fine, in multiples of the finest spacing
FINEST_MM = 1.0  # finer voxels cost time and add nothing to six numbers
LEAST_COARSE = 8  # voxels along an axis that the coarse levels keep
SAMPLES = 50_000  # voxels that a step looks at: six numbers need no more
BINS = 32  # of the joint histogram
CLIPPED = (0.5, 99.5)  # percentiles: a few extreme voxels would leave the histogram's bins empty
SEED = 1
ITERATIONS = 100  # a level
FARTHEST_MM = 30.0  # patients who lie in one scanner for one examination do not move further
LARGEST_DEGREES = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class RigidMotion:
    """How a volume must move to lie on another.

    Parameters
    ----------
    matrix : ndarray, shape (4, 4)
        Maps LPS mm of the moving volume to LPS mm of the fixed one.
    distance_mm : float
        By how much it moves the point that comes to the centre of the fixed volume.
    degrees : float
        Rotation angle.
    problem : str
        Why the motion must not be used; empty where it may.
    """

    matrix: np.ndarray
    distance_mm: float
    degrees: float
    problem: str = ""

    def applied_to(self, grid: Grid) -> Grid:
        """The grid of the moving volume, moved: its voxels stay as they are."""
        return Grid(grid.shape, self.matrix @ grid.affine, grid.unit)


def register_rigid(fixed: np.ndarray, fixed_grid: Grid, moving: np.ndarray, moving_grid: Grid) -> RigidMotion:
    """Find the rigid motion that lays `moving` on `fixed`, starting from the positions that the files state.

    Mutual information (Mattes et al. 2003, doi:10.1109/TMI.2003.809072), so that the contrasts may differ; coarse to
    fine. The same input gives the same motion, bit by bit: samples are drawn with one seed, on one thread.

    Parameters
    ----------
    fixed, moving : ndarray, shape (z, y, x)

    Returns
    -------
    RigidMotion
        With a `problem` where the search failed, strayed, or moved the volume further than a patient moves.

    Raises
    ------
    GeometryError
        When one of them is a projection, or has too few slices for a rotation to be determined.
    """
    for grid in (fixed_grid, moving_grid):
        if grid.unit == "px" or min(grid.shape) < LEAST_SLICES:
            raise GeometryError(
                f"rigid registration needs volumes of at least {LEAST_SLICES} voxels along each axis, found "
                f"{grid.shape} ({grid.unit}); set input.registration to none"
            )
    for values in (fixed, moving):
        if not np.isfinite(values).all() or values.min() == values.max():
            return _none("one of the images is constant, or not finite")
    centre = fixed_grid.to_world((np.array([fixed_grid.shape[::-1]]) - 1) / 2)[0]
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    finest = max(FINEST_MM, min(fixed_grid.spacing))
    try:
        for level in LEVELS:
            below = _image(fixed, fixed_grid, level * finest)
            above = _image(moving, moving_grid, level * finest)
            _search(below, above, transform, step=level * finest / 2)
        method = _method(below)
        method.SetInitialTransform(transform)
        after = method.MetricEvaluate(below, above)
        method.SetInitialTransform(sitk.Euler3DTransform())
        before = method.MetricEvaluate(below, above)
    except RuntimeError as error:  # of any kind in SimpleITK: too little overlap, constant images
        reason = str(error).strip().splitlines()[-1].rpartition("): ")[2]  # without the name and address of the class
        return _none(f"the search failed: {reason}")
    found = _motion(transform, centre)
    if after < before:  # the metric is the negative information
        return found
    strayed = _farthest(found.matrix, moving_grid) > finest
    return _none("the search ended at a worse place than it began" if strayed else "")


def _none(problem: str) -> RigidMotion:
    return RigidMotion(np.eye(4), 0.0, 0.0, problem)


def _image(array: np.ndarray, grid: Grid, spacing: float) -> sitk.Image:
    """The volume with voxels of about `spacing` mm (never finer than its own), in its place in the world."""
    source, grid = grid, canonical_grid(grid)
    wanted = [max(own, min(spacing, own * count / LEAST_COARSE)) for own, count in zip(grid.spacing, grid.shape)]
    grid = respaced_grid(grid, (wanted[0], wanted[1], wanted[2]))
    values = resample(array, source, grid, outside=None)
    image = sitk.GetImageFromArray(np.clip(values, *np.percentile(values, CLIPPED)))
    image.SetSpacing(grid.spacing[::-1])
    image.SetOrigin(grid.affine[:3, 3].tolist())
    image.SetDirection((grid.affine[:3, :3] / np.array(grid.spacing[::-1])).ravel().tolist())
    return image


def _method(fixed: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # sums of several threads differ in their last bits
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(min(1.0, SAMPLES / fixed.GetNumberOfPixels()), SEED)
    method.SetInterpolator(sitk.sitkLinear)
    return method


def _search(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Euler3DTransform, *, step: float) -> None:
    """Improve `transform`; no step moves a voxel by more than about `step` mm, the last ones by a hundredth of it."""
    method = _method(fixed)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=step, minStep=step / 100, numberOfIterations=ITERATIONS, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed, moving)


def _motion(transform: sitk.Euler3DTransform, centre: np.ndarray) -> RigidMotion:
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    shift = np.array(transform.GetTranslation())
    onto_moving = np.eye(4)  # the transform says where in the moving volume a point of the fixed one is found
    onto_moving[:3, :3] = rotation
    onto_moving[:3, 3] = shift + centre - rotation @ centre
    distance = float(np.linalg.norm(shift))
    degrees = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    problem = ""
    if distance > FARTHEST_MM or degrees > LARGEST_DEGREES:
        problem = (
            f"the search moved it by {distance:.1f} mm and {degrees:.1f} degrees, further than a patient moves "
            f"({FARTHEST_MM:g} mm, {LARGEST_DEGREES:g} degrees)"
        )
    return RigidMotion(np.linalg.inv(onto_moving), distance, degrees, problem)


def _farthest(matrix: np.ndarray, grid: Grid) -> float:
    """By how many mm the corner of a grid that moves most is moved."""
    corners = grid.to_world(np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape[::-1]])).reshape(3, -1).T)
    return float(np.linalg.norm(corners @ matrix[:3, :3].T + matrix[:3, 3] - corners, axis=1).max())
