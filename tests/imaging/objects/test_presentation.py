import numpy as np
import pydicom
import pytest
from dicom_sources import ct_series, enhanced_series, make_grid, radiograph, validator_errors

from medseg.errors import OutputError
from medseg.imaging.objects.presentation import build_presentation
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.settings import CodedTerm, ResultSettings
from medseg.imaging.objects.write import write_object
from medseg.lesion import Finding
from medseg.volume import Grid

PROVENANCE = Provenance("nodules", "1.2.3", "ab" * 32)
BOX = (0, 0, 0, 1, 1, 1)
# hand-countable: slices 2 mm apart, pixels of 0.5 mm
GRID = make_grid("axial", (7, 40, 50), spacing=(2.0, 0.5, 0.5))
PROJECTION = Grid.projection((10, 14))


def finding(grid, index, diameter, score=0.875, *, name="nodule"):
    x, y, z = (float(value) for value in grid.to_world(np.array([index], dtype=float))[0])
    return Finding(x, y, z, grid.unit, diameter**3, float(diameter), score, name, BOX)


def presentation(findings, grid, source, *, settings=None, **options):
    return build_presentation(
        findings, grid, source, settings=settings or ResultSettings(), provenance=PROVENANCE, **options
    )


def circles(state):
    """{(SOP Instance UID, frame): [(centre column, centre row, radius), ...]}"""
    found = {}
    for annotation in state.GraphicAnnotationSequence:
        for graphic in annotation.get("GraphicObjectSequence", []):
            assert (graphic.GraphicType, graphic.GraphicAnnotationUnits) == ("CIRCLE", "PIXEL")
            centre, edge = np.array(graphic.GraphicData).reshape(2, 2)
            (image,) = annotation.ReferencedImageSequence
            key = image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber")
            found.setdefault(key, []).append((*centre, np.linalg.norm(edge - centre)))
    return found


def texts(state):
    return [
        text.UnformattedTextValue
        for annotation in state.GraphicAnnotationSequence
        for text in annotation.TextObjectSequence
    ]


def test_a_sphere_is_a_circle_on_each_slice_that_it_cuts():
    """A sphere of 10 mm on slice 3 cuts those 2 and 4 mm away: radii 5, sqrt(21) and 3 mm, in pixels twice that."""
    source = ct_series(GRID)
    state = presentation([finding(GRID, (20, 15, 3), 10)], GRID, source)
    uids = [image.SOPInstanceUID for image in source.datasets]
    radii = {1: 6, 2: 2 * 21**0.5, 3: 10, 4: 2 * 21**0.5, 5: 6}
    found = circles(state)
    assert list(found) == [(uids[number], None) for number in radii]
    for number, radius in radii.items():  # the first pixel's centre is 0.5\0.5 (PS3.3 C.10.5)
        assert found[uids[number], None] == [pytest.approx((20.5, 15.5, radius))]
    assert texts(state)[:-1] == ["1: 0.88"] * 5


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "oblique"])
@pytest.mark.parametrize("reverse", [False, True])
def test_slices_are_found_in_every_direction(plane, reverse):
    grid = make_grid(plane, (7, 40, 50), spacing=(2.0, 0.5, 0.5), reverse=reverse)
    source = ct_series(grid)
    found = circles(presentation([finding(grid, (30, 12, 5.6), 1)], grid, source))
    expected = source.datasets[0 if reverse else 6]  # slice 6 is the nearest; files go along the normal
    assert found == {(expected.SOPInstanceUID, None): [pytest.approx((30.5, 12.5, 2))]}  # at least two pixels


def test_frames_are_named_by_their_number():
    source = enhanced_series(GRID)  # frames in reverse order
    found = circles(presentation([finding(GRID, (20, 15, 5), 3)], GRID, source))
    assert list(found) == [(source.datasets[0].SOPInstanceUID, 2)]


def test_findings_on_one_slice_share_its_annotation():
    source = ct_series(GRID)
    findings = [finding(GRID, (10, 10, 3), 2, 0.9), finding(GRID, (30, 30, 3), 2, 0.1, name="mass")]
    settings = ResultSettings(class_terms={"mass": CodedTerm(value="4147007", scheme="SCT", meaning="Mass")})
    state = presentation(findings, GRID, source, settings=settings)
    assert len(state.GraphicAnnotationSequence) == 2
    assert [len(found) for found in circles(state).values()] == [2]
    assert texts(state) == ["1: 0.90", "2: 0.10 Mass", f"medseg: 2 finding(s). {NOTICE}"]


def test_circles_at_the_edge_stay_on_the_image():
    columns, rows = 14, 10
    findings = [Finding(x, y, 0, "px", 9, 6.0, 0.5, "", BOX) for x in (0, 6.5, 13) for y in (0, 4.5, 9)]
    state = presentation(findings, PROJECTION, radiograph((rows, columns)))
    (found,) = circles(state).values()
    assert found == [pytest.approx((item.x + 0.5, item.y + 0.5, 3)) for item in findings]
    for annotation in state.GraphicAnnotationSequence:
        for graphic in annotation.get("GraphicObjectSequence", []):
            points = np.array(graphic.GraphicData).reshape(-1, 2)
            assert points.min() >= 0
            assert (points <= [columns, rows]).all()


def test_a_circle_around_the_whole_image_runs_along_its_edge():
    state = presentation([Finding(6.5, 4.5, 0, "px", 9, 100.0, 0.5, "", BOX)], PROJECTION, radiograph())
    (graphic,) = state.GraphicAnnotationSequence[0].GraphicObjectSequence
    points = np.array(graphic.GraphicData).reshape(-1, 2)
    assert graphic.GraphicType == "POLYLINE"
    assert (points.min(axis=0).tolist(), points.max(axis=0).tolist()) == ([0, 0], [14, 10])


def test_pixels_that_are_not_square_make_an_ellipse():
    grid = make_grid("axial", (3, 40, 50), spacing=(2.0, 0.5, 1.0))
    state = presentation([finding(grid, (20, 15, 1), 8)], grid, ct_series(grid))
    graphic = state.GraphicAnnotationSequence[1].GraphicObjectSequence[0]
    points = np.array(graphic.GraphicData).reshape(-1, 2)
    assert graphic.GraphicType == "POLYLINE"
    assert np.allclose((((points - [20.5, 15.5]) / [4, 8]) ** 2).sum(axis=1), 1)
    assert points[0].tolist() == points[-1].tolist()
    assert state.DisplayedAreaSelectionSequence[0].PresentationPixelSpacing == [0.5, 1.0]


@pytest.mark.parametrize("kind", ["CT", "MR", "enhanced CT", "DX"])
@pytest.mark.parametrize("n_findings", [0, 2])
def test_the_validator_finds_no_errors(kind, n_findings, tmp_path):
    source = {
        "CT": lambda: ct_series(GRID), "MR": lambda: ct_series(GRID, mr=True),
        "enhanced CT": lambda: enhanced_series(GRID), "DX": radiograph,
    }[kind]()  # fmt: skip
    grid = PROJECTION if kind == "DX" else GRID
    findings = [finding(grid, (3, 4, 0), 5), finding(grid, (8, 4, 0), 2)][:n_findings]
    state = presentation(findings, grid, source, window=(-160, 240))
    assert validator_errors(state, tmp_path / "pr.dcm") == []


def test_nothing_found_still_says_so():
    state = presentation([], GRID, ct_series(GRID))
    (annotation,) = state.GraphicAnnotationSequence
    assert "ReferencedImageSequence" not in annotation  # on all images
    assert texts(state) == [f"medseg: 0 finding(s). {NOTICE}"]


def test_it_refers_to_all_images_of_the_source(tmp_path):
    source = ct_series(GRID)
    write_object(tmp_path / "pr.dcm", presentation([finding(GRID, (20, 15, 3), 10)], GRID, source))
    state = pydicom.dcmread(tmp_path / "pr.dcm")
    (series,) = state.ReferencedSeriesSequence
    uids = [image.SOPInstanceUID for image in source.datasets]
    assert [item.ReferencedSOPInstanceUID for item in series.ReferencedImageSequence] == uids
    assert series.SeriesInstanceUID == source.datasets[0].SeriesInstanceUID != state.SeriesInstanceUID
    assert state.StudyInstanceUID == source.datasets[0].StudyInstanceUID
    assert state.SeriesDescription.startswith(NOTICE)
    assert [layer.GraphicLayer for layer in state.GraphicLayerSequence] == ["MEDSEG"]


def test_the_window_is_in_modality_values():
    state = presentation([], GRID, ct_series(GRID), window=(-160, 240))
    assert (state.RescaleSlope, state.RescaleIntercept, state.RescaleType) == (1, -1024, "HU")
    (window,) = state.SoftcopyVOILUTSequence
    assert (window.WindowCenter, window.WindowWidth, window.VOILUTFunction) == (40, 400, "LINEAR_EXACT")


def test_images_keep_their_own_windows():
    source = ct_series(GRID)
    for number, image in enumerate(source.datasets):
        image.WindowCenter, image.WindowWidth = [40, 600] if number < 5 else 60, [400, 1500] if number < 5 else 300
    state = presentation([], GRID, source)
    first, second = state.SoftcopyVOILUTSequence
    assert [(item.WindowCenter, item.WindowWidth) for item in (first, second)] == [(40, 400), (60, 300)]
    assert [len(item.ReferencedImageSequence) for item in (first, second)] == [5, 2]


@pytest.mark.parametrize("window", [(0, 10), None])
def test_slices_of_different_slopes_have_windows_in_stored_values(window):
    """As in PET: black and white at 0 and 10 are at the stored values 0 and 10 / slope."""
    source = ct_series(GRID)
    slopes = [1 + number / 4 for number in range(7)]
    for image, slope in zip(source.datasets, slopes):
        image.RescaleSlope, image.RescaleIntercept = slope, 0
        image.WindowCenter, image.WindowWidth = 5, 10
    state = presentation([], GRID, source, window=window)
    assert "RescaleSlope" not in state
    for item, image, slope in zip(state.SoftcopyVOILUTSequence, source.datasets, slopes, strict=True):
        assert item.ReferencedImageSequence[0].ReferencedSOPInstanceUID == image.SOPInstanceUID
        assert float(item.WindowCenter) == pytest.approx(5 / slope)
        assert float(item.WindowWidth) == pytest.approx(10 / slope)


def test_white_to_black_stays_so():
    source = radiograph()
    assert presentation([], PROJECTION, source).PresentationLUTShape == "IDENTITY"
    source.datasets[0].PhotometricInterpretation = "MONOCHROME1"
    assert presentation([], PROJECTION, source).PresentationLUTShape == "INVERSE"  # PS3.4 N.2.1.4


def test_a_japanese_name_survives(tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    source = radiograph()
    source.datasets[0].SpecificCharacterSet, source.datasets[0].PatientName = ["", "ISO 2022 IR 87"], name
    assert validator_errors(presentation([], PROJECTION, source), tmp_path / "pr.dcm") == []
    assert str(pydicom.dcmread(tmp_path / "pr.dcm").PatientName) == name


def test_no_warning_names_the_patient(recwarn, caplog):
    source = ct_series(GRID)
    for image in source.datasets:
        image.PatientName, image.PatientID = "Kitagawa", "PAT0012345"  # a name of one component: highdicom warns
    assert presentation([], GRID, source).PatientName == "Kitagawa"
    said = " ".join(str(warning.message) for warning in recwarn) + caplog.text
    assert "Kitagawa" not in said
    assert "PAT0012345" not in said


def test_what_cannot_be_shown_is_refused():
    source = ct_series(GRID)
    with pytest.raises(OutputError, match=r"finding 2 lies 4.0 mm from the nearest image"):
        presentation([finding(GRID, (1, 1, 6.4), 3), finding(GRID, (1, 1, 8), 3)], GRID, source)
    with pytest.raises(OutputError, match="in px cannot be shown"):
        presentation([finding(PROJECTION, (1, 1, 0), 3)], GRID, source)
    with pytest.raises(OutputError, match="one image of one frame"):
        presentation([], PROJECTION, source)
    source.datasets[2].Rows = 41
    with pytest.raises(OutputError, match="images of one size"):
        presentation([], GRID, source)
    source.datasets[2].SamplesPerPixel = 3
    with pytest.raises(OutputError, match="in colour"):
        presentation([], GRID, source)
    del source.datasets[0].StudyInstanceUID
    with pytest.raises(OutputError, match="StudyInstanceUID"):
        presentation([], GRID, source)
