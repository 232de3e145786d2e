"""What is prepared, brought back or cached in slabs is what comes of the whole volume."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from dicom_matrix import Case as DicomCase
from dicom_matrix import write_matrix_series

from medseg.data import loading
from medseg.data.cache import CacheOptions, build_cache, read_entry
from medseg.data.channel_settings import ChannelRule
from medseg.data.manifest import load_manifest
from medseg.data.npy_rows import NpyRows
from medseg.data.preprocess import prepare_image
from medseg.data.resample import canonical_grid, needed_box, resample, respaced_grid
from medseg.data.settings import InputSettings, IntensitySettings
from medseg.data.slabs import prepare_slabs, slabs_on, write_on
from medseg.errors import GeometryError, ImageError
from medseg.files import write_csv
from medseg.imaging import read, write_volume
from medseg.imaging.slab_writing import create_slabs
from medseg.imaging.slabs import WholeSlabs, open_slabs
from medseg.volume import Grid, Volume

SHAPE = (90, 13, 11)  # long, so that what the blur reaches over is a part of it along every axis that is cut
SMALL = 4 * 13 * 11 * 3  # bytes of a slab: three rows


def volume_of(order=(0, 1, 2), flips=(1, 1, 1), *, channels=1, oblique=False, shape=SHAPE):
    """A body above 0 in a field of 0, with structure at every scale; the file's axes x, y, z run along `order`."""
    random = np.random.default_rng(0)
    array = np.zeros((channels, *shape), np.float32)
    inner = tuple(slice(2 + k, n - 3 + k) for k, n in enumerate(shape))
    for channel in array:
        channel[inner] = random.normal(60, 300, channel[inner].shape)
    affine = np.eye(4)
    for axis, (world, flip, step) in enumerate(zip(order, flips, (0.8, 0.9, 1.3))):
        affine[:3, axis] = 0
        affine[world, axis] = flip * step
    affine[:3, 3] = (-40, 30, 7)
    if oblique:
        turn = np.array([[np.cos(0.2), -np.sin(0.2), 0], [np.sin(0.2), np.cos(0.2), 0], [0, 0, 1]])
        affine[:3, :3] = turn @ turn.T[[1, 2, 0]].T[:, [2, 0, 1]] @ turn @ affine[:3, :3]
    return Volume(array, Grid(shape, affine))


def grey(**settings):
    return IntensitySettings(**{"method": "window", "low": -100, "high": 400} | settings)


def compare(volume, settings, spacing, folder, *, slab_bytes=SMALL, tolerance=1e-6):
    """Prepare in both ways; return the number of slabs."""
    whole = prepare_image(volume, settings, spacing=spacing)
    reads = []

    class Counted(WholeSlabs):
        def _read(self, start, stop):
            reads.append((start, stop))
            return super()._read(start, stop)

    slabs = prepare_slabs(Counted(volume), settings, spacing=spacing, path=folder / "a.npy", slab_bytes=slab_bytes)
    assert slabs.image.shape == whole.image.shape
    assert slabs.image.dtype == np.float32
    assert slabs.grid.shape == whole.grid.shape
    assert np.array_equal(slabs.grid.affine, whole.grid.affine)
    assert np.array_equal(slabs.source.affine, whole.source.affine)
    assert np.abs(slabs.image - whole.image).max() <= tolerance * max(1.0, float(np.abs(whole.image).max()))
    assert [path.name for path in folder.iterdir()] == ["a.npy"]
    assert [start for start, _ in reads[1:]] == [stop for _, stop in reads[:-1]]  # each row once, rising
    return len(reads)


@pytest.mark.parametrize("spacing", [None, (2.5, 2.0, 3.1), (0.7, 0.6, 0.5), (1.3, 4.0, 0.8)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_axes_and_spacings(tmp_path, order, flips, spacing):
    settings = InputSettings(dimensions=3, intensity=grey())
    assert compare(volume_of(order, flips), settings, spacing, tmp_path) > 1


@pytest.mark.parametrize("crop", ["none", "above_zero"])
@pytest.mark.parametrize("foreground", ["all", "above_zero"])
@pytest.mark.parametrize("method", ["zscore", "percentile", "window", "range"])
def test_grey_values_and_crop(tmp_path, method, foreground, crop):
    settings = InputSettings(
        dimensions=3, channels=2, crop=crop, mirrored_channel=True, intensity=grey(method=method, foreground=foreground)
    )
    compare(volume_of((2, 0, 1), (1, -1, 1), channels=2), settings, (1.1, 1.0, 0.9), tmp_path)


@pytest.mark.parametrize("slab_bytes", [1, SMALL, 1 << 30])
def test_sizes_of_slabs(tmp_path, slab_bytes):
    volume = volume_of(oblique=True)
    number = compare(volume, InputSettings(dimensions=3, intensity=grey()), None, tmp_path, slab_bytes=slab_bytes)
    assert number == {1: 89, SMALL: 30, 1 << 30: 1}[slab_bytes]  # the first slab of one row reads its neighbour, too


@pytest.mark.parametrize("shape", [(1, 9, 8), (3, 9, 8), (60, 2, 3)])
def test_thin_volumes(tmp_path, shape):
    volume = volume_of(shape=shape)
    volume = volume.with_array(np.random.default_rng(0).normal(0, 100, (1, *shape)).astype(np.float32))
    compare(volume, InputSettings(dimensions=3, intensity=grey()), (3.0, 2.0, 2.0), tmp_path, slab_bytes=1)


def test_slices_and_projections_of_2d_pipelines(tmp_path):
    settings = InputSettings(dimensions=2, size=16, intensity=grey(method="zscore"))
    compare(volume_of(), settings, None, tmp_path)
    image = Volume(volume_of().array[:, 5:6], Grid.projection(SHAPE[1:]), pixel_spacing_mm=(0.2, 0.3))
    compare(image, settings, None, tmp_path)
    prepared = prepare_slabs(WholeSlabs(image), settings, spacing=None, path=tmp_path / "a.npy")
    assert prepared.pixel_spacing_mm == (0.2, 0.3)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "dicom"])
def test_from_files(tmp_path, name):
    if name == "dicom":
        write_matrix_series(tmp_path / name, DicomCase(orientation="double_oblique", flipped=True))
    else:
        write_volume(tmp_path / name, volume_of((1, 2, 0), (-1, 1, 1)))
    settings = InputSettings(dimensions=3, intensity=grey(method="percentile"))
    whole = prepare_image(read(tmp_path / name), settings, spacing=(1.7, 1.2, 1.2))
    with open_slabs(tmp_path / name) as reader:
        slabs = prepare_slabs(reader, settings, spacing=(1.7, 1.2, 1.2), path=tmp_path / "x.npy", slab_bytes=SMALL)
    assert np.abs(slabs.image - whole.image).max() <= 1e-6


@pytest.mark.parametrize(
    ("array", "settings", "says"),
    [
        (np.zeros((1, 8, 4, 4)), {}, "all zero"),
        (np.full((1, 8, 4, 4), 7), {}, "constant"),
        (np.where(np.arange(8)[:, None, None] == 6, np.nan, np.ones((1, 8, 4, 4))), {}, "not finite"),
        (-np.arange(128.0).reshape((1, 8, 4, 4)), {"crop": "above_zero"}, "no body to crop to"),
        (np.ones((2, 8, 4, 4)), {}, r"takes 1 channel\(s\), the image has 2"),
    ],
)
def test_images_without_content_are_refused_and_leave_nothing(tmp_path, array, settings, says):
    volume = Volume(np.float32(array), Grid((8, 4, 4), np.eye(4)))
    settings = InputSettings(dimensions=3, **settings)
    for prepare in (
        lambda: prepare_image(volume, settings, spacing=None),
        lambda: prepare_slabs(WholeSlabs(volume), settings, spacing=None, path=tmp_path / "a.npy", slab_bytes=64),
    ):
        with pytest.raises(ImageError, match=says):
            prepare()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("outside", [None, -7.0])
@pytest.mark.parametrize("interpolation", ["linear", "nearest"])
def test_a_box_from_what_it_needs_is_that_of_the_whole(interpolation, outside, smooth):
    """Also beyond the source, and where the grids are oblique to each other."""
    volume = volume_of(oblique=True)
    values = volume.array[0]
    around = respaced_grid(canonical_grid(volume.grid), (2.1, 1.9, 2.4))
    affine = around.affine.copy()
    affine[:3, 3] -= (9, 8, 7)
    target = Grid((22, 21, 20), affine)
    options = {"interpolation": interpolation, "outside": outside, "smooth": smooth}
    whole = resample(values, volume.grid, target, **options)
    for start in [(0, 0, 0), (5, 9, 4), (19, 18, 17), (10, 0, 19)]:
        box = tuple(slice(first, min(first + 3, n)) for first, n in zip(start, target.shape))
        part = needed_box(volume.grid, target, box, smooth=smooth)
        begin = tuple(span.start for span in part)
        found = resample(values[part], volume.grid, target, begin=begin, box=box, **options)
        assert np.abs(found - whole[box]).max() <= 1e-4  # of values up to 1000


@pytest.mark.parametrize("spacing", [(1.3, 0.9, 0.8), (2.6, 1.8, 1.6), (0.9, 1.7, 0.6)])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_map_comes_back_to_the_source(tmp_path, order, spacing):
    source = volume_of(order, (-1, 1, -1)).grid
    grid = respaced_grid(canonical_grid(source), spacing)
    heat = np.random.default_rng(0).random(grid.shape).astype(np.float32)
    np.save(tmp_path / "map.npy", heat)
    whole = resample(heat, grid, source, smooth=False)
    with NpyRows(tmp_path / "map.npy") as values:
        parts = list(slabs_on(values, grid, source, slab_bytes=SMALL))
        assert [row for row, _ in parts] == list(range(0, 90, 3))
        assert np.array_equal(np.concatenate([slab for _, slab in parts]), whole)
        share = [slab for _, slab in slabs_on(values, grid, source, start=5, stop=12, slab_bytes=SMALL)]
        assert np.array_equal(np.concatenate(share), whole[5:12])
        write_on(values, grid, source, tmp_path / "map.nii.gz", slab_bytes=SMALL)
        write_on(values, grid, source, tmp_path / "mask.nii", threshold=0.5, slab_bytes=SMALL)
        with pytest.raises(GeometryError, match="does not fit the grid"):
            next(slabs_on(values, Grid((2, 3, 4), np.eye(4)), source))
    back = read(tmp_path / "map.nii.gz")
    assert np.array_equal(back.array[0], whole)
    assert np.allclose(back.grid.affine, source.affine, atol=1e-5)
    assert np.array_equal(read(tmp_path / "mask.nii").array[0], whole >= 0.5)


def write_cases(folder, *, n_channels=1, other_grid=False):
    """A data set of one case with a mask, and the cache's options for it."""
    volumes = volume_of(channels=n_channels)
    mask = np.zeros(SHAPE, np.float32)
    mask[10:14, 8:12, 8:12] = 1
    row = {"case_id": "a", "patient_id": "p", "mask": "mask.nii.gz"}
    for number, array in enumerate(volumes.array, start=1):
        column = "image" if number == 1 else f"image_{number}"
        grid = volumes.grid
        if other_grid and number == 2:
            grid = Grid(SHAPE, grid.affine @ np.diag([1.01, 1, 1, 1]))
        write_volume(folder / f"{column}.nii.gz", Volume(array[None], grid))
        row[column] = f"{column}.nii.gz"
    write_volume(folder / "mask.nii.gz", Volume(mask[None], volumes.grid))
    write_csv(folder / "dataset.csv", list(row), [row])
    return list(load_manifest(folder / "dataset.csv").cases)


def cached(cases, options, folder, large_bytes):
    entries, failures = build_cache(cases, options, folder, large_bytes=large_bytes)
    assert not failures
    return read_entry(entries["a"])


@pytest.mark.parametrize("n_channels", [1, 2])
def test_large_cases_are_cached_in_slabs(tmp_path, monkeypatch, n_channels):
    cases = write_cases(tmp_path, n_channels=n_channels)
    settings = InputSettings(dimensions=3, channels=n_channels, intensity=grey(method="zscore"))
    options = CacheOptions(settings, (1.5, 1.1, 1.0), ("lesion",))
    whole = cached(cases, options, tmp_path / "whole", 1 << 30)
    # what is prepared in memory now would fail
    monkeypatch.setattr(loading, "prepare_image", None)
    slabs = cached(cases, options, tmp_path / "slabs", 1000)
    assert np.abs(slabs.image - whole.image).max() <= 1e-5
    assert np.array_equal(slabs.instances, whole.instances)
    assert slabs.instances.any()
    assert np.array_equal(slabs.grid.affine, whole.grid.affine)
    assert [path.name for path in (tmp_path / "slabs").iterdir()] == [
        path.name for path in (tmp_path / "whole").iterdir()
    ]


def test_channels_on_other_grids_are_stacked_whole_and_this_is_said(tmp_path, caplog):
    cases = write_cases(tmp_path, n_channels=2, other_grid=True)
    options = CacheOptions(InputSettings(dimensions=3, channels=2, intensity=grey()), None, ("lesion",))
    whole = cached(cases, options, tmp_path / "whole", 1 << 30)
    assert "in slabs" not in caplog.text
    slabs = cached(cases, options, tmp_path / "slabs", 1000)
    assert np.array_equal(whole.image, slabs.image)
    assert "case a is large, but its images cannot be read in slabs" in caplog.text


@pytest.mark.parametrize(("fallbacks", "same_as"), [((None, "zeros", "b"), [0, None, None]), ((None, "a"), [0, 0])])
def test_channels_that_are_missing(tmp_path, fallbacks, same_as):
    """Zeros stay zeros; another channel stands for what it replaces."""
    (case,) = write_cases(tmp_path)
    rules = tuple(ChannelRule(name=name, description=name, fallback=f) for name, f in zip("abc", fallbacks))
    settings = InputSettings(dimensions=3, channels=len(rules), series=rules, intensity=grey(method="zscore"))
    options = CacheOptions(settings, (1.5, 1.1, 1.0), ("lesion",))
    images = (case.images[0], *[None] * (len(rules) - 1))
    with loading.open_images(images, "a", settings) as opened:
        whole = prepare_image(opened.stacked(), settings, spacing=options.spacing)
        channels = opened.channels()
        slabs = prepare_slabs(
            channels, settings, spacing=options.spacing, path=tmp_path / "x.npy", missing=channels.missing,
            slab_bytes=SMALL,
        )  # fmt: skip
    assert np.abs(slabs.image - whole.image).max() <= 1e-5
    for channel, other in zip(slabs.image, same_as):
        assert np.array_equal(channel, slabs.image[0] if other == 0 else np.zeros_like(channel))


PEAK = """
import sys
from pathlib import Path
from medseg.data.preprocess import prepare_image
from medseg.data.settings import InputSettings
from medseg.data.slabs import prepare_slabs
from medseg.imaging import read
from medseg.imaging.slabs import open_slabs
def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
path, settings = Path(sys.argv[1]), InputSettings(dimensions=3, crop="above_zero", mirrored_channel=True)
prepare_image(read(path.with_name("small.nii")), settings, spacing=(1.4, 1.4, 1.4))  # what is loaded late is loaded
before = peak()
if sys.argv[2] == "whole":
    prepare_image(read(path), settings, spacing=(1.4, 1.4, 1.4))
else:
    with open_slabs(path) as reader:
        prepare_slabs(reader, settings, spacing=(1.4, 1.4, 1.4), path=path.parent / "x.npy", slab_bytes=1 << 21)
print((peak() - before) / 1024)
"""


def test_memory_holds_slabs_alone(tmp_path):
    """A volume of 50 MB as float32, in slabs of 2 MB and what the blur reaches over, another 2 MB."""
    grid = Grid((512, 160, 160), np.eye(4))
    write_volume(tmp_path / "small.nii", volume_of())
    with create_slabs(tmp_path / "a.nii", grid, np.int16) as writer:
        for row in range(0, 512, 64):
            writer.write(row, np.random.default_rng(row).integers(0, 99, (64, 160, 160)).astype(np.int16))
    peaks = {}
    for way in ("whole", "slabs"):
        command = [sys.executable, "-c", PEAK, tmp_path / "a.nii", way]
        peaks[way] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert peaks["whole"] > 100
    assert peaks["slabs"] < 32, peaks
