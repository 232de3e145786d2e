import highdicom as hd
import numpy as np
import pydicom
import pytest
from dicom_sources import ct_series, enhanced_series, make_grid, radiograph, validator_errors, with_pixels
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from medseg.errors import AnnotationError, OutputError
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.read_report import read_report, slice_places
from medseg.imaging.objects.report import build_report
from medseg.imaging.objects.segmentation import build_segmentation, lesion_segments
from medseg.imaging.objects.settings import CodedTerm, ResultSettings
from medseg.imaging.objects.template import ResultIdentity
from medseg.imaging.objects.write import write_object
from medseg.lesion import Finding
from medseg.volume import Grid

PROVENANCE = Provenance("nodules", "1.2.3", "ab" * 32)
SETTINGS = ResultSettings(
    site=CodedTerm(value="39607008", scheme="SCT", meaning="Lung"),
    class_terms={"nodule": CodedTerm(value="27925004", scheme="SCT", meaning="Nodule")},
)
BOX = (0, 0, 0, 1, 1, 1)
VOLUME = Code("118565006", "SCT", "Volume")
DIAMETER = Code("81827009", "SCT", "Diameter")


def finding(centre, diameter, score=0.875, *, unit="mm", name="nodule", flat=False):
    size = np.pi / 4 * diameter**2 if flat or unit == "px" else np.pi / 6 * diameter**3
    x, y, z = (float(value) for value in centre)
    return Finding(x, y, z, unit, float(size), float(diameter), score, name, BOX)


def report(findings, grid, source, **options):
    return build_report(findings, grid, source, settings=SETTINGS, provenance=PROVENANCE, **options)


def written(path, dataset):
    write_object(path, dataset)
    return path


def scattered(grid, n, seed=0):
    """Findings at random places of a grid, with scores and diameters of many digits."""
    rng = np.random.default_rng(seed)
    centres = grid.to_world(rng.random((n, 3)) * (np.array(grid.shape[::-1]) - 1))
    return [
        finding(centre, rng.uniform(0.3, 90), rng.random(), name=("nodule", "other")[number % 2])
        for number, centre in enumerate(centres)
    ]


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal", "oblique"])
@pytest.mark.parametrize("make_source", [ct_series, enhanced_series])
def test_lesions_of_a_volume_come_back(plane, make_source, tmp_path):
    grid = make_grid(plane, (5, 300, 400), spacing=(200.0, 0.7, 0.8))  # up to 800 mm from the origin
    source = make_source(grid)
    findings = scattered(grid, 12)
    content = read_report(written(tmp_path / "sr.dcm", report(findings, grid, source)), settings=SETTINGS)
    assert content.frame_of_reference == source.datasets[0].FrameOfReferenceUID
    assert [entry.tracking_id for entry in content.reported] == [f"Lesion {n}" for n in range(1, 13)]
    for entry, expected in zip(content.reported, findings, strict=True):
        lesion = entry.lesion
        assert (lesion.x, lesion.y, lesion.z) == pytest.approx((expected.x, expected.y, expected.z), abs=1e-3)
        assert lesion.diameter == pytest.approx(expected.diameter, abs=1e-9)
        assert entry.certainty == pytest.approx(expected.score, abs=1e-12)
        assert lesion.name == ("nodule" if expected.name == "nodule" else "Lesion")
        assert (lesion.unit, lesion.reader, entry.sop_uids) == ("mm", "medseg", ())


@pytest.mark.parametrize("spacing", [None, (0.15, 0.15), (0.2, 0.1)])
def test_lesions_of_a_projection_come_back(spacing, tmp_path):
    source, grid = radiograph((40, 60)), Grid.projection((40, 60))
    centres = [(0, 0, 0), (59, 39, 0), (30.25, 20.125, 0), (2.5, 37, 0), (29.5, 19.5, 0)]
    findings = [finding(centre, 8.5, 0.5, unit="px") for centre in centres]
    findings.append(finding((29.5, 19.5, 0), 400, 0.5, unit="px"))  # no point of it is on the image
    document = report(findings, grid, source, pixel_spacing_mm=spacing)
    content = read_report(written(tmp_path / "sr.dcm", document), pixel_spacing_mm=spacing)
    assert content.frame_of_reference == ""
    for entry, expected in zip(content.reported, findings, strict=True):
        assert (entry.lesion.x, entry.lesion.y, entry.lesion.z) == pytest.approx((expected.x, expected.y, 0), abs=1e-5)
        assert entry.lesion.diameter == pytest.approx(expected.diameter, rel=1e-5)
        assert entry.lesion.unit == "px"
        assert entry.sop_uids == (source.datasets[0].SOPInstanceUID,)


def test_nothing_found_is_a_valid_report_without_lesions(tmp_path):
    for grid, source in ((make_grid(), ct_series(make_grid())), (Grid.projection((10, 14)), radiograph())):
        document = report([], grid, source)
        assert validator_errors(document, tmp_path / "sr.dcm") == []
        content = read_report(tmp_path / "sr.dcm")
        assert content.lesions == []
        assert content.notes == ()
        (group,) = hd.sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
        (evaluation,) = group.get_qualitative_evaluations(name=Code("111017", "DCM", "Summary"))
        assert evaluation.value.meaning == "All algorithms succeeded; without findings"


@pytest.mark.parametrize("kind", ["CT", "MR", "enhanced CT", "DX"])
def test_the_validator_finds_no_errors(kind, tmp_path):
    grid = make_grid("oblique")
    source = {
        "CT": lambda: ct_series(grid), "MR": lambda: ct_series(grid, mr=True),
        "enhanced CT": lambda: enhanced_series(grid), "DX": radiograph,
    }[kind]()  # fmt: skip
    if kind == "DX":
        grid = Grid.projection((10, 14))
        findings = [finding((3.2, 4.7, 0), 4, unit="px"), finding((3.2, 4.7, 0), 0, unit="px")]
    else:
        findings = [*scattered(grid, 3), finding((1, 2, 3), 0)]
    if kind != "enhanced CT":
        assert validator_errors(with_pixels(source.datasets[0]), tmp_path / "source.dcm") == []
    document = report(findings, grid, source, operating_point=0.25, pixel_spacing_mm=(0.15, 0.15))
    assert validator_errors(document, tmp_path / "sr.dcm") == []


def test_highdicom_finds_the_groups_of_a_volume(tmp_path):
    grid = make_grid()
    source = ct_series(grid)
    document = report([finding((10, 20, 30), 6, 0.75)], grid, source, operating_point=0.5)
    read = hd.sr.srread(written(tmp_path / "sr.dcm", document))
    (group,) = read.content.get_volumetric_roi_measurement_groups(tracking_uid=None, graphic_type=None)
    assert group.tracking_identifier == "Lesion 1"
    assert group.finding_type == Code("27925004", "SCT", "Nodule")
    assert group.finding_sites[0].value == Code("39607008", "SCT", "Lung")
    assert group.reference_type == codes.DCM.VolumeSurface
    ends = [[7, 20, 30], [13, 20, 30], [10, 17, 30], [10, 23, 30], [10, 20, 27], [10, 20, 33]]
    assert group.roi.graphic_type.value == "ELLIPSOID"
    assert group.roi.graphic_data.tolist() == ends
    (volume,), (diameter,) = group.get_measurements(name=VOLUME), group.get_measurements(name=DIAMETER)
    assert (volume.value, volume.unit.value) == (pytest.approx(36 * np.pi), "mm3")
    assert (diameter.value, diameter.unit.value) == (6, "mm")
    (score,) = group.get_measurements(name=Code("111012", "DCM", "Certainty of Finding"))
    assert (score.value, score.unit.value) == (75, "%")
    texts = [item.value for item in group[0].ContentSequence if item.ValueType == "TEXT"]
    assert {"nodules", "1.2.3", "model_sha256=" + "ab" * 32, "operating_point=0.5"} <= set(texts)


def test_highdicom_finds_the_circle_of_a_projection(tmp_path):
    source = radiograph()
    document = report([finding((3, 4, 0), 5, unit="px")], Grid.projection((10, 14)), source)
    read = hd.sr.srread(written(tmp_path / "sr.dcm", document))
    image_uid = source.datasets[0].SOPInstanceUID
    (group,) = read.content.get_planar_roi_measurement_groups(referenced_sop_instance_uid=image_uid)
    # the first pixel's centre is 0.5\0.5 (PS3.3 C.18.6.1.1): index 3, 4 is 3.5, 4.5
    assert group.roi.value.tolist() == [[3.5, 4.5], [6.0, 4.5]]
    (diameter,) = group.get_measurements(name=DIAMETER)
    assert (diameter.value, diameter.unit.value) == (5, "{pixels}")


def test_a_single_slice_has_a_circle_in_its_plane(tmp_path):
    grid = make_grid("coronal", (1, 12, 9))
    document = report([finding((1, 12.5, 3), 4, flat=True)], grid, ct_series(grid))
    read = hd.sr.srread(written(tmp_path / "sr.dcm", document))
    (group,) = read.content.get_planar_roi_measurement_groups()
    assert group.roi.value.tolist() == [[-1, 12.5, 3], [3, 12.5, 3], [1, 12.5, 5], [1, 12.5, 1]]
    assert group.get_measurements(name=Code("42798000", "SCT", "Area"))[0].value == pytest.approx(4 * np.pi)
    (lesion,) = read_report(tmp_path / "sr.dcm").lesions
    assert (lesion.x, lesion.y, lesion.z, lesion.diameter) == (1, 12.5, 3, 4)


def test_the_document_says_what_it_is_and_what_it_rests_on(tmp_path):
    grid = make_grid()
    source = ct_series(grid)
    document = pydicom.dcmread(written(tmp_path / "sr.dcm", report(scattered(grid, 2), grid, source)))
    assert (document.CompletionFlag, document.PreliminaryFlag) == ("COMPLETE", "PRELIMINARY")
    assert document.VerificationFlag == "UNVERIFIED"
    assert document.StudyInstanceUID == source.datasets[0].StudyInstanceUID
    assert document.SeriesInstanceUID != source.datasets[0].SeriesInstanceUID
    assert document.PatientName == "Doe^Jane"
    assert (document.Manufacturer, document.SoftwareVersions) == ("medseg", "1.2.3")
    assert document.SeriesDescription.startswith(NOTICE)
    assert NOTICE in [item.get("TextValue") for item in document.ContentSequence]
    assert "InstitutionName" not in document
    evidence = read_report(tmp_path / "sr.dcm")
    assert evidence.referenced_series_uids == (source.datasets[0].SeriesInstanceUID,)
    assert evidence.referenced_sop_uids == tuple(image.SOPInstanceUID for image in source.datasets)
    library = next(item for item in document.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "111028")
    assert len(library.ContentSequence[0].ContentSequence) == len(source.datasets)


def test_a_japanese_name_survives(tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    grid = make_grid()
    source = ct_series(grid)
    for image in source.datasets:
        image.SpecificCharacterSet, image.PatientName = ["", "ISO 2022 IR 87"], name
    document = report(scattered(grid, 1), grid, source)
    assert validator_errors(document, tmp_path / "sr.dcm") == []
    raw = (tmp_path / "sr.dcm").read_bytes()
    assert b"Yamada^Tarou=" + b"\x1b$B" in raw  # kanji by escape sequence (PS3.5 annex H)
    assert str(pydicom.dcmread(tmp_path / "sr.dcm").PatientName) == name


def test_headers_without_optional_attributes_are_enough(tmp_path):
    grid = make_grid()
    source = ct_series(grid)
    for image in source.datasets:
        for keyword in ("PatientName", "PatientBirthDate", "StudyDate", "AccessionNumber", "FrameOfReferenceUID"):
            delattr(image, keyword)
    assert validator_errors(report(scattered(grid, 1), grid, source), tmp_path / "sr.dcm") == []
    assert read_report(tmp_path / "sr.dcm").frame_of_reference.startswith("2.25.")


def test_no_warning_names_the_patient(recwarn, caplog):
    source = ct_series(make_grid())
    for image in source.datasets:
        image.PatientName, image.PatientID = "Kitagawa", "PAT0012345"  # a name of one component: highdicom warns
    assert report([], make_grid(), source).PatientName == "Kitagawa"
    said = " ".join(str(warning.message) for warning in recwarn) + caplog.text
    assert "Kitagawa" not in said
    assert "PAT0012345" not in said


def test_what_cannot_be_reported_is_refused():
    grid = make_grid()
    source = ct_series(grid)
    with pytest.raises(OutputError, match="in px cannot be reported on an image in mm"):
        report([finding((1, 1, 0), 3, unit="px")], grid, source)
    with pytest.raises(OutputError, match="one image of one frame"):
        report([], Grid.projection((12, 9)), source)
    for image in source.datasets:
        del image.StudyInstanceUID
    with pytest.raises(OutputError, match="StudyInstanceUID"):
        report([], grid, source)


def test_uids_follow_from_a_seed():
    grid = make_grid()
    source, findings = ct_series(grid), scattered(grid, 1)
    identity = ResultIdentity(series_number=70, uid_seed="study 7")
    first, again = (report(findings, grid, source, result=identity) for _ in range(2))
    other = report(findings, grid, source)
    assert first.SOPInstanceUID == again.SOPInstanceUID != other.SOPInstanceUID
    assert (first.SeriesNumber, other.SeriesNumber) == (70, 9003)
    assert first.ContentSequence == again.ContentSequence


def test_lesions_that_are_segments_refer_to_them(tmp_path):
    grid = make_grid()
    source = ct_series(grid)
    mask = np.zeros(grid.shape, np.uint8)
    mask[1, 2:4, 3], mask[3, 5:8, 5] = 1, 2
    segmentation = build_segmentation(
        mask, grid, source, settings=SETTINGS, provenance=PROVENANCE,
        segments=lesion_segments(["nodule", "nodule"], SETTINGS),
    )  # fmt: skip
    findings = [finding(grid.to_world(np.array([[3, 2.5, 1]]))[0], 3), finding((1, 2, 3), 4)]
    document = report(findings, grid, source, segmentation=segmentation)
    assert validator_errors(document, tmp_path / "sr.dcm") == []
    groups = hd.sr.srread(tmp_path / "sr.dcm").content.get_volumetric_roi_measurement_groups()
    assert [group.referenced_segment[0].referenced_segment_numbers for group in groups] == [[1], [2]]
    assert [group.tracking_uid for group in groups] == [item.TrackingUID for item in segmentation.SegmentSequence]
    content = read_report(tmp_path / "sr.dcm")
    assert segmentation.SOPInstanceUID in content.referenced_sop_uids
    for lesion, expected in zip(content.lesions, findings, strict=True):
        assert (lesion.x, lesion.y, lesion.z) == pytest.approx((expected.x, expected.y, expected.z), abs=1e-4)
        assert lesion.diameter == expected.diameter


# reports of others


def foreign(path, source, groups, *, person=None):
    """A report that another program made with highdicom."""
    observer = hd.sr.ObserverContext(
        observer_type=codes.DCM.Person,
        observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name=person or "Reader^One"),
    )
    content = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_person_context=observer),
        procedure_reported=codes.LN.CTUnspecifiedBodyRegion,
        imaging_measurements=groups,
    )
    document = hd.sr.Comprehensive3DSR(
        evidence=list(source.datasets), content=content, series_instance_uid=hd.UID(), series_number=9,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer="Other",
    )  # fmt: skip
    write_object(path, document)
    return path


def measurement(name, value, unit=codes.UCUM.Millimeter, **options):
    return hd.sr.Measurement(name=name, value=float(value), unit=unit, **options)


def group_in_space(kind, points, source, *, measurements=None, volume=False, frame=None):
    tracking = hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="a")
    frame = frame or source.datasets[0].FrameOfReferenceUID
    common = {"tracking_identifier": tracking, "measurements": measurements, "finding_type": codes.SCT.Mass}
    if volume:
        series = hd.sr.SourceSeriesForSegmentation(source.datasets[0].SeriesInstanceUID)
        surface = hd.sr.VolumeSurface(kind, points, frame, source_series=series)
        return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_volume_surface=surface, **common)
    region = hd.sr.ImageRegion3D(kind, np.array(points, dtype=float), frame)
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=region, **common)


def group_on_image(kind, points, image, *, frame=None, measurements=None):
    source = hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID, frame and [frame])
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="a"),
        referenced_region=hd.sr.ImageRegion(kind, np.array(points, dtype=float), source),
        measurements=measurements,
    )


SQUARE = [[0, 0, 5], [4, 0, 5], [4, 6, 5], [0, 6, 5], [0, 0, 5]]
L_SHAPE = [[0, 0, 0], [3, 0, 0], [3, 1, 0], [1, 1, 0], [1, 3, 0], [0, 3, 0], [0, 0, 0]]  # 3 x 1 and 1 x 2
CT = ct_series(make_grid())


@pytest.mark.parametrize(
    ("kind", "points", "centre", "diameter"),
    [
        ("POINT", [[1, 2, 3]], (1, 2, 3), 0),
        ("POLYGON", SQUARE, (2, 3, 5), 2 * np.sqrt(24 / np.pi)),
        ("POLYGON", SQUARE[::-1], (2, 3, 5), 2 * np.sqrt(24 / np.pi)),
        ("POLYGON", L_SHAPE, ((3 * 1.5 + 2 * 0.5) / 5, (3 * 0.5 + 2 * 2) / 5, 0), 2 * np.sqrt(5 / np.pi)),
        ("ELLIPSE", [[-3, 1, 1], [3, 1, 1], [0, -1, 1], [0, 3, 1]], (0, 1, 1), np.sqrt(6 * 4)),
    ],
)
def test_planar_graphics_in_space(kind, points, centre, diameter, tmp_path):
    content = read_report(foreign(tmp_path / "sr.dcm", CT, [group_in_space(kind, points, CT)]))
    (lesion,) = content.lesions
    assert (lesion.x, lesion.y, lesion.z) == pytest.approx(centre, abs=1e-6)
    assert lesion.diameter == pytest.approx(diameter, abs=1e-6)
    assert (lesion.unit, lesion.name) == ("mm", "Mass")


def test_volumetric_graphics_in_space(tmp_path):
    ellipsoid = [[-1, 0, 0], [1, 0, 0], [0, -2, 0], [0, 2, 0], [0, 0, -4], [0, 0, 4]]
    slices = [[[x, y, z] for x, y, _ in SQUARE] for z in (0, 2, 4)]  # 3 x 24 mm2 x 2 mm
    groups = [
        group_in_space("ELLIPSOID", np.array(ellipsoid, dtype=float), CT, volume=True),
        group_in_space("POLYGON", [np.array(points, dtype=float) for points in slices], CT, volume=True),
    ]
    first, second = read_report(foreign(tmp_path / "sr.dcm", CT, groups)).lesions
    assert first.diameter == pytest.approx((2 * 4 * 8) ** (1 / 3))
    assert (second.x, second.y, second.z) == pytest.approx((2, 3, 2))
    assert second.diameter == pytest.approx((6 * 144 / np.pi) ** (1 / 3))


@pytest.mark.parametrize(
    ("measurements", "diameter"),
    [
        ([measurement(DIAMETER, 7)], 7),
        ([measurement(Code("M-02550", "SRT", "Diameter"), 7)], 7),  # SNOMED RT, in older reports
        ([measurement(DIAMETER, 0.7, Code("cm", "UCUM", "cm"))], 7),
        ([measurement(codes.SCT.LongAxis, 9)], 9),
        ([measurement(codes.SCT.Length, 8), measurement(codes.SCT.LongAxis, 9)], 9),
        ([measurement(VOLUME, np.pi / 6, Code("cm3", "UCUM", "cm3"))], 10),
        ([measurement(VOLUME, 5), measurement(DIAMETER, 7)], 7),
        ([measurement(DIAMETER, 7, Code("[in_i]", "UCUM", "inch"))], 0),  # of an unknown unit: unknown
        ([measurement(codes.SCT.Length, 3, Code("{pixels}", "UCUM", "pixels"))], 0),
    ],
)
def test_sizes_that_are_measured(measurements, diameter, tmp_path):
    group = group_in_space("POINT", [[1, 2, 3]], CT, measurements=measurements)
    (lesion,) = read_report(foreign(tmp_path / "sr.dcm", CT, [group])).lesions
    assert lesion.diameter == pytest.approx(diameter)


@pytest.mark.parametrize("plane", ["axial", "oblique"])
@pytest.mark.parametrize("make_source", [ct_series, enhanced_series])
def test_graphics_on_a_slice_are_placed_by_its_header(plane, make_source, tmp_path):
    grid = make_grid(plane)
    source = make_source(grid)
    if make_source is ct_series:
        number, image, frame = 3, source.datasets[3], None
    else:  # frames are stored in reverse order
        number, image, frame = 3, source.datasets[0], grid.shape[0] - 3
    square = [[2, 3], [6, 3], [6, 8], [2, 8], [2, 3]]  # in pixels from the corner: 4 x 5, centre at index 3.5, 5
    line = [[2.5, 3.5], [5.5, 7.5]]  # indices 2, 3 to 5, 7
    groups = [
        group_on_image(kind, points, image, frame=frame) for kind, points in (("POLYLINE", square), ("POLYLINE", line))
    ]
    path = foreign(tmp_path / "sr.dcm", source, groups)
    with pytest.raises(AnnotationError, match="group 1: was drawn on a slice that is not among the images given"):
        read_report(path)
    content = read_report(path, places=slice_places(source))
    expected = grid.to_world(np.array([[3.5, 5.0, number], [3.5, 5.0, number]]))
    for lesion, centre in zip(content.lesions, expected, strict=True):
        assert (lesion.x, lesion.y, lesion.z) == pytest.approx(centre, abs=1e-6)
    assert content.lesions[0].diameter == pytest.approx(2 * np.sqrt(4 * 0.8 * 5 * 0.7 / np.pi))
    assert content.lesions[1].diameter == pytest.approx(np.hypot(3 * 0.8, 4 * 0.7))
    assert content.reported[0].sop_uids == (image.SOPInstanceUID,)


def test_a_line_below_its_measurement_is_found(tmp_path):
    """As viewers store calipers: the coordinates are what a measurement was inferred from."""
    source = radiograph((20, 20))
    image = source.datasets[0]
    calipers = [
        measurement(
            name, length, Code("{pixels}", "UCUM", "pixels"),
            referenced_coordinates=[
                hd.sr.CoordinatesForMeasurement(
                    "POLYLINE", np.array(ends, dtype=float),
                    hd.sr.SourceImageForRegion(image.SOPClassUID, image.SOPInstanceUID),
                )
            ],
        )
        for name, length, ends in (
            (codes.SCT.ShortAxis, 4, [[8, 3], [8, 7]]), (codes.SCT.LongAxis, 10, [[3.5, 5.5], [13.5, 5.5]]),
        )
    ]  # fmt: skip
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="a"), measurements=calipers
    )
    (entry,) = read_report(foreign(tmp_path / "sr.dcm", source, [group])).reported
    assert (entry.lesion.x, entry.lesion.y, entry.lesion.diameter) == (8, 5, 10)
    assert entry.sop_uids == (image.SOPInstanceUID,)


def test_coordinates_may_refer_to_an_image_elsewhere_in_the_tree(tmp_path):
    source = radiograph((20, 20))
    group = group_on_image("CIRCLE", [[4.5, 5.5], [6.5, 5.5]], source.datasets[0])
    path = foreign(tmp_path / "sr.dcm", source, [group])
    document = pydicom.dcmread(path)
    measurements = document.ContentSequence[-1]
    region = next(item for item in measurements.ContentSequence[0].ContentSequence if item.ValueType == "SCOORD")
    image = region.ContentSequence[0]
    reference = pydicom.Dataset()
    reference.RelationshipType = "SELECTED FROM"
    image.RelationshipType = "CONTAINS"
    document.ContentSequence.append(image)
    reference.ReferencedContentItemIdentifier = [1, len(document.ContentSequence)]
    region.ContentSequence = [reference]
    document.save_as(path)
    (entry,) = read_report(path).reported
    assert (entry.lesion.x, entry.lesion.y, entry.lesion.diameter) == (4, 5, 4)
    assert entry.sop_uids == (source.datasets[0].SOPInstanceUID,)


def test_a_person_is_never_named(tmp_path):
    group = group_in_space("POINT", [[1, 2, 3]], CT)
    first = read_report(foreign(tmp_path / "a.dcm", CT, [group], person="Kitagawa^Setsuko"))
    second = read_report(foreign(tmp_path / "b.dcm", CT, [group], person="Doe^John"))
    assert "Kitagawa" not in repr(first)
    assert first.lesions[0].reader != second.lesions[0].reader
    named = read_report(tmp_path / "a.dcm", pseudonym=lambda name: f"r{len(name)}")
    assert named.lesions[0].reader == "r16"


def test_groups_without_a_place_are_noted(tmp_path):
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="a"),
        measurements=[measurement(VOLUME, 1, codes.UCUM.CubicMillimeter)],
    )
    content = read_report(foreign(tmp_path / "sr.dcm", CT, [group, group_in_space("POINT", [[1, 2, 3]], CT)]))
    assert len(content.lesions) == 1
    assert [(note.code, note.warning) for note in content.notes] == [("groups_without_place", True)]


def test_what_has_no_certain_place_is_refused(tmp_path):
    segment = hd.sr.ReferencedSegment(
        "1.2.840.10008.5.1.4.1.1.66.4", CT.datasets[0].SOPInstanceUID, 1,
        source_series=hd.sr.SourceSeriesForSegmentation(CT.datasets[0].SeriesInstanceUID),
    )  # fmt: skip
    group = hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(uid=hd.UID(), identifier="a"), referenced_segment=segment
    )
    with pytest.raises(AnnotationError, match="refers to a segment and gives no centre"):
        read_report(foreign(tmp_path / "sr.dcm", CT, [group]))
    frames = [group_in_space("POINT", [[1, 2, 3]], CT, frame=frame) for frame in ("1.2", "1.3")]
    with pytest.raises(AnnotationError, match="2 frames of reference"):
        read_report(foreign(tmp_path / "sr.dcm", CT, frames))


@pytest.mark.parametrize("data", [[], [1.0, 2.0], [1.0, 2.0, float("nan")], [1.0, 2.0, 3e38], [1.0] * 6])
def test_damaged_coordinates_are_refused(data, tmp_path):
    path = foreign(tmp_path / "sr.dcm", CT, [group_in_space("POINT", [[1, 2, 3]], CT)])
    document = pydicom.dcmread(path)
    group = document.ContentSequence[-1].ContentSequence[0]
    next(item for item in group.ContentSequence if item.ValueType == "SCOORD3D").GraphicData = data
    document.save_as(path)
    with pytest.raises(AnnotationError, match="group 1: damaged"):
        read_report(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(AnnotationError, match="no such file"):
        read_report(tmp_path / "none.dcm")
    (tmp_path / "text.dcm").write_text("no report")
    with pytest.raises(AnnotationError, match="not readable as DICOM"):
        read_report(tmp_path / "text.dcm")
    write_object(tmp_path / "ct.dcm", CT.datasets[0])
    with pytest.raises(AnnotationError, match="a structured report was expected, found CT Image Storage"):
        read_report(tmp_path / "ct.dcm")
    document = report([], make_grid(), CT)
    document.ContentTemplateSequence[0].TemplateIdentifier = "2000"
    document.ContentSequence = []
    write_object(tmp_path / "sr.dcm", document)
    with pytest.raises(AnnotationError, match="no measurement groups"):
        read_report(tmp_path / "sr.dcm")
