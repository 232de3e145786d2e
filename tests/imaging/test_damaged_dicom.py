"""A DICOM file that was cut off never vanishes without a word."""

import pydicom
import pytest
from dicom_series import write_series

from medseg.errors import ImageError
from medseg.imaging import find_inputs, inspect, read
from medseg.imaging.dicom import scan, series_of


@pytest.mark.parametrize("kept_bytes", [0, 140, 300, 700])
@pytest.mark.parametrize("number", [0, -1])  # the first or last slice leaves no gap that geometry could show
def test_a_series_with_a_slice_that_was_cut_off_is_refused(tmp_path, kept_bytes, number):
    write_series(tmp_path, patient_id="1")
    file = sorted(tmp_path.iterdir())[number]
    file.write_bytes(file.read_bytes()[:kept_bytes])
    with pytest.raises(ImageError, match=f"{file.name}: .*(damaged|not a DICOM|cannot be decoded)"):
        read(tmp_path)
    names = [source.path for source in find_inputs(tmp_path, name_series=str)]
    assert file in names or kept_bytes == 700  # with a whole header the series fails when its pixels are decoded
    listing = inspect([tmp_path])
    assert [series["status"] for series in listing["series"]] == ["rejected"]


def test_links_to_folders_are_followed_once_and_hidden_files_left_out(tmp_path):
    write_series(tmp_path / "real" / "a", patient_id="1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real" / "circle").symlink_to(source, target_is_directory=True)
    (source / ".hidden.png").write_text("no picture")
    assert len(find_inputs(source, name_series=str)) == 1


def test_a_copy_is_left_out_and_another_patient_with_the_same_uids_is_not(tmp_path):
    write_series(tmp_path / "a", patient_id="A")
    for file in sorted((tmp_path / "a").iterdir()):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / file.name).write_bytes(file.read_bytes())
    assert len(scan(tmp_path).copies) == 5
    assert len(scan(tmp_path).images) == 5
    for file in sorted((tmp_path / "b").iterdir()):
        data = pydicom.dcmread(file)
        data.PatientID = "B"
        data.save_as(file)
    assert not scan(tmp_path).copies
    (series,) = series_of(scan(tmp_path).images)
    assert series.placement.code == "mixed_patients"
