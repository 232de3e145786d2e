import numpy as np
import pydicom
import pytest
from dicom_sources import AXES, ct_series, enhanced_series, make_grid, radiograph, validator_errors, with_pixels
from segmentations import NODULE, build, random_mask, world_points

from medseg.errors import GeometryError, OutputError
from medseg.imaging.objects.provenance import NOTICE
from medseg.imaging.objects.read_segmentation import read_segmentation
from medseg.imaging.objects.segmentation import lesion_segments
from medseg.imaging.objects.settings import ResultSettings
from medseg.imaging.objects.template import ResultIdentity
from medseg.volume import Grid


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("shape", [(5, 12, 9), (1, 12, 9)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("plane", AXES)
def test_round_trip_is_equal_in_the_world(plane, reverse, shape, kind, saved):
    grid = make_grid(plane, shape, reverse=reverse)
    mask = random_mask(shape)
    found = read_segmentation(saved(build(mask, grid, ct_series(grid), kind)))
    on_image, same = found.labels(grid=grid)
    assert same is grid
    np.testing.assert_array_equal(on_image, mask)
    assert world_points(*found.labels()) == world_points(mask, grid)
    np.testing.assert_array_equal(found.mask([2], grid=grid)[0], mask == 2)


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_enhanced_source(kind, saved):
    grid = make_grid("oblique")
    source = enhanced_series(grid)
    mask = random_mask(grid.shape)
    path = saved(build(mask, grid, source, kind))
    np.testing.assert_array_equal(read_segmentation(path).labels(grid=grid)[0], mask)
    for group in pydicom.dcmread(path).PerFrameFunctionalGroupsSequence:
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.datasets[0].SOPInstanceUID
        there = source.datasets[0].PerFrameFunctionalGroupsSequence[reference.ReferencedFrameNumber - 1]
        position = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(there.PlanePositionSequence[0].ImagePositionPatient, position, atol=1e-6)


@pytest.mark.parametrize("kind", ["binary", "labelmap", "fractional"])
def test_projection(kind, saved):
    grid = Grid.projection((10, 14))
    mask = random_mask(grid.shape)
    probability = (mask == 1) * np.float32(0.75)
    found = read_segmentation(saved(build(mask, grid, radiograph(), kind, probability=probability)))
    assert found.frame_of_reference_uid == ""
    if kind == "fractional":
        np.testing.assert_allclose(found.probability(1)[0], probability, atol=0.5 / 255)
    else:
        array, where = found.labels()
        np.testing.assert_array_equal(array, mask)
        assert where.unit == "px"
    with pytest.raises(GeometryError, match=r"\(10, 14\)"):
        found.mask(grid=Grid.projection((14, 10)))
    with pytest.raises(GeometryError, match="do not say where they lie"):
        found.mask(grid=Grid((1, 10, 14), np.eye(4)))


def test_fractions_are_kept_to_a_step_of_255(saved):
    grid = make_grid("sagittal")
    probability = np.random.default_rng(0).random((2, *grid.shape)).astype(np.float32)
    probability[0, 0, 0, :4] = [0, 1, 127 / 255, 128 / 255]
    found = read_segmentation(saved(build(None, grid, ct_series(grid), "fractional", probability=probability)))
    for number in (1, 2):
        values, _ = found.probability(number, grid=grid)
        np.testing.assert_allclose(values, probability[number - 1], atol=0.5 / 255 + 1e-6)
    mask, _ = found.mask([1], grid=grid)
    np.testing.assert_array_equal(mask, np.rint(probability[0] * 255) >= 128)


def test_one_probability_of_several_classes_is_one_segment(saved):
    grid = make_grid()
    probability = np.full(grid.shape, 0.6, np.float32)
    found = read_segmentation(saved(build(None, grid, ct_series(grid), "fractional", probability=probability)))
    assert [segment.label for segment in found.segments] == ["finding"]


def test_segments_and_content(saved):
    grid = make_grid()
    source = ct_series(grid)
    dataset = build(random_mask(grid.shape), grid, source)
    found = read_segmentation(saved(dataset))
    assert [(s.number, s.label, s.term.meaning) for s in found.segments] == [
        (1, "nodule", "Nodule"),
        (2, "mass", "Lesion"),
    ]
    assert found.segments[0].algorithm_type == "AUTOMATIC"
    assert found.segments[0].algorithm_name == "ct_lung_nodule"
    assert dataset.SeriesDescription.startswith(NOTICE)
    assert dataset.ContentDescription.startswith(NOTICE)
    assert dataset.StudyInstanceUID == source.datasets[0].StudyInstanceUID
    assert dataset.FrameOfReferenceUID == source.datasets[0].FrameOfReferenceUID
    assert dataset.SegmentSequence[0].AnatomicRegionSequence[0].CodeMeaning == "Lung"
    assert (dataset.ManufacturerModelName, dataset.SoftwareVersions) == ("medseg", "0.1.0")


def test_one_segment_a_lesion(saved):
    grid = make_grid()
    mask = np.zeros(grid.shape, np.uint8)
    mask[2, 3, 3], mask[3, 5, 5], mask[0, 1, 1] = 1, 2, 3
    segments = lesion_segments(["nodule", "", "nodule"], ResultSettings(class_terms={"nodule": NODULE}))
    found = read_segmentation(saved(build(mask, grid, ct_series(grid), segments=segments)))
    assert [segment.label for segment in found.segments] == ["nodule 1", "lesion 2", "nodule 3"]
    assert [segment.tracking_id for segment in found.segments] == ["lesion 1", "lesion 2", "lesion 3"]
    assert len({segment.tracking_uid for segment in found.segments}) == 3
    assert found.frames.format.frames == 3  # one frame each
    np.testing.assert_array_equal(found.labels(grid=grid)[0], mask)


def test_frames_refer_to_the_slice_at_their_place(saved):
    grid = make_grid("oblique", reverse=True)
    source = ct_series(grid)
    dataset = pydicom.dcmread(saved(build(random_mask(grid.shape), grid, source)))
    (series,) = dataset.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.datasets[0].SeriesInstanceUID
    listed = [item.ReferencedSOPInstanceUID for item in series.ReferencedInstanceSequence]
    assert listed == [image.SOPInstanceUID for image in source.datasets]
    places = {image.SOPInstanceUID: image.ImagePositionPatient for image in source.datasets}
    for group in dataset.PerFrameFunctionalGroupsSequence:
        (reference,) = group.DerivationImageSequence[0].SourceImageSequence
        assert reference.SpatialLocationsPreserved == "YES"
        position = group.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(places[reference.ReferencedSOPInstanceUID], position, atol=1e-6)


def test_frames_between_slices_refer_to_none():
    grid = make_grid()
    half = np.array(grid.affine)
    half[:3, 3] += half[:3, 2] / 2
    dataset = build(random_mask(grid.shape), Grid(grid.shape, half), ct_series(grid))
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 5
    assert all(len(group.DerivationImageSequence) == 0 for group in dataset.PerFrameFunctionalGroupsSequence)


def test_frames_of_other_pixels_say_so():
    grid = make_grid()
    coarse = np.array(grid.affine)
    coarse[:3, :2] *= 2
    shape = (5, 6, 4)
    dataset = build(random_mask(shape), Grid(shape, coarse), ct_series(grid))
    references = [g.DerivationImageSequence[0].SourceImageSequence[0] for g in dataset.PerFrameFunctionalGroupsSequence]
    assert {reference.SpatialLocationsPreserved for reference in references} == {"NO"}


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_nothing_found_is_a_valid_object(kind, saved):
    grid = make_grid()
    empty = np.zeros(grid.shape, np.uint8)
    # 0.001 is below half a step of 1/255
    dataset = build(empty, grid, ct_series(grid), kind, probability=np.full(grid.shape, 0.001, np.float32))
    path = saved(dataset)
    mask, _ = read_segmentation(path).mask(grid=grid)
    assert mask.shape == grid.shape
    assert not mask.any()
    assert pydicom.dcmread(path).NumberOfFrames >= 1
    if kind != "labelmap":
        assert validator_errors(dataset, path) == []


SOURCES = {
    "CT": (make_grid("oblique"), ct_series),
    "MR": (make_grid("coronal"), lambda grid: ct_series(grid, mr=True)),
    "DX": (Grid.projection((10, 14)), lambda grid: radiograph()),
}


@pytest.mark.parametrize("kind", ["binary", "fractional"])
@pytest.mark.parametrize("name", SOURCES)
def test_validator_finds_no_error(name, kind, tmp_path):
    grid, make = SOURCES[name]
    source = make(grid)
    assert validator_errors(with_pixels(source.datasets[0]), tmp_path / "source.dcm") == []
    probability = np.random.default_rng(0).random((2, *grid.shape))
    segments = lesion_segments(["nodule", "nodule"], ResultSettings())
    dataset = build(random_mask(grid.shape), grid, source, kind, probability=probability, segments=segments)
    assert validator_errors(dataset, tmp_path / "seg.dcm") == []


def test_uids_follow_from_a_seed():
    grid = make_grid()
    source, mask = ct_series(grid), random_mask(grid.shape)
    once, again = (build(mask, grid, source, result=ResultIdentity(uid_seed="key")) for _ in range(2))
    assert once.SOPInstanceUID == again.SOPInstanceUID
    assert once.SeriesInstanceUID == again.SeriesInstanceUID != once.SOPInstanceUID
    assert once.SOPInstanceUID != build(mask, grid, source, result=ResultIdentity(uid_seed="other")).SOPInstanceUID
    assert build(mask, grid, source).SOPInstanceUID != build(mask, grid, source).SOPInstanceUID
    assert once.SOPInstanceUID.is_valid


def test_what_cannot_be_written_is_refused():
    grid = make_grid()
    source, mask = ct_series(grid), random_mask(grid.shape)
    with pytest.raises(OutputError, match="value 2, but there are 1"):
        build(mask, grid, source, classes=("nodule",))
    with pytest.raises(OutputError, match="its grid"):
        build(mask[:, :, :4], grid, source)
    with pytest.raises(OutputError, match="there are none"):
        build(mask, grid, source, "fractional")
    for wrong in (1.01, -0.1, np.nan):
        with pytest.raises(OutputError, match="between 0 and 1"):
            build(mask, grid, source, "fractional", probability=np.full(grid.shape, wrong))
    with pytest.raises(OutputError, match="not 0"):
        build(mask, grid, source, classes=())
    with pytest.raises(OutputError, match="rows, columns"):
        build(random_mask((1, 4, 4)), Grid.projection((4, 4)), radiograph((10, 14)))
    for image in source.datasets:
        image.SOPInstanceUID = ""
    with pytest.raises(OutputError, match="SOPInstanceUID"):
        build(mask, grid, source)
