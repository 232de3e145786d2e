import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_sources import AXES, ct_series, enhanced_series, make_grid, radiograph, validator_errors, with_pixels
from pydicom.sr.codedict import codes

from medseg.errors import AnnotationError, GeometryError, ImageError, MedsegError, OutputError
from medseg.imaging.objects import parametric_map, references, segmentation
from medseg.imaging.objects.parametric_map import build_parametric_map
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.read_parametric_map import read_parametric_map
from medseg.imaging.objects.settings import CodedTerm
from medseg.volume import Grid

PROVENANCE = Provenance("brain_infarct_anomaly", "0.1.0", "cd" * 32)


def build(values, grid, source, **options):
    return build_parametric_map(values, grid, source, provenance=PROVENANCE, **options)


def random_values(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(5, 12, 9), (1, 12, 9)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("plane", AXES)
def test_round_trip_is_equal_bit_for_bit(plane, reverse, shape, saved):
    grid = make_grid(plane, shape, reverse=reverse)
    values = random_values(shape)
    values[0, 0, :3] = [0, np.float32(1e-45), np.finfo(np.float32).max]  # the smallest and the largest there are
    path = saved(build(values, grid, ct_series(grid)))
    volume = read_parametric_map(path, grid=grid)
    assert volume.array[0].tobytes() == values.tobytes()
    alone = read_parametric_map(path)
    index = np.array([[3, 2, 0], [0, 0, shape[0] - 1], [8, 11, shape[0] // 2]])
    there = np.rint(alone.grid.to_index(grid.to_world(index))).astype(int)
    np.testing.assert_allclose(alone.grid.to_world(there), grid.to_world(index), atol=1e-6)
    for (x, y, z), (i, j, k) in zip(index, there):
        assert alone.array[0, k, j, i] == values[z, y, x]


def test_enhanced_source(saved):
    grid = make_grid("oblique")
    source = enhanced_series(grid)
    values = random_values(grid.shape)
    path = saved(build(values, grid, source))
    np.testing.assert_array_equal(read_parametric_map(path, grid=grid).array[0], values)
    found = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
    numbers = [group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber for group in found]
    assert sorted(numbers) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_maps_of_one_value(value, saved, tmp_path):
    grid = make_grid()
    dataset = build(np.full(grid.shape, value, np.float32), grid, ct_series(grid))
    assert (read_parametric_map(saved(dataset)).array == value).all()
    assert validator_errors(dataset, tmp_path / "pm.dcm") == []


@pytest.mark.parametrize("mr", [False, True])
def test_validator_finds_no_error(mr, tmp_path):
    grid = make_grid("oblique")
    source = ct_series(grid, mr=mr)
    assert validator_errors(with_pixels(source.datasets[0]), tmp_path / "source.dcm") == []
    dataset = build(np.clip(random_values(grid.shape), 0, 1), grid, source)
    assert validator_errors(dataset, tmp_path / "pm.dcm") == []


def test_highdicom_reads_the_same(saved):
    grid = make_grid("sagittal", reverse=True)
    values = random_values(grid.shape)
    volume = hd.imread(saved(build(values, grid, ct_series(grid)))).get_volume()
    for z, y, x in [(0, 0, 0), (4, 11, 8), (2, 3, 5)]:
        position = grid.to_world(np.array([[x, y, z]]))
        k, j, i = np.rint(volume.map_reference_to_indices(position)[0]).astype(int)
        assert volume.array[k, j, i] == values[z, y, x]


def test_content(saved):
    grid = make_grid()
    score = CodedTerm(value="113071", scheme="DCM", meaning="Z-score")
    path = saved(build(random_values(grid.shape), grid, ct_series(grid), quantity=score))
    dataset = pydicom.dcmread(path)
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.SeriesDescription.startswith(NOTICE)
    assert len(dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 5
    (note,) = read_parametric_map(path).notes
    assert note.message == "holds Z-score, unit no units"


def test_values_are_what_the_mapping_says(saved):
    grid = make_grid()
    values = random_values(grid.shape)
    dataset = build(values, grid, ct_series(grid))
    mapping = dataset.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 2.0, -1.0
    found = read_parametric_map(saved(dataset), grid=grid)
    np.testing.assert_allclose(found.array[0], 2 * values - 1, rtol=1e-6)
    mapping.RealWorldValueSlope = 0.0
    with pytest.raises(ImageError, match="slope 0"):
        read_parametric_map(saved(dataset))


def test_what_cannot_be_written_is_refused():
    grid = make_grid()
    source, values = ct_series(grid), random_values(grid.shape)
    with pytest.raises(OutputError, match=r"A\.75\.3"):
        build(random_values((1, 10, 14)), Grid.projection((10, 14)), radiograph())
    with pytest.raises(OutputError, match="not finite"):
        build(np.where(values > 2, np.nan, values).astype(np.float32), grid, source)
    with pytest.raises(OutputError, match="32 bit"):
        build(values.astype(np.float64), grid, source)
    with pytest.raises(OutputError, match="its grid"):
        build(values[1:], grid, source)


def test_damaged_maps_are_refused(saved):
    grid = make_grid()
    dataset = build(random_values(grid.shape), grid, ct_series(grid))
    path = saved(dataset)
    for keyword in ("FloatPixelData", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "Rows"):
        changed = pydicom.dcmread(path)
        delattr(changed, keyword)
        changed.save_as(path)
        with pytest.raises(MedsegError, match="object.dcm"):
            read_parametric_map(path)
        path = saved(dataset)
    with pytest.raises(GeometryError, match="no values for 1 of 6 slices"):
        read_parametric_map(path, grid=Grid((6, *grid.shape[1:]), grid.affine))
    dataset.PerFrameFunctionalGroupsSequence[1] = dataset.PerFrameFunctionalGroupsSequence[0]
    with pytest.raises(ImageError, match="several values at one place"):
        read_parametric_map(saved(dataset), grid=grid)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MedsegError, match="object.dcm"):
        read_parametric_map(path)
    with_pixels(ct_series(grid).datasets[0]).save_as(path, enforce_file_format=True)
    with pytest.raises(AnnotationError, match="a DICOM Parametric Map was expected"):
        read_parametric_map(path)


def test_codes_are_those_of_the_standard():
    terms = [
        parametric_map.PROBABILITY, parametric_map.DERIVATION, segmentation.SEGMENTATION, references.SOURCE_IMAGE,
    ]  # fmt: skip
    known = {getattr(codes.DCM, name).value: getattr(codes.DCM, name).meaning for name in codes.DCM.dir()}
    assert {term.value: term.meaning for term in terms} == {term.value: known[term.value] for term in terms}
    unit = parametric_map.NO_UNITS
    assert (unit.value, unit.scheme, unit.meaning) == codes.UCUM.NoUnits[:3]
