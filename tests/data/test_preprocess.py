"""Working grids, intensities, and the way back to the geometry of the input."""

import numpy as np
import pytest

from medseg.data.preprocess import prepare_image
from medseg.data.resample import resample
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.errors import ImageError
from medseg.volume import Grid, Volume


def volume_of(array, spacing=(2.0, 1.0, 1.0), flips=(1, 1, 1)):
    affine = np.diag([flips[0] * spacing[2], flips[1] * spacing[1], flips[2] * spacing[0], 1.0])
    affine[:3, 3] = (10, -20, 30)
    return Volume(np.asarray(array, np.float32)[None], Grid(array.shape, affine, "mm"))


def smooth_ball(shape=(20, 40, 44), centre=(9, 17, 25)):
    z, y, x = np.mgrid[tuple(slice(n) for n in shape)].astype(float)
    squared = ((z - centre[0]) * 2) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
    return np.exp(-squared / (2 * 6.0**2))


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
def test_there_and_back_keeps_the_place(flips):
    """Whatever the orientation of the file, a map comes back onto the voxels it came from."""
    array = smooth_ball()
    volume = volume_of(array, flips=flips)
    settings = InputSettings(
        dimensions=3, spacing_mm=(1.5, 1.5, 1.5), intensity=IntensitySettings(method="range", low=0, high=1)
    )
    prepared = prepare_image(volume, settings, spacing=settings.spacing_mm)
    assert prepared.grid.spacing == pytest.approx((1.5, 1.5, 1.5))
    back = resample(prepared.image[0], prepared.grid, prepared.source, smooth=False)
    assert back.shape == array.shape
    inner = (slice(2, -2),) * 3
    assert np.abs(back - array)[inner].max() < 0.05
    peak = np.unravel_index(back.argmax(), back.shape)
    assert np.abs(np.array(peak) - (9, 17, 25)).max() <= 1


def test_world_positions_do_not_depend_on_the_orientation_of_the_file():
    array = smooth_ball()
    settings = InputSettings(dimensions=3, intensity=IntensitySettings(method="range", low=0, high=1))
    places = []
    for reverse in (False, True):
        volume = volume_of(array)
        if reverse:  # the same anatomy, stored the other way round along x
            grid = volume.grid
            affine = grid.affine.copy()
            affine[:3, 3] += affine[:3, 0] * (array.shape[2] - 1)
            affine[:3, 0] *= -1
            volume = Volume(volume.array[..., ::-1].copy(), Grid(array.shape, affine, "mm"))
        prepared = prepare_image(volume, settings, spacing=(2.0, 1.0, 1.0))
        peak = np.array(np.unravel_index(prepared.image[0].argmax(), prepared.image[0].shape))[::-1]
        places.append(prepared.grid.to_world(peak[None].astype(float))[0])
    assert places[0] == pytest.approx(places[1], abs=1e-6)


def test_intensities():
    array = np.zeros((1, 4, 5))
    array[0, 1:3, 1:4] = [[10, 20, 30], [40, 50, 60]]
    image = Volume(array[None].astype(np.float32), Grid(array.shape, np.eye(4), "px"))

    def grey(**settings):
        return prepare_image(image, InputSettings(intensity=IntensitySettings(**settings)), spacing=None).image[0]

    zscore = grey(method="zscore", foreground="above_zero")[array > 0]
    assert zscore.mean() == pytest.approx(0, abs=1e-6)
    assert zscore.std() == pytest.approx(1, abs=1e-6)
    window = grey(method="window", low=20, high=40)
    assert window[0, 1, 1:4].tolist() == [0, 0, 0.5]
    assert window[0, 2, 1:4].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("values", "says"),
    [(0.0, "constant|zero"), (7.0, "constant"), (np.nan, "finite|NaN")],
    ids=["zero", "constant", "nan"],
)
def test_images_without_content_are_refused(values, says):
    array = np.full((1, 1, 32, 32), values, np.float32)
    with pytest.raises(ImageError, match=says):
        prepare_image(Volume(array, Grid((1, 32, 32), np.eye(4), "px")), InputSettings(), spacing=None)
