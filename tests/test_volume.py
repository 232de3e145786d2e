import numpy as np
import pytest

from medseg.errors import GeometryError
from medseg.volume import Grid, Volume


def test_world_and_index_are_inverse():
    affine = np.array([[0, -0.7, 0, 5], [0.7, 0, 0, -3], [0, 0, 2.5, 10], [0, 0, 0, 1.0]])
    grid = Grid((4, 5, 6), affine)
    index = np.array([[0, 0, 0], [5, 4, 3], [2.5, 1, 0]])
    assert np.allclose(grid.to_index(grid.to_world(index)), index)
    assert grid.spacing == pytest.approx((2.5, 0.7, 0.7))


def test_projection_has_no_patient_coordinates():
    volume = Volume(np.zeros((1, 1, 4, 6), np.float32), Grid.projection((4, 6)))
    assert volume.is_projection
    with pytest.raises(GeometryError, match="no patient coordinates"):
        _ = volume.affine_lps
    with pytest.raises(GeometryError, match="unknown"):
        _ = volume.spacing_mm


def test_singular_affine_is_refused():
    with pytest.raises(GeometryError, match="inverted|invertible"):
        Grid((1, 1, 1), np.zeros((4, 4)))


def test_sizes_must_agree():
    with pytest.raises(GeometryError, match="differ in size"):
        Volume(np.zeros((1, 2, 3, 4)), Grid((2, 3, 5), np.eye(4)))
