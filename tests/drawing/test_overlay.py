"""Overlays: what is drawn, where, in which colour, and which way up."""

import numpy as np
import pytest

from medseg.drawing import draw_overlay
from medseg.drawing.settings import DrawingSettings
from medseg.lesion import Finding, Lesion
from medseg.volume import Grid, Volume

YELLOW, GREEN = (255, 212, 0), (0, 200, 83)


def found(x, y, z=0.0, unit="px", diameter=60.0):
    return Finding(x, y, z, unit, 0.0, diameter, 0.9, "", (0,) * 6)


def radiograph(size=400):
    image = np.random.default_rng(0).normal(100, 5, (1, 1, size, size)).astype(np.float32)
    return Volume(image, Grid.projection((size, size)))


def pixels(picture, colour):
    return np.argwhere((np.asarray(picture) == colour).all(axis=-1))


def test_result_below_the_original_with_the_finding_circled():
    settings = DrawingSettings(layout="stacked")
    picture = draw_overlay(radiograph(), [found(100, 300)], settings=settings)
    yellow = pixels(picture, YELLOW)
    assert picture.width == 400
    assert yellow[:, 0].min() > 400  # nothing is drawn over the original
    lower = yellow[yellow[:, 0] >= 404 + 300]  # the label is above
    assert lower[:, 0].max() - 704 == pytest.approx(60 / 2 * 1.25, abs=2)
    assert (lower[:, 1].min(), lower[:, 1].max()) == pytest.approx((100 - 37.5, 100 + 37.5), abs=2)


def test_reference_is_green_and_nothing_found_draws_nothing():
    picture = draw_overlay(radiograph(), [], settings=DrawingSettings(), lesions=[Lesion(50, 60, 0, 30, "px")])
    assert len(pixels(picture, GREEN)) > 0
    assert len(pixels(picture, YELLOW)) == 0
    assert len(pixels(draw_overlay(radiograph(), [], settings=DrawingSettings()), GREEN)) == 0


@pytest.mark.parametrize("signs", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_right_is_at_the_left_and_front_is_up_whatever_the_file(signs):
    """A bright block at the patient's right front appears at the upper left."""
    shape = (3, 100, 120)
    affine = np.diag([signs[0] * 1.0, signs[1] * 1.0, 1.0, 1.0])
    grid = Grid(shape, affine, "mm")
    array = np.zeros((1, *shape), np.float32)
    world = grid.to_world(np.array([[x, y, 1] for y in range(100) for x in range(120)], float)).reshape(100, 120, 3)
    middle = world.reshape(-1, 3).mean(axis=0)
    array[0, :, (world[..., 0] < middle[0] - 20) & (world[..., 1] < middle[1] - 20)] = 1000
    settings = DrawingSettings(min_size=64, window=(0, 1000))
    picture = np.asarray(draw_overlay(Volume(array, grid), [], settings=settings).convert("L"))
    assert picture[15, 20] == 255
    assert picture[60, 40] == picture[60, 110] == picture[25, 110] == 0


def test_the_slice_of_the_best_finding_is_shown():
    array = np.zeros((1, 9, 80, 80), np.float32)
    array[0, 6] = 500
    array[0, :, 0, 0] = 1000
    volume = Volume(array, Grid((9, 80, 80), np.diag([1.0, 1, 3, 1]), "mm"))
    settings = DrawingSettings(min_size=64, window=(0, 1000), max_slices=1)
    grey = np.asarray(draw_overlay(volume, [found(40, 40, 18.0, "mm", 10)], settings=settings).convert("L"))
    assert grey[30, 60] == 127


def test_the_channel_that_is_asked_for_is_shown_and_the_first_where_it_is_missing():
    """A block is in the second of three channels alone, the third is missing."""
    grid = Grid((2, 70, 80), np.eye(4))
    array = np.zeros((3, *grid.shape), np.float32)
    array[0] = 100
    array[1, :, :30, :30] = 200
    for channel, level in ((1, 127), (2, 255), (3, 127)):
        settings = DrawingSettings(min_size=64, window=(0, 200), channel=channel)
        picture = np.asarray(draw_overlay(Volume(array, grid), [], settings=settings).convert("L"))
        assert picture[20, 20] == level
    settings = DrawingSettings(min_size=64, channel=2)  # black and white from the channel that is shown
    picture = np.asarray(draw_overlay(Volume(array, grid), [], settings=settings).convert("L"))
    assert (picture[20, 20], picture[60, 60]) == (255, 0)
