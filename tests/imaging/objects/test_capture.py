import numpy as np
import pydicom
import pytest
from dicom_sources import ct_series, enhanced_series, make_grid, radiograph, validator_errors

from medseg.errors import OutputError
from medseg.imaging.objects.capture import build_capture
from medseg.imaging.objects.provenance import NOTICE, Provenance
from medseg.imaging.objects.write import write_object

PROVENANCE = Provenance("nodules", "1.2.3", "ab" * 32)
SOURCES = {"CT": lambda: ct_series(make_grid()), "enhanced CT": lambda: enhanced_series(make_grid()), "DX": radiograph}


def pictures(*shapes):
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def read_back(path, capture):
    write_object(path, capture)
    return pydicom.dcmread(path)


@pytest.mark.parametrize("compression", ["none", "rle"])
def test_one_picture_is_one_image_without_loss(compression, tmp_path):
    (picture,) = pictures((11, 13))  # an odd number of bytes
    read = read_back(
        tmp_path / "sc.dcm", build_capture([picture], SOURCES["CT"](), provenance=PROVENANCE, compression=compression)
    )
    assert read.SOPClassUID.name == "Secondary Capture Image Storage"
    assert read.file_meta.TransferSyntaxUID.is_compressed == (compression == "rle")
    assert np.array_equal(read.pixel_array, picture)


@pytest.mark.parametrize("compression", ["none", "rle"])
def test_several_pictures_are_frames_of_one_size(compression, tmp_path):
    first, second = pictures((11, 13), (9, 15))
    capture = build_capture([first, second], SOURCES["CT"](), provenance=PROVENANCE, compression=compression)
    frames = read_back(tmp_path / "sc.dcm", capture).pixel_array
    assert frames.shape == (2, 11, 15, 3)
    assert np.array_equal(frames[0, :, :13], first)
    assert np.array_equal(frames[1, :9], second)
    assert frames[0, :, 13:].max() == frames[1, 9:].max() == 0


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("compression", ["none", "rle"])
def test_the_validator_finds_no_errors(kind, count, compression, tmp_path):
    capture = build_capture(
        pictures(*[(10, 12)] * count), SOURCES[kind](), provenance=PROVENANCE, compression=compression
    )
    assert validator_errors(capture, tmp_path / "sc.dcm") == []


def test_it_says_what_it_is_and_what_it_was_made_from(tmp_path):
    source = SOURCES["CT"]()
    read = read_back(tmp_path / "sc.dcm", build_capture(pictures((8, 8)), source, provenance=PROVENANCE))
    assert read.BurnedInAnnotation == "YES"
    assert read.ImageType == ["DERIVED", "SECONDARY"]
    assert read.SeriesDescription.startswith(NOTICE)
    assert NOTICE in read.ImageComments
    assert read.DerivationDescription == "Findings drawn over the image"
    uids = [image.SOPInstanceUID for image in source.datasets]
    assert [item.ReferencedSOPInstanceUID for item in read.SourceImageSequence] == uids
    (series,) = read.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.datasets[0].SeriesInstanceUID != read.SeriesInstanceUID
    assert (read.StudyInstanceUID, read.PatientID) == (source.datasets[0].StudyInstanceUID, "P1")
    assert (read.Manufacturer, read.SoftwareVersions, read.SeriesNumber) == ("medseg", "1.2.3", 9004)
    assert "InstitutionName" not in read


def test_lossy_pixels_stay_known_as_lossy():
    source = SOURCES["CT"]()
    source.datasets[0].LossyImageCompression, source.datasets[0].LossyImageCompressionRatio = "01", "10"
    capture = build_capture(pictures((8, 8)), source, provenance=PROVENANCE)
    assert (capture.LossyImageCompression, capture.LossyImageCompressionRatio) == ("01", 10)


def test_a_japanese_name_survives(tmp_path):
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    source = SOURCES["DX"]()
    source.datasets[0].SpecificCharacterSet, source.datasets[0].PatientName = ["", "ISO 2022 IR 87"], name
    capture = build_capture(pictures((8, 8)), source, provenance=PROVENANCE)
    assert validator_errors(capture, tmp_path / "sc.dcm") == []
    assert str(pydicom.dcmread(tmp_path / "sc.dcm").PatientName) == name


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "at least one picture"),
        ([np.zeros((4, 4), np.uint8)], "is RGB"),
        ([np.zeros((4, 4, 3), np.float32)], "is RGB"),
        ([np.zeros((0, 4, 3), np.uint8)], "is RGB"),
        ([np.broadcast_to(np.uint8(0), (65536, 1, 3))], "more than DICOM holds"),
    ],
)
def test_what_is_no_picture_is_refused(given, message):
    with pytest.raises(OutputError, match=message):
        build_capture(given, SOURCES["DX"](), provenance=PROVENANCE)


def test_a_source_without_a_study_is_refused():
    source = SOURCES["DX"]()
    del source.datasets[0].StudyInstanceUID
    with pytest.raises(OutputError, match="StudyInstanceUID"):
        build_capture(pictures((4, 4)), source, provenance=PROVENANCE)
