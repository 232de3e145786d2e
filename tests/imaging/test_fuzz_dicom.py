"""Damaged headers and files: no crash, no hang, no invented affine, every rejection with a reason."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_matrix import Case, write_matrix_series
from dicom_mutations import mutate
from fuzz_worker import Outcome, Reader
from pydicom.uid import ComputedRadiographyImageStorage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's on what is damaged here
QUICK, ALL = 100, 2000
HARD = (7781, 13430, 14679, 18332)  # beyond the range; each once got through a reader that passed all of it
SERIES_SHARE = 4  # each fourth is a series of which one slice is damaged
BASES = {
    "ct": Case(orientation="oblique", rescale="ct", signed=False, slices=6),
    "ct_implicit": Case(syntax="ImplicitVRLittleEndian", slices=6),
    "mr_big_endian": Case(modality="MR", syntax="ExplicitVRBigEndian", slices=6),
    "mr_enhanced": Case(modality="MR", enhanced=True, slices=6),
    "ct_rle": Case(syntax="RLELossless", slices=6),
    "ct_jpeg_ls": Case(syntax="JPEGLSLossless", slices=6),
    "mr_jpeg_2000": Case(modality="MR", syntax="JPEG2000Lossless", slices=6),
    "ct_deflated": Case(syntax="DeflatedExplicitVRLittleEndian", slices=6),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory) -> dict[str, list[Path]]:
    """Files of each base, and some that pydicom carries."""
    folder = tmp_path_factory.mktemp("bases")
    for name, case in BASES.items():
        write_matrix_series(folder / name, case)
    files = {name: sorted((folder / name).iterdir()) for name in BASES}
    files["cr"] = [radiograph(folder / "cr.dcm", files["ct"][0])]
    bundled = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in ("MR_small", "CT_small", "MR_small_jpeg_ls_lossless"):
        if (bundled / f"{name}.dcm").is_file():
            files[name] = [bundled / f"{name}.dcm"]
    return files


def radiograph(path: Path, slice_file: Path) -> Path:
    data = pydicom.dcmread(slice_file)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        del data[keyword]
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = ComputedRadiographyImageStorage
    data.Modality, data.PhotometricInterpretation, data.ImagerPixelSpacing = "CR", "MONOCHROME1", [0.2, 0.2]
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


@pytest.fixture(scope="module")
def reader():
    worker = Reader()
    yield worker
    worker.close()


def wrong(outcome: Outcome) -> str:
    """Why an outcome is not one that a user should get; empty where it is."""
    if outcome.kind in ("crash", "hang", "error"):
        return f"{outcome.kind}: {outcome.text}"
    if outcome.kind == "volume":
        return f"invented: {outcome.text}" if outcome.text else ""
    if len(outcome.text) < 20 or "Traceback" in outcome.text or "\n" in outcome.text.strip():
        return f"no plain reason: {outcome.text!r}"
    return ""


def damaged(number: int, bases: dict[str, list[Path]], folder: Path) -> tuple[Path, list[Path], str]:
    """Write damaged input `number`, the same in every run; return what to read, its files and what was done."""
    random = np.random.default_rng(number)
    names = [name for name, files in bases.items() if len(files) > 1] if number % SERIES_SHARE == 0 else list(bases)
    name = names[random.integers(len(names))]
    files = bases[name]
    content, what = mutate(files[random.integers(len(files))].read_bytes(), random)
    folder.mkdir()
    if number % SERIES_SHARE:
        path = folder / "damaged.dcm"
        path.write_bytes(content)
        return path, [path], f"{number} {name}: {what}"
    for file in files:
        shutil.copy(file, folder)
    struck = folder / files[random.integers(len(files))].name
    content, what = mutate(struck.read_bytes(), random)
    struck.write_bytes(content)
    return folder, sorted(folder.iterdir()), f"{number} {name}, one of {len(files)} slices: {what}"


def failures_of(numbers: Sequence[int], bases: dict[str, list[Path]], reader: Reader, folder: Path) -> list[str]:
    found = []
    kinds: dict[str, int] = {}
    for number in numbers:
        path, files, what = damaged(number, bases, folder / str(number))
        outcome = reader.read(path, files)
        kinds[outcome.kind] = kinds.get(outcome.kind, 0) + 1
        reason = wrong(outcome)
        if reason:
            found.append(f"{what}\n    {reason}")
        shutil.rmtree(folder / str(number))
    assert min(kinds.get("volume", 0), kinds.get("rejected", 0)) > len(numbers) / 20, kinds  # neither is all there is
    return found


def report(failures: list[str], total: int) -> str:
    return f"{len(failures)} of {total}:\n" + "\n".join(failures)


def test_undamaged_bases_are_read(bases, reader):
    for name, files in bases.items():
        path = files[0] if len(files) == 1 else files[0].parent
        outcome = reader.read(path, files)
        assert (outcome.kind, outcome.text) == ("volume", ""), name


def test_damaged_files_are_rejected_with_a_reason_or_read_as_stated(bases, reader, tmp_path):
    numbers = (*range(QUICK), *HARD)
    failures = failures_of(numbers, bases, reader, tmp_path)
    assert not failures, report(failures, len(numbers))


@pytest.mark.slow
def test_two_thousand_damaged_files(bases, reader, tmp_path):
    failures = failures_of(range(ALL), bases, reader, tmp_path)
    assert not failures, report(failures, ALL)
