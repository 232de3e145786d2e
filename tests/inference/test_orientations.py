"""One model finds one lesion at one place in the world, however the file orders and flips the axes."""

import csv
import itertools

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from medseg.config import pipeline_from_dict
from medseg.detectors.factory import build_detector
from medseg.imaging import read
from medseg.inference.batch import predict_batch
from medseg.inference.model import Model
from medseg.planning.plan import Plan

SPACING_XYZ = np.array([0.7, 0.7, 5.0])
SHAPE_XYZ = (60, 52, 14)
CENTRE_RAS, RADIUS = np.array([9.4, -3.1, 21.7]), 9.0  # mm
CENTRE_LPS = CENTRE_RAS * (-1, -1, 1)
ALL = [(order, flips) for order in itertools.permutations(range(3)) for flips in itertools.product((1, -1), repeat=3)]
SOME = ALL[::5]  # every order of the axes, of both handednesses


class Shifted(nn.Module):
    """A fixed network that answers one voxel beside what is bright, along each axis: it notices turned axes."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv3d(1, 1, 3, padding=1, bias=True)
        with torch.no_grad():
            self.convolution.weight.zero_()
            self.convolution.weight[0, 0, 0, 0, 0] = 8.0  # of the neighbour before it along z, y and x
            self.convolution.bias.fill_(-4.0)

    def forward(self, image):
        return self.convolution(image)


def model_of(spacing_zyx):
    pipeline = pipeline_from_dict({
        "name": "sphere",
        "input": {"dimensions": 3, "intensity": {"method": "range", "low": 0, "high": 100}},
        "detector": {"kind": "segmentation", "candidate_score": "peak"},
        "training": {"max_steps": 1},
        "inference": {"min_score": 0.2, "overlap": 0.25},
    })  # fmt: skip
    plan = Plan(
        spacing_mm=spacing_zyx, patch_size=(8, 32, 32), batch_size=1, steps_per_epoch=1, n_training_cases=1,
        n_positive_cases=1,
    )  # fmt: skip
    return Model(pipeline, plan, Shifted().eval(), build_detector(pipeline.detector, pipeline.classes))


def sphere(turn):
    """Array (x, y, z) in RAS order with its affine, and the same written otherwise by `save`."""
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING_XYZ)
    middle = (np.array(SHAPE_XYZ) - 1) / 2
    affine[:3, 3] = CENTRE_RAS - affine[:3, :3] @ (middle + np.array([3.2, -2.7, 0.4]))  # off it
    index = np.stack(np.meshgrid(*map(np.arange, SHAPE_XYZ), indexing="ij"), axis=-1)
    distance = np.linalg.norm(index @ affine[:3, :3].T + affine[:3, 3] - CENTRE_RAS, axis=-1)
    return (100 / (1 + np.exp((distance - RADIUS) / 1.5))).astype(np.float32), affine


def save(path, array, affine, order, flips):
    """Write the voxels in another order, and the affine that leaves each where it is."""
    turned = array.transpose(order)[tuple(slice(None, None, flip) for flip in flips)]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (old, flip) in enumerate(zip(order, flips)):
        matrix[old, axis] = flip
        matrix[old, 3] = 0 if flip > 0 else array.shape[old] - 1
    nib.save(nib.Nifti1Image(turned, affine @ matrix), path)


def turned(degrees):
    """Rotation about an axis that is none of the coordinate axes."""
    axis, angle = np.array([1, 2, 2]) / 3, np.radians(degrees)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


@pytest.mark.parametrize("spacing", [(5.0, 0.7, 0.7), (4.0, 1.0, 1.2)], ids=["as stored", "resampled"])
@pytest.mark.parametrize("degrees", [0, 12], ids=["straight", "oblique"])
@pytest.mark.parametrize("ways", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some orders", "all orders"])
def test_position_of_a_finding_does_not_depend_on_the_order_of_the_axes(ways, degrees, spacing, tmp_path):
    turn = turned(degrees)
    array, affine = sphere(turn)
    (tmp_path / "in").mkdir()
    for order, flips in ways:
        name = "".join("xyz"[axis] + "-+"[flip > 0] for axis, flip in zip(order, flips))
        save(tmp_path / "in" / f"{name}.nii", array, affine, order, flips)
    result = predict_batch(model_of(spacing), tmp_path / "in", tmp_path / "out", save=("mask",))
    assert (result.n_cases, result.failures) == (len(ways), {})
    with (tmp_path / "out" / "findings.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(ways)
    found = np.array([[float(row[axis]) for axis in "xyz"] for row in rows])
    assert {row["unit"] for row in rows} == {"mm"}
    assert np.ptp(found, axis=0).max() < 0.5
    to_lps = np.array([-1, -1, 1])
    shift = (to_lps[:, None] * turn) @ (to_lps * np.array(spacing)[::-1])  # a voxel towards L, P and S of the volume
    np.testing.assert_allclose(found.mean(axis=0), CENTRE_LPS + shift, atol=1.5)
    for row in rows:
        mask = read(tmp_path / "out" / "cases" / row["case_id"] / "mask.nii.gz")
        source = read(tmp_path / "in" / f"{row['case_id']}.nii")
        assert mask.grid.same_as(source.grid)
        places = mask.grid.to_world(np.argwhere(mask.array[0])[:, ::-1])
        np.testing.assert_allclose(places.mean(axis=0), CENTRE_LPS + shift, atol=1.5)
    sizes = [float(row["diameter_mm"]) for row in rows]
    assert max(sizes) - min(sizes) < 0.5


def test_a_network_that_sees_turned_axes_would_be_noticed():
    """The shift of the fixed network, in mm along z, is more than what the test allows."""
    image = torch.zeros(1, 1, 3, 3, 3)
    image[0, 0, 0, 0, 0] = 1
    answer = Shifted()(image)[0, 0]
    assert answer[1, 1, 1] == 4
    assert (answer == 4).sum() == 1
