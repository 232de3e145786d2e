"""Channels on one grid, working grids, intensities, and the way back to the geometry of the input."""

import numpy as np
import pytest

from medseg.data.channel_settings import ChannelRule
from medseg.data.preprocess import prepare_image
from medseg.data.resample import resample
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.data.stacking import stack_channels
from medseg.errors import GeometryError, ImageError
from medseg.volume import Grid, Note, Volume


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


def ramp(shape=(4, 6, 8), start=(0, 0, 0), spacing=(3.0, 2.0, 1.0), notes=()):
    """A volume whose value is 1000 + its own x in mm: after any resampling the truth is known."""
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = start
    x = start[0] + np.arange(shape[2]) * spacing[2]
    return Volume(np.broadcast_to(1000 + x, shape)[None].astype(np.float32), Grid(shape, affine), notes=notes)


def rules_of(*fallbacks):
    """Channels a, b, c ... with the given fallbacks."""
    return tuple(
        ChannelRule(name=name, description=name, fallback=fallback) for name, fallback in zip("abc", fallbacks)
    )


def codes(volume):
    return [note.code for note in volume.notes]


def test_other_channels_are_resampled_to_the_first():
    first = ramp()
    other = ramp(shape=(12, 12, 20), start=(-1, -1, -1), spacing=(1.0, 1.0, 0.5))
    stacked = stack_channels([first, other, first], "a")
    assert stacked.array.shape == (3, 4, 6, 8)
    assert stacked.grid.same_as(first.grid)
    assert np.abs(stacked.array[1] - first.array[0]).max() < 1e-2
    assert np.array_equal(stacked.array[2], first.array[0])
    assert stacked.notes == ()


def test_notes_of_every_channel_are_kept():
    first = ramp(notes=(Note("tilt", "was tilted", warning=True),))
    other = ramp(notes=(Note("lut", "has a table"),))
    notes = stack_channels([first, other], "a", rules=rules_of(None, None)).notes
    assert notes == (Note("tilt", "was tilted", warning=True), Note("lut", "channel b: has a table"))


@pytest.mark.parametrize(
    ("start_x", "covered"), [(0, ""), (0.4, ""), (-9, ""), (1, "87.5%"), (3, "62.5%"), (4, "50.0%"), (-56, "50.0%")]
)
def test_a_channel_that_covers_part_of_the_first_is_told(start_x, covered):
    """8 voxels of 1 mm along x; the other channel begins `start_x` mm later, and so many voxels lie outside it."""
    stacked = stack_channels([ramp(), ramp(shape=(4, 6, 60), start=(start_x, 0, 0))], "a")
    assert codes(stacked) == (["channel_covers_part"] if covered else [])
    assert all(covered in note.message and note.warning for note in stacked.notes)


@pytest.mark.parametrize(("start_x", "covered"), [(5, "37.5%"), (-57, "37.5%"), (100, "0.0%")])
def test_a_channel_that_covers_less_than_half_is_refused(start_x, covered):
    other = ramp(shape=(4, 6, 60), start=(start_x, 0, 0))
    with pytest.raises(GeometryError, match=f"case a: image_2 covers {covered} of the first image"):
        stack_channels([ramp(), other], "a")


def test_beyond_a_channel_stands_its_background():
    """CT beyond its field is air, not water (0 HU): a value of the image, not of the file format."""
    grid = ramp().grid
    values = np.full((1, 4, 6, 8), -1000, np.float32)
    values[..., 3:] = 60
    moved = Grid(grid.shape, np.array([[1.0, 0, 0, 2], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]))
    stacked = stack_channels([ramp(), Volume(values, moved)], "a")
    assert stacked.array[1, 1, 1].tolist() == [-1000] * 5 + [60] * 3


def test_a_missing_channel_is_replaced_as_its_rule_says():
    first = ramp()
    second = first.with_array(first.array * 2)
    stacked = stack_channels([first, second, None], "a", rules=rules_of(None, None, "b"))
    assert np.array_equal(stacked.array[2], second.array[0])
    assert stacked.notes == (Note("channel_missing", "channel c is missing: b is used in its place", warning=True),)
    stacked = stack_channels([first, None, None], "a", rules=rules_of(None, "zeros", "b"))
    assert not stacked.array[1:].any()
    assert codes(stacked) == ["channel_missing", "channel_missing"]


@pytest.mark.parametrize(
    ("volumes", "rules", "says"),
    [
        ([ramp(), None], (), "case a: image_2 is missing and the pipeline states no fallback"),
        ([ramp(), None], rules_of(None, None), "case a: b is missing"),
        ([None, ramp()], rules_of(None, "a"), "case a: a is missing, on whose grid"),
        ([ramp(), ramp()], rules_of(None, None, None), "takes 3 channels .a, b, c., the case names 2"),
        ([ramp(), ramp().with_array(ramp().array * 0)], (), "image_2 is all zero"),
    ],
)
def test_channels_that_do_not_fit_are_refused(volumes, rules, says):
    with pytest.raises(ImageError, match=says):
        stack_channels(volumes, "a", rules=rules)


def test_zeros_of_a_missing_channel_stay_zeros():
    """The other channel is brought to its scale; where no rule allows it, an empty channel is refused as ever."""
    first = volume_of(smooth_ball())
    rules = rules_of(None, "zeros")
    stacked = stack_channels([first, None], "a", rules=rules)
    prepared = prepare_image(stacked, InputSettings(dimensions=3, channels=2, series=rules), spacing=None)
    assert prepared.image[0].std() == pytest.approx(1, abs=1e-3)
    assert not prepared.image[1].any()
    with pytest.raises(ImageError, match="all zero"):
        prepare_image(stacked, InputSettings(dimensions=3, channels=2), spacing=None)


def test_a_channel_is_registered_before_it_is_resampled():
    """The second image is said to lie 4 mm off: unregistered it is wrong there, registered it lies on the first."""
    first = volume_of(smooth_ball() + 0.5 * smooth_ball(centre=(12, 28, 12)))
    affine = first.grid.affine.copy()
    affine[:3, 3] += (4, -3, 2)
    other = Volume(first.array * 3 + 1, Grid(first.grid.shape, affine))
    truth = first.array[0] * 3 + 1
    inner = (slice(4, -4),) * 3
    plain = stack_channels([first, other], "a")
    assert np.abs(plain.array[1] - truth)[inner].max() > 0.5
    registered = stack_channels([first, other], "a", registration="rigid")
    assert np.abs(registered.array[1] - truth)[inner].max() < 0.15
    assert codes(registered)[0] == "registered"
    assert "5.4 mm" in registered.notes[0].message  # the root of 16 + 9 + 4
    assert not registered.notes[0].warning


def test_a_registration_that_cannot_be_used_is_told_and_left_out(monkeypatch):
    monkeypatch.setattr("medseg.data.registration.FARTHEST_MM", 1.0)
    first = volume_of(smooth_ball())
    affine = first.grid.affine.copy()
    affine[:3, 3] += (4, -3, 2)
    other = Volume(first.array, Grid(first.grid.shape, affine))
    registered = stack_channels([first, other], "a", registration="rigid")
    assert np.array_equal(registered.array, stack_channels([first, other], "a").array)
    assert registered.notes[0].code == "registration_refused"
    assert registered.notes[0].warning


def test_projections_are_stacked_but_not_registered():
    image = Volume(np.arange(1.0, 31, dtype=np.float32).reshape(1, 1, 5, 6), Grid.projection((5, 6)))
    assert stack_channels([image, image], "a").array.shape == (2, 1, 5, 6)
    with pytest.raises(GeometryError, match="case a: image_2: rigid registration needs volumes"):
        stack_channels([image, image], "a", registration="rigid")
    for other in (ramp(), Volume(image.array[..., 1:], Grid.projection((5, 5)))):
        with pytest.raises(GeometryError, match="case a: image_2 .* does not lie on image"):
            stack_channels([image, other], "a")
