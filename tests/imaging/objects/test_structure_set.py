import numpy as np
import pydicom
import pydicom.data
import pytest
from dicom_sources import AXES, ct_series, make_grid
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from pydicom.uid import RTStructureSetStorage, generate_uid

from medseg.errors import AnnotationError, GeometryError, MedsegError
from medseg.imaging.objects.contour_mask import roi_mask
from medseg.imaging.objects.rasterize import fill_polygons
from medseg.imaging.objects.structure_set import Contour, Roi, read_structure_set
from medseg.imaging.objects.write import write_object
from medseg.volume import Grid

SQUARE = np.array([[1.5, 1.5], [6.5, 1.5], [6.5, 6.5], [1.5, 6.5]])


def roi(*contours, geometry="CLOSED_PLANAR"):
    return Roi(1, "lesion", tuple(Contour(np.asarray(points, float), geometry) for points in contours))


def on_slice(grid, polygon, z):
    """Polygon (x, y) in pixels as points in the world."""
    return grid.to_world(np.column_stack([polygon, np.full(len(polygon), z)]))


# rasterising


def test_rectangle_has_the_pixels_whose_centres_it_holds():
    filled = fill_polygons([np.array([[1.2, 2.7], [4.1, 2.7], [4.1, 5.0], [1.2, 5.0]])], (8, 7))
    expected = np.zeros((8, 7), bool)
    expected[3:5, 2:5] = True  # row 5 lies on the lower edge
    np.testing.assert_array_equal(filled, expected)


def test_polygons_that_share_an_edge_share_no_pixel():
    left, right = np.array([[0, 0], [3, 0], [3, 4], [0, 4]]), np.array([[3, 0], [6, 0], [6, 4], [3, 4]])
    both = fill_polygons([left], (5, 8)).astype(int) + fill_polygons([right], (5, 8))
    assert both.max() == 1
    assert both.sum() == 24


@pytest.mark.parametrize("radius", [0.4, 3.3, 9.7, 40.0])
def test_circle(radius):
    angle = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    centre = np.array([30.21, 28.33])
    filled = fill_polygons([centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)], (60, 64))
    y, x = np.mgrid[:60, :64]
    distance = np.hypot(x - centre[0], y - centre[1])
    sure = np.abs(distance - radius) > 1e-3
    np.testing.assert_array_equal(filled[sure], (distance < radius)[sure])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-4, 16), st.floats(-4, 16)), min_size=3, max_size=12))
def test_random_polygons_follow_the_even_odd_rule(points):
    polygon = np.array(points) + 0.01234  # so that centres hardly ever lie on an edge
    filled = fill_polygons([polygon], (12, 13))
    start, end = polygon, np.roll(polygon, -1, axis=0)
    for y in range(12):
        for x in range(13):
            crossings = 0
            for (x1, y1), (x2, y2) in zip(start, end):
                if (y1 <= y) != (y2 <= y) and x1 + (y - y1) / (y2 - y1) * (x2 - x1) <= x:
                    crossings += 1
            assert filled[y, x] == (crossings % 2 == 1)


def test_convex_polygons_agree_with_another_library():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:40, :50]
    centres = np.column_stack([x.ravel(), y.ravel()])
    for _ in range(20):
        angle = np.sort(rng.random(7)) * 2 * np.pi
        polygon = rng.random(2) * 40 + rng.random() * 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        expected = Outline(polygon).contains_points(centres).reshape(40, 50)
        np.testing.assert_array_equal(fill_polygons([polygon], (40, 50)), expected)


def test_holes_and_keyholes_are_the_same():
    hole = SQUARE * 0.5 + 2.1
    ring = fill_polygons([SQUARE, hole], (9, 9))
    keyhole = np.concatenate([SQUARE, SQUARE[:1], hole[::-1], hole[-1:]])
    np.testing.assert_array_equal(fill_polygons([keyhole], (9, 9)), ring)
    assert ring.sum() == fill_polygons([SQUARE], (9, 9)).sum() - fill_polygons([hole], (9, 9)).sum() > 0


# masks


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("plane", AXES)
def test_contours_become_masks_in_any_orientation(plane, reverse):
    grid = make_grid(plane, (5, 9, 8), reverse=reverse)
    mask, notes = roi_mask(
        roi(on_slice(grid, SQUARE, 2), on_slice(grid, SQUARE, 3), on_slice(grid, SQUARE[:3], 4)), grid
    )
    expected = np.zeros(grid.shape, np.uint8)
    expected[2:4, 2:7, 2:7] = 1
    np.testing.assert_array_equal(mask[:4], expected[:4])
    np.testing.assert_array_equal(mask[4], fill_polygons([SQUARE[:3]], (9, 8)))
    assert notes == ()


def test_inner_contours_are_holes_on_their_slice_only():
    grid = make_grid(shape=(4, 9, 8))
    hole = np.array([[3.5, 3.5], [5.5, 3.5], [5.5, 5.5], [3.5, 5.5]])
    mask, _ = roi_mask(roi(on_slice(grid, SQUARE, 1), on_slice(grid, SQUARE, 2), on_slice(grid, hole, 1)), grid)
    assert mask.sum(axis=(1, 2)).tolist() == [0, 25 - 4, 25, 0]


def test_finer_contours_are_united():
    grid = make_grid(shape=(4, 9, 8))
    mask, notes = roi_mask(roi(*(on_slice(grid, SQUARE, z) for z in (0.6, 1.0, 1.4))), grid)
    assert mask.sum(axis=(1, 2)).tolist() == [0, 25, 0, 0]
    assert [note.code for note in notes] == ["contours_between_slices"]


def test_slices_without_contours_are_said():
    grid = make_grid(shape=(8, 9, 8))
    _, notes = roi_mask(roi(*(on_slice(grid, SQUARE, z) for z in (1, 3, 5))), grid)
    assert [note.code for note in notes] == ["contours_with_gaps"]
    assert "2 slice(s)" in notes[0].message
    assert notes[0].warning


def test_contours_beyond_the_edge_are_cut_with_a_note():
    grid = make_grid(shape=(3, 9, 8))
    mask, notes = roi_mask(roi(on_slice(grid, SQUARE - 3, 1)), grid)
    assert mask.sum() == 16  # pixels 0 to 3
    assert [note.code for note in notes] == ["contours_cut"]


def test_contours_between_centres_say_that_nothing_is_left():
    grid = make_grid(shape=(3, 9, 8))
    mask, notes = roi_mask(roi(on_slice(grid, SQUARE * 0.1 + 2.05, 1)), grid)
    assert not mask.any()
    assert [note.code for note in notes] == ["contours_too_small"]


@pytest.mark.parametrize("place", [([20, 0], 1), ([0, -30], 1), ([0, 0], 3.0), ([0, 0], -0.6)])
def test_contours_off_the_image_are_refused(place):
    grid = make_grid(shape=(3, 9, 8))
    shift, z = place
    with pytest.raises(AnnotationError, match="1 of 2 contours lie off the image"):
        roi_mask(roi(on_slice(grid, SQUARE, 1), on_slice(grid, SQUARE + shift, z)), grid)


def test_contours_of_another_orientation_are_refused():
    grid = make_grid(shape=(9, 9, 9), spacing=(1, 1, 1))
    upright = grid.to_world(np.column_stack([np.full(4, 4.0), SQUARE]))
    with pytest.raises(GeometryError, match="leave their slice"):
        roi_mask(roi(upright), grid)
    with pytest.raises(GeometryError, match="projection"):
        roi_mask(roi(upright), Grid.projection((9, 9)))


def test_regions_without_closed_contours_are_refused():
    grid = make_grid()
    with pytest.raises(AnnotationError, match="only OPEN_PLANAR"):
        roi_mask(roi(on_slice(grid, SQUARE, 1), geometry="OPEN_PLANAR"), grid)
    with pytest.raises(AnnotationError, match="only no contours"):
        roi_mask(roi(), grid)


# files


def item(**values):
    dataset = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def structure_set(source, *rois):
    """Structure set of regions (number, name, [(geometric type, points)])."""
    dataset = item(
        SOPClassUID=RTStructureSetStorage, SOPInstanceUID=generate_uid(), Modality="RTSTRUCT", PatientID="P1",
        StudyInstanceUID=generate_uid(), SeriesInstanceUID=generate_uid(),
    )  # fmt: skip
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    frame = source.datasets[0].FrameOfReferenceUID
    images = [item(ReferencedSOPInstanceUID=image.SOPInstanceUID) for image in source.datasets]
    series = item(SeriesInstanceUID=source.datasets[0].SeriesInstanceUID, ContourImageSequence=images)
    study = item(RTReferencedSeriesSequence=[series])
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    dataset.StructureSetROISequence = [
        item(ROINumber=number, ROIName=name, ReferencedFrameOfReferenceUID=frame) for number, name, _ in rois
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=number, ContourSequence=[
            item(
                ContourGeometricType=kind, NumberOfContourPoints=len(points),
                ContourData=[f"{value:.6f}" for value in np.ravel(points)],
            )
            for kind, points in contours
        ])
        for number, _, contours in rois
    ]  # fmt: skip
    dataset.RTROIObservationsSequence = [
        item(ReferencedROINumber=number, RTROIInterpretedType="GTV") for number, _, _ in rois
    ]
    return dataset


def test_a_file_is_read(tmp_path):
    grid = make_grid("oblique", (5, 9, 8))
    source = ct_series(grid)
    square = on_slice(grid, SQUARE, 2)
    write_object(tmp_path / "rt.dcm", structure_set(
        source, (3, "nodule", [("CLOSED_PLANAR", square)]),
        (7, "seed", [("POINT", square[:1]), ("POINT", square[2:3])]), (8, "empty", []),
    ))  # fmt: skip
    found = read_structure_set(tmp_path / "rt.dcm")
    nodule, seed, empty = found.rois
    assert (nodule.number, nodule.name, nodule.kind) == (3, "nodule", "GTV")
    np.testing.assert_allclose(nodule.contours[0].points, square, atol=1e-6)
    np.testing.assert_allclose(seed.points, square[[0, 2]], atol=1e-6)
    assert empty.contours == ()
    assert found.series_uids == (source.datasets[0].SeriesInstanceUID,)
    assert found.instance_uids == tuple(image.SOPInstanceUID for image in source.datasets)
    assert found.frame_of_reference_uids == (source.datasets[0].FrameOfReferenceUID,)
    assert roi_mask(nodule, grid)[0].sum() == 25


def test_the_library_s_own_example_is_read():
    found = read_structure_set(pydicom.data.get_testdata_file("rtstruct.dcm", download=False))
    raw = pydicom.dcmread(force=True, fp=pydicom.data.get_testdata_file("rtstruct.dcm", download=False))
    expected = [len(contour.ContourSequence) for contour in raw.ROIContourSequence]
    assert sorted(len(found_roi.contours) for found_roi in found.rois) == sorted(expected)
    np.testing.assert_array_equal(
        found.rois[0].contours[0].points.ravel(),
        np.array(raw.ROIContourSequence[0].ContourSequence[0].ContourData, float),
    )


@pytest.mark.parametrize(("change", "reason"), [
    (lambda d: delattr(d, "StructureSetROISequence"), "describes no regions"),
    (lambda d: setattr(d.ROIContourSequence[0], "ReferencedROINumber", 9), "region 9"),
    (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "NumberOfContourPoints", 5), "12 coordinates"),
    (lambda d: delattr(d.ROIContourSequence[0].ContourSequence[0], "ContourData"), "0 coordinates"),
    (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourGeometricType", "BLOB"), "BLOB"),
    (lambda d: d.StructureSetROISequence.append(d.StructureSetROISequence[0]), "given twice"),
    (lambda d: setattr(d.ROIContourSequence[0].ContourSequence[0], "ContourData", ["1e9"] * 12), "no place"),
    (lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "CT Image Storage"),
])  # fmt: skip
def test_damaged_structure_sets_are_refused(change, reason, tmp_path):
    grid = make_grid()
    dataset = structure_set(ct_series(grid), (3, "nodule", [("CLOSED_PLANAR", on_slice(grid, SQUARE, 2))]))
    change(dataset)
    write_object(tmp_path / "rt.dcm", dataset)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_structure_set(tmp_path / "rt.dcm")
    assert "rt.dcm" in str(caught.value)


def test_coordinates_that_are_no_numbers_are_refused(tmp_path):
    grid = make_grid()
    path = tmp_path / "rt.dcm"
    write_object(path, structure_set(ct_series(grid), (3, "n", [("CLOSED_PLANAR", on_slice(grid, SQUARE, 2))])))
    text = path.read_bytes()
    start = text.index(b"\\", text.index(b"\x06\x30\x50\x00")) + 1  # (3006,0050) ContourData
    path.write_bytes(text[:start] + b"x" + text[start + 1 :])
    with pytest.raises(MedsegError, match="rt.dcm"):
        read_structure_set(path)
