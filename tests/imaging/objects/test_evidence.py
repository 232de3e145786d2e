import numpy as np
import pydicom
import pytest
from dicom_sources import ct_series, make_grid
from segmentations import build, random_mask

from medseg.imaging.objects.read_segmentation import read_segmentation


def test_poor_headers_and_japanese_names(saved):
    grid = make_grid()
    source = ct_series(grid)
    for image in source.datasets:
        for keyword in ("PatientBirthDate", "AccessionNumber", "StudyID", "ReferringPhysicianName", "SliceThickness"):
            delattr(image, keyword)
        del image.FrameOfReferenceUID
        image.PatientSex, image.StudyDate = "female", "unknown"
        image.SpecificCharacterSet = ["", "ISO 2022 IR 87"]
        image.PatientName = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    mask = random_mask(grid.shape)
    path = saved(build(mask, grid, source))
    np.testing.assert_array_equal(read_segmentation(path).labels(grid=grid)[0], mask)
    again = pydicom.dcmread(path)
    assert str(again.PatientName) == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert (again.PatientSex, again.StudyDate) == ("", "")
    assert list(again.SpecificCharacterSet) == ["ISO 2022 IR 6", "ISO 2022 IR 87"]
    path = saved(build(mask, grid, source, classes=("結節", "腫瘤")))
    assert read_segmentation(path).segments[0].label == "結節"
    assert str(pydicom.dcmread(path).PatientName.ideographic) == "山田^太郎"


@pytest.mark.parametrize(("stated", "written"), [
    ("ISO 2022 IR 100", "ISO_IR 100"), (["ISO_IR 100", "ISO 2022 IR 87"], ["ISO 2022 IR 100", "ISO 2022 IR 87"]),
    ("ISO 2022 IR 6", None), ("LATIN", None), (["ISO 2022 IR 87", "ISO 2022 IR 6"], None),
])  # fmt: skip
def test_character_sets_are_spelled_as_the_standard_does(stated, written):
    grid = make_grid()
    source = ct_series(grid)
    source.datasets[0].SpecificCharacterSet = stated
    found = build(random_mask(grid.shape), grid, source).get("SpecificCharacterSet")
    assert (found if found is None or isinstance(found, str) else list(found)) == written


def test_no_warning_quotes_the_patient(saved, recwarn):
    grid = make_grid()
    source = ct_series(grid)
    for image in source.datasets:
        image.PatientName, image.PatientBirthDate = "Doe Jane", "1970/01"
    recwarn.clear()
    read_segmentation(saved(build(random_mask(grid.shape), grid, source))).mask()
    assert [
        str(warning.message) for warning in recwarn if "1970" in str(warning.message) or "Doe" in str(warning.message)
    ] == []
