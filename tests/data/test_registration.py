"""Rigid registration: known motions are recovered, whatever the contrast, the grid and the number of threads."""

import numpy as np
import pytest
import SimpleITK as sitk

from medseg.data.registration import FARTHEST_MM, LARGEST_DEGREES, RigidMotion, register_rigid
from medseg.errors import GeometryError
from medseg.imaging import read
from medseg.volume import Grid

GRID = Grid((28, 40, 42), np.diag([2.0, 2.0, 3.0, 1.0]))
CENTRE = np.array([41.0, 39.0, 40.5])  # of GRID, mm


def motion_of(degrees, axis, shift, centre=CENTRE):
    """Matrix (4, 4) of a rotation about a point, then a shift: Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    matrix = np.eye(4)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = centre + shift - matrix[:3, :3] @ centre
    return matrix


def anatomy(grid, motion=None, *, other_contrast=False):
    """A sum of Gaussian blobs, evaluated at each voxel's own place: no interpolation, so the truth is exact."""
    random = np.random.default_rng(7)
    index = np.indices(grid.shape)[::-1].reshape(3, -1).T
    points = grid.to_world(index)
    if motion is not None:
        inverse = np.linalg.inv(motion)
        points = points @ inverse[:3, :3].T + inverse[:3, 3]
    values = np.zeros(len(points))
    for _ in range(14):
        place, width, height = random.uniform(15, 65, 3), random.uniform(5, 12), random.uniform(0.3, 1)
        values += height * np.exp(-((points - place) ** 2).sum(axis=1) / (2 * width**2))
    if other_contrast:  # bright becomes dark: no linear relation is left
        values = 100 * (1.5 - values) ** 2 * (values > 0.05)
    return values.reshape(grid.shape).astype(np.float32)


def farthest(matrix, points):
    return np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1).max()


def corners(grid):
    return grid.to_world(np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape[::-1]])).reshape(3, -1).T)


@pytest.mark.parametrize(
    "motion",
    [
        motion_of(0, (0, 0, 1), (5, -6, 4)),
        motion_of(8, (1, 2, 3), (3, -4, 2)),
        motion_of(-12, (1, 0, -1), (-7, 2, 6)),
    ],
    ids=["shift", "small", "large"],
)
def test_a_known_motion_is_recovered(motion):
    """The patient moved by `motion` before the second scan, of another contrast on another, coronal grid."""
    affine = np.array([[2.2, 0, 0, 0], [0, 0, -2.8, 80], [0, 2.2, 0, 0], [0, 0, 0, 1]], dtype=float)
    grid = Grid((30, 38, 38), affine)
    found = register_rigid(anatomy(GRID), GRID, anatomy(grid, motion, other_contrast=True), grid)
    assert found.problem == ""
    assert farthest(found.matrix @ motion, corners(GRID)) < 1.0  # half a voxel of 2 mm, at the corners
    rotation = motion[:3, :3]
    assert found.degrees == pytest.approx(np.degrees(np.arccos((np.trace(rotation) - 1) / 2)), abs=0.5)
    came_from = np.linalg.norm(motion[:3, :3] @ CENTRE + motion[:3, 3] - CENTRE)
    assert found.distance_mm == pytest.approx(came_from, abs=0.5)


def test_the_moved_grid_lies_on_the_first():
    """Moving the grid by what was found puts every voxel back where it was before the motion."""
    motion = motion_of(6, (0, 0, 1), (4, 0, -3))
    moved = Grid(GRID.shape, motion @ GRID.affine)  # the same voxels, said to be elsewhere
    found = register_rigid(anatomy(GRID), GRID, anatomy(GRID, other_contrast=True), moved)
    assert np.abs(corners(found.applied_to(moved)) - corners(GRID)).max() < 1.0


def test_the_same_input_gives_the_same_motion_bit_by_bit():
    motion = motion_of(5, (0, 1, 1), (2, 2, -3))
    fixed, moving = anatomy(GRID), anatomy(GRID, motion, other_contrast=True)
    threads = sitk.ProcessObject.GetGlobalDefaultNumberOfThreads()
    found = []
    try:
        for number in (1, 4, 4):
            sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(number)
            found.append(register_rigid(fixed, GRID, moving, GRID).matrix)
    finally:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[1], found[2])


def test_an_image_that_lies_right_stays():
    """No better place than the best: nothing is moved, and nothing is wrong."""
    found = register_rigid(anatomy(GRID), GRID, anatomy(GRID), GRID)
    assert (found.problem, found.distance_mm, found.degrees) == ("", 0.0, 0.0)
    assert np.array_equal(found.matrix, np.eye(4))


def test_an_implausible_motion_is_a_problem(monkeypatch):
    motion = motion_of(8, (1, 2, 3), (3, -4, 2))
    moving = anatomy(GRID, motion)
    assert register_rigid(anatomy(GRID), GRID, moving, GRID).problem == ""
    assert (FARTHEST_MM, LARGEST_DEGREES) == (30.0, 20.0)
    monkeypatch.setattr("medseg.data.registration.FARTHEST_MM", 2.0)
    assert "further than a patient moves" in register_rigid(anatomy(GRID), GRID, moving, GRID).problem
    monkeypatch.setattr("medseg.data.registration.FARTHEST_MM", 30.0)
    monkeypatch.setattr("medseg.data.registration.LARGEST_DEGREES", 4.0)
    assert "further than a patient moves" in register_rigid(anatomy(GRID), GRID, moving, GRID).problem


def test_what_cannot_be_registered_is_a_problem_and_says_why():
    fixed = anatomy(GRID)
    constant = register_rigid(fixed, GRID, np.ones(GRID.shape, np.float32), GRID)
    assert "constant" in constant.problem
    damaged = fixed.copy()
    damaged[3, 3, 3] = np.nan
    assert "finite" in register_rigid(fixed, GRID, damaged, GRID).problem
    away = Grid(GRID.shape, motion_of(0, (0, 0, 1), (500, 0, 0)) @ GRID.affine)
    apart = register_rigid(fixed, GRID, fixed, away)
    assert "failed" in apart.problem
    assert "0x" not in apart.problem
    assert np.array_equal(apart.matrix, np.eye(4))


@pytest.mark.parametrize("grid", [Grid.projection((40, 40)), Grid((3, 40, 40), np.eye(4))], ids=["projection", "thin"])
def test_projections_and_single_slices_are_refused(grid):
    image = np.random.default_rng(0).random(grid.shape, dtype=np.float32)
    with pytest.raises(GeometryError, match="at least 4 voxels along each axis"):
        register_rigid(image, grid, image, grid)


def test_a_motion_moves_the_grid_not_the_voxels():
    motion = RigidMotion(motion_of(90, (0, 0, 1), (0, 0, 5), centre=np.zeros(3)), 5.0, 90.0)
    moved = motion.applied_to(GRID)
    assert moved.shape == GRID.shape
    assert moved.to_world(np.array([[1, 0, 2]])) == pytest.approx(np.array([[0, 2, 11]]))  # was (2, 0, 6)


@pytest.mark.slow
@pytest.mark.parametrize("patient", ["patient07", "patient26"])
def test_real_t1_onto_flair(real_data, patient):
    """A T1 image that is said to lie elsewhere comes back to where it was acquired, at every corner of the brain."""
    folder = real_data / "ms_mni" / patient
    name = "_N4_noneck_reduced_winsor_regtoFLAIR_brain_N4_regtoMNI.nii.gz"
    flair, t1 = read(folder / f"FLAIR{name}"), read(folder / f"T1{name}")
    centre = flair.grid.to_world((np.array([flair.grid.shape[::-1]]) - 1) / 2)[0]
    motion = motion_of(6, (1, 1, 1), (-8, 5, 6), centre)
    found = register_rigid(flair.array[0], flair.grid, t1.array[0], Grid(t1.grid.shape, motion @ t1.grid.affine))
    brain = np.argwhere(flair.array[0] > 0)[:, ::-1]
    box = np.array(np.meshgrid(*zip(brain.min(axis=0), brain.max(axis=0)))).reshape(3, -1).T
    assert found.problem == ""
    assert farthest(found.matrix @ motion, flair.grid.to_world(box)) < 1.0
