import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_sources import AXES, ct_series, make_grid, with_pixels
from pydicom.uid import JPEGLSLossless, RLELossless
from segmentations import build, random_mask, world_points

from medseg.errors import AnnotationError, GeometryError, ImageError, MedsegError
from medseg.imaging.objects.read_segmentation import read_segmentation
from medseg.volume import Grid


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("plane", AXES)
def test_highdicom_reads_the_same(plane, kind, saved):
    grid = make_grid(plane, reverse=True)
    mask = random_mask(grid.shape)
    mask[0, 0, 0] = mask[-1, 0, 0] = 1  # the volume spans the frames
    path = saved(build(mask, grid, ct_series(grid), kind))
    volume = hd.seg.segread(path).get_volume(combine_segments=True)
    affine = np.array(volume.affine)[:, [2, 1, 0, 3]]  # of the index (x, y, z)
    assert world_points(volume.array, Grid(volume.array.shape, affine)) == world_points(mask, grid)
    if kind == "binary":
        assert int(pydicom.dcmread(path).pixel_array.sum()) == np.count_nonzero(mask)


def test_overlapping_segments_stay_apart(saved):
    grid = make_grid()
    stack = np.zeros((*grid.shape, 2), np.uint8)
    stack[2, 2:6, 2:6, 0] = 1
    stack[2, 4:8, 4:8, 1] = 1  # 2 x 2 voxels are of both
    source = ct_series(grid)
    descriptions = build(stack[..., 0], grid, source).SegmentSequence
    dataset = hd.seg.Segmentation(
        source.datasets, stack, "BINARY", descriptions, "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "1",
    )  # fmt: skip
    found = read_segmentation(saved(dataset))
    for number in (1, 2):
        np.testing.assert_array_equal(found.mask([number], grid=grid)[0], stack[..., number - 1])
    np.testing.assert_array_equal(found.mask(grid=grid)[0], stack.any(axis=-1))
    with pytest.raises(AnnotationError, match="segment 2 shares 4 voxels"):
        found.labels(grid=grid)


@pytest.mark.parametrize(("kind", "syntax"), [
    ("FRACTIONAL", RLELossless), ("LABELMAP", RLELossless), ("LABELMAP", JPEGLSLossless),
])  # fmt: skip
def test_compressed_segmentations_of_others(kind, syntax, saved):
    grid = make_grid(shape=(5, 40, 48))
    mask = (random_mask(grid.shape) > 0).astype(np.uint8)
    source = ct_series(grid)
    descriptions = build(mask, grid, source, classes=("nodule",)).SegmentSequence
    dataset = hd.seg.Segmentation(
        source.datasets, mask.copy(), kind, descriptions, "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "1",
        transfer_syntax_uid=syntax,
    )  # fmt: skip
    np.testing.assert_array_equal(read_segmentation(saved(dataset)).mask(grid=grid)[0], mask)


@pytest.mark.parametrize("keyword", [
    "SegmentSequence", "SegmentationType", "PerFrameFunctionalGroupsSequence", "NumberOfFrames",
    "SharedFunctionalGroupsSequence", "Rows", "PixelData", "BitsAllocated", "SOPClassUID",
])  # fmt: skip
def test_objects_without_an_attribute_are_refused(keyword, saved):
    grid = make_grid()
    dataset = build(random_mask(grid.shape), grid, ct_series(grid))
    path = saved(dataset)
    dataset = pydicom.dcmread(path)
    delattr(dataset, keyword)
    dataset.save_as(path)
    with pytest.raises((AnnotationError, ImageError), match="object.dcm"):
        read_segmentation(path).mask()


def test_contradictions_are_refused(saved):
    grid = make_grid()
    source, mask = ct_series(grid), random_mask(grid.shape)
    dataset = build(mask, grid, source)
    dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7
    with pytest.raises(AnnotationError, match="frame 1 is of segment 7"):
        read_segmentation(saved(dataset))
    dataset = build(mask, grid, source)
    first, second = dataset.PerFrameFunctionalGroupsSequence[:2]
    second.PlanePositionSequence = first.PlanePositionSequence
    with pytest.raises(AnnotationError, match="where another of their segment does"):
        read_segmentation(saved(dataset)).mask(grid=grid)
    dataset = build(mask, grid, source, "labelmap")
    del dataset.SegmentSequence[2]
    with pytest.raises(AnnotationError, match="segments that it does not describe"):
        read_segmentation(saved(dataset)).mask(grid=grid)
    dataset = build(mask, grid, source, "fractional", probability=np.ones(grid.shape))
    dataset.MaximumFractionalValue = 100
    with pytest.raises(AnnotationError, match="fraction 255, above its largest, 100"):
        read_segmentation(saved(dataset)).mask(grid=grid)
    dataset = build(mask, grid, source)
    del dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence
    with pytest.raises(GeometryError):
        read_segmentation(saved(dataset))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "image.dcm"
    with pytest.raises(AnnotationError, match="no such file"):
        read_segmentation(path)
    path.write_bytes(b"no DICOM")
    with pytest.raises(AnnotationError, match="not readable as DICOM"):
        read_segmentation(path)
    grid = make_grid()
    with_pixels(ct_series(grid).datasets[0]).save_as(path, implicit_vr=False, little_endian=True)
    with pytest.raises(AnnotationError, match="not readable|CT Image Storage"):
        read_segmentation(path)


def test_damaged_files_give_a_reason(saved):
    grid = make_grid()
    path = saved(build(random_mask(grid.shape), grid, ct_series(grid)))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = []
    for trial in range(120):
        data = bytearray(whole)
        if trial % 3 == 0:
            data = data[: rng.integers(132, len(data))]
        for place in rng.integers(132, len(data), 4):
            data[place] = rng.integers(256)
        path.write_bytes(bytes(data))
        try:
            read_segmentation(path).mask(grid=grid)
            outcomes.append("read")
        except MedsegError:
            outcomes.append("refused")
    assert outcomes.count("refused") > 30  # every file that is cut off, at least
