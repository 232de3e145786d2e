"""Clinical DICOM that breaks readers. What is right was decided from headers and standard, as the comments say."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_stated import invention
from peer_readers import PeerVolume, read_by_simpleitk, same_in_world

from medseg.errors import ImageError
from medseg.imaging import inspect, read
from medseg.volume import Volume

TILT, GAPS = "tilt_resampled", "missing_slices"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's on odd files
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True, slots=True)
class Expected:
    """Outcome of one folder: `status` of each volume, one of the `codes`, shape (z, y, x) where it is certain."""

    folder: str
    status: str
    codes: tuple[str, ...] = ()
    shape: tuple[int | None, int | None, int | None] | None = None
    spacing: tuple[float, float, float] | None = None
    volumes: int = 1


CASES = "dicom_odd/dicom2nifti/tests/data/"
SAGITTAL = ((4, 256, 256), (1.0, 1.0, 1.0))
EXPECTED = (
    # 28 slices, direction cosines turned by 18.5 degrees against the table's way. Slices 1 to 14: image type ADD,
    # 4.00 mm apart; 15 to 28: 7.00 mm; 1.08 mm between the two. Acquisition numbers change within both.
    Expected("dicom_odd/dcm_qa_ct_GE_tilt", "warning", (TILT,), (14, None, 512), volumes=2),
    # positions 5 mm apart along z, direction cosines turned by 14.0 degrees; the header names no tilt
    Expected(CASES + "failing/gantrytilting/001", "warning", (TILT,), (4, None, 512)),
    # four acquisitions of a bolus monitoring, all at 61.5 mm
    Expected(CASES + "failing/notavolume/001", "rejected", ("doubled_slices", "too_few_slices")),
    # two slices 1 mm apart; neither a thickness nor a distance in the header confirms that none is missing between
    Expected(CASES + "failing/slicecount/001", "rejected", ("too_few_slices",)),
    # 18.1, 23.1, 28.1, 38.1 mm; instance numbers go on without a hole
    Expected(CASES + "failing/sliceincrement/001", "rejected", (GAPS,)),
    # turned by 15.5 degrees, and gaps of 0.75, 0.75, 1.50 mm
    Expected(CASES + "failing/sliceincrement/002", "rejected", (GAPS,)),
    # series 202 (two sagittal slices) and 501 (two oblique axial ones) under one Series Instance UID
    Expected(CASES + "failing/sliceorientation/001", "rejected", ("mixed_orientation", "too_few_slices")),
    # x from -103.8 to -100.8 mm, normal along -x: the first instance is the last slice
    Expected(CASES + "generic/anatomical/001", "ok", (), *SAGITTAL),
    Expected(CASES + "generic/anatomical/001_implicit", "ok", (), *SAGITTAL),
    # Pixel Spacing 4.0 \ 6.4: between rows, then between columns; rescaled differently in each slice
    Expected(CASES + "generic/anatomical/002_non_isotropic", "ok", (), (4, 28, 64), (0.5, 4.0, 6.39996)),
    *(
        Expected(CASES + f"generic/{name}/001", "ok", (), *SAGITTAL)
        for name in ("compressed", "compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle")
    ),
    # colour captures; their position, orientation and spacing are complete
    Expected(CASES + "generic/rgb/001", "rejected", ("colour", "color", "image")),
    # 30 slices every 8 mm; XML files lie beside them
    Expected("lung_pet_ct_dx/Lung_Dx-A0002/16610983", "ok", (), (30, 512, 512), (8.0, 0.646484375, 0.646484375)),
)


@pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected.folder.removeprefix(CASES))
def test_folders(real_data, expected):
    folder = real_data / expected.folder
    entries = inspect([folder])["series"]
    assert [entry["status"] for entry in entries] == [expected.status] * expected.volumes, entries
    for entry in entries:
        codes = [problem["code"] for problem in entry["problems"]]
        assert not expected.codes or set(codes) & set(expected.codes), entry
        if expected.status == "rejected":
            assert entry["problems"][0]["message"]
            with pytest.raises(ImageError):
                read(folder)
            continue
        if expected.shape:
            for found, wanted in zip(entry["shape"][1:], expected.shape):
                assert wanted is None or found == wanted
        if expected.spacing:
            assert np.allclose(entry["spacing_mm"], expected.spacing, atol=1e-4)


REGULAR = [case.folder for case in EXPECTED if case.status == "ok" and case.folder.startswith(CASES)]


@pytest.mark.parametrize("folder", REGULAR)
def test_regular_series_equal_simpleitk(real_data, folder):
    volume = read(real_data / folder)
    (other,) = read_by_simpleitk(real_data / folder)
    assert same_in_world(PeerVolume(volume.array[0], volume.affine_lps), other)


def test_two_techniques_in_one_tilted_series(real_data):
    folder = real_data / "dicom_odd" / "dcm_qa_ct_GE_tilt"
    with pytest.raises(ImageError, match="choose one"):
        read(folder)
    entries = inspect([folder])["series"]
    volumes = [read(folder, series_uid=f"{entry['series_uid']}/{entry['part']}") for entry in entries]
    # slices along the normal of the tilted planes: (z distance) x cos 18.5 degrees
    steps = sorted(volume.spacing_mm[0] for volume in volumes)
    assert np.allclose(steps, [4.22 * 0.948324, 7.38 * 0.948324], atol=1e-3)
    for volume in volumes:
        axes = volume.affine_lps[:3, :3] / np.linalg.norm(volume.affine_lps[:3, :3], axis=0)
        assert np.allclose(axes.T @ axes, np.eye(3), atol=1e-6)
        assert np.allclose(np.abs(axes[:, 1]), [0, 0.9483237, 0.3173047], atol=1e-5)
        # what lies at the centre of a slice of the file lies there in the volume
        data = pydicom.dcmread(folder / ("05.dcm" if volume.spacing_mm[0] < 5 else "20.dcm"))
        position, spacing = np.array(data.ImagePositionPatient, dtype=float), float(data.PixelSpacing[0])
        row, column = np.split(np.array(data.ImageOrientationPatient, dtype=float), 2)
        world = position + spacing * (255 * row + np.arange(200, 300)[:, None] * column)
        x, y, z = volume.grid.to_index(world).T
        assert np.allclose(z, round(z[0]), atol=1e-3)
        below = np.floor(y).astype(int)
        line = volume.array[0, round(z[0]), :, round(x[0])]
        stored = data.pixel_array[200:300, 255].astype(float)
        found = line[below] + (y - below) * (line[below + 1] - line[below])
        # two linear interpolations of half a pixel at most: a blurred copy, not another place
        assert np.corrcoef(found, stored)[0, 1] > 0.99


def test_missing_slices_between_tilted_ones_are_interpolated_on_request(real_data):
    tilted = read(real_data / (CASES + "failing/sliceincrement/002"), allow_irregular=True)
    assert {note.code for note in tilted.notes if note.warning} >= {TILT, "irregular_resampled"}
    assert tilted.array.shape[1] == 5
    assert np.isclose(tilted.spacing_mm[0], 0.778 * np.cos(np.radians(15.5)), atol=1e-3)
    straight = read(real_data / (CASES + "failing/sliceincrement/001"), allow_irregular=True)
    assert straight.array.shape[1] == 5
    assert np.isclose(straight.spacing_mm[0], 5.0, atol=1e-3)


def test_compressed_copies_hold_the_same_voxels(real_data):
    folder = real_data / (CASES + "generic/compressed_rle/001")
    reference = read(folder)
    files = sorted(folder.glob("*.dcm"), reverse=True)  # the normal runs against the instance numbers
    assert np.array_equal(reference.array[0], [pydicom.dcmread(file).pixel_array for file in files])
    for name in ("compressed", "compressed_j2k", "compressed_jpeg", "compressed_jpegls"):
        volume = read(real_data / (CASES + f"generic/{name}/001"))
        assert np.array_equal(volume.array, reference.array), name
        assert volume.grid.same_as(reference.grid), name


def test_copies_of_a_series_in_several_folders_are_not_one_volume(real_data):
    # five folders hold one series in five transfer syntaxes: 20 files, 4 SOP Instance UIDs
    entries = inspect([real_data / (CASES + "generic")])["series"]
    uid = "1.2.826.0.1.3680043.8.498.1725697665093567298244257421"
    found = [entry for entry in entries if entry["series_uid"] == uid]
    assert found
    for entry in found:
        text = " ".join(problem["message"] for problem in entry["problems"])
        assert entry["status"] != "ok", entry
        assert any(word in text for word in ("doubled", "copies", "same image", "duplicate")), text
        assert entry["shape"] is None or entry["shape"][1] == 4


def test_high_throughput_jpeg_2000(real_data):
    # one file each; the extent of a lone slice is its thickness
    thickness = {"CT1": 5.0, "CT2": 10.0, "MR1": 0.8}
    for name, expected in thickness.items():
        file = real_data / "dicom_odd" / "htj2k" / f"{name}_JPH.dcm"
        volume, data = read(file), pydicom.dcmread(file)
        assert np.isclose(volume.spacing_mm[0], expected), name
        assert np.allclose(volume.affine_lps[:3, 3], np.array(data.ImagePositionPatient, dtype=float)), name
    # CT1 is pydicom's CT_small before it was cut down to 128 x 128: its first row begins alike
    assert read(real_data / "dicom_odd" / "htj2k" / "CT1_JPH.dcm").array.min() < -1000
    # Secondary Captures of an angiogram and of a whole-body scintigram: no position in the patient
    for name in ("XA1", "NM1"):
        found = outcome_of(real_data / "dicom_odd" / "htj2k" / f"{name}_JPH.dcm")
        assert re.search("position|lie|capture", found) if isinstance(found, str) else found.is_projection, name


ONE_SLICE = (  # file, thickness in mm
    ("CT_small", 5.0), ("MR_small", 0.8), ("MR_small_RLE", 0.8), ("MR_small_bigendian", 0.8), ("MR_small_expb", 0.8),
    ("MR_small_implicit", 0.8), ("MR_small_jp2klossless", 0.8), ("MR_small_jpeg_ls_lossless", 0.8),
    ("MR_small_padded", 0.8), ("examples_overlay", 4.0), ("J2K_pixelrep_mismatch", 5.0),
)  # fmt: skip


@pytest.mark.parametrize(("name", "thickness"), ONE_SLICE)
def test_single_slices_of_pydicom(name, thickness):
    file = BUNDLED / f"{name}.dcm"
    volume, data = read(file), pydicom.dcmread(file)
    slope, intercept = float(data.get("RescaleSlope", 1)), float(data.get("RescaleIntercept", 0))
    assert np.allclose(volume.array[0, 0], data.pixel_array * slope + intercept)
    row, column = np.split(np.array(data.ImageOrientationPatient, dtype=float), 2)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = row * float(data.PixelSpacing[1]), column * float(data.PixelSpacing[0])
    affine[:3, 2], affine[:3, 3] = np.cross(row, column) * thickness, np.array(data.ImagePositionPatient, dtype=float)
    assert np.allclose(volume.affine_lps, affine, atol=1e-3)


NOT_READ = (
    "MR_truncated",  # pixel data end early
    "ExplVR_BigEnd", "ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta",  # ultrasound in colour; plans without a preamble
    "rtplan", "rtplan_truncated", "rtstruct", "reportsi", "reportsi_with_empty_number_tags", "test-SR", "waveform_ecg",
    "liver_1frame", "liver_expb_1frame",  # segmentations
    "UN_sequence", "nested_priv_SQ", "priv_SQ", "no_meta", "no_meta_group_length", "meta_missing_tsyntax", "badVR",
    "empty_charset_LEI",  # no image in them
    "rtdose_1frame", "rtdose_expb_1frame", "rtdose_rle_1frame",  # one plane without a thickness, and no image
)  # fmt: skip


@pytest.mark.parametrize("name", NOT_READ)
def test_what_is_no_image_of_a_patient_is_refused_with_a_reason(name):
    with pytest.raises(ImageError, match=r"\w+ \w+ \w+"):
        read(BUNDLED / f"{name}.dcm")


def outcome_of(file: Path) -> Volume | str:
    """The volume, or the reason why there is none."""
    try:
        return read(file)
    except ImageError as error:
        return str(error)


@pytest.mark.parametrize("name", sorted(file.name for file in BUNDLED.glob("*.dcm")))
def test_no_bundled_file_gets_an_affine_that_it_does_not_state(name):
    found = outcome_of(BUNDLED / name)
    if isinstance(found, str):
        assert len(found.removeprefix(f"{BUNDLED / name}: ")) > 10
        return
    assert not invention(found, [BUNDLED / name])
    data = pydicom.dcmread(BUNDLED / name, force=True)
    assert int(data.get("SamplesPerPixel", 1)) == 1 or any(note.warning for note in found.notes)
