"""Time and memory of reading DICOM series, beside SimpleITK, dicom2nifti and pylibjpeg.

    python scripts/bench/read.py [--slices 500] [--repeats 5] [--headers 10000] [--quick]

A synthetic CT (an ellipse of tissue with lungs, and noise as of a scanner) of `slices` x 512 x 512, int16, is stored as
a series in each of five transfer syntaxes; 20 slices differ, and are repeated at other positions. In each round every
reader reads each series once, one after the other, and what is printed is the median of the rounds' ratios, with the
least and the largest of them. Files are in the cache of the system. Voxels and geometry are compared with SimpleITK's.
Further: the highest resident memory of reading, in a process of its own, above that after the imports and a first small
series, as a multiple of the float32 array; the seconds that the headers of many small files take to be read and
grouped; and ``nifti.py``, which times the writing of .nii.gz.

dicom2nifti and pylibjpeg (with its libjpeg and openjpeg parts) are used where they are installed. ``--quick`` makes
fewer slices and headers: its ratios say little.
"""

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SIZE = 512
DISTINCT = 20  # encoding is slow, and no reader looks whether slices are alike
SYNTAXES = {
    "uncompressed": uid.ExplicitVRLittleEndian,
    "RLE": uid.RLELossless,
    "JPEG-LS": uid.JPEGLSLossless,
    "JPEG 2000": uid.JPEG2000Lossless,
    "HTJ2K": uid.HTJ2KLossless,
}
GOALS = {  # how many times as fast as which other reader
    ("uncompressed", "SimpleITK"): 1.0, ("uncompressed", "dicom2nifti"): 8.0, ("RLE", "SimpleITK"): 10.0,
    ("JPEG-LS", "SimpleITK"): 1.5, ("JPEG 2000", "SimpleITK"): 1.5, ("HTJ2K", "pylibjpeg"): 5.0,
}  # fmt: skip


def slice_of(seed: int) -> np.ndarray:
    """One slice in Hounsfield units, shape (512, 512), int16: noise of 12 HU in tissue and 4 in air."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    body = (x / 0.85) ** 2 + (y / 0.7) ** 2 < 1
    values = np.where(body, 40 + 30 * np.sin(6 * x) * np.cos(5 * y), -1000.0)
    for centre in (-0.4, 0.4):
        values[((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    values += random.normal(0, 1, values.shape) * np.where(body, 12, 4)
    return np.clip(np.rint(values), -1024, 3071).astype(np.int16)


def header(number: int, size: int, series: str) -> Dataset:
    """A CT slice without pixels, `number` mm along the patient."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = uid.CTImageStorage, f"{series}.{number + 1}"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.Modality = "1.2.826.0.1.1", series, "CT"
    data.StudyDate, data.StudyTime, data.SeriesNumber, data.StudyID = "20200101", "120000", 1, "1"
    data.PatientID, data.PatientName, data.AccessionNumber = "synthetic", "synthetic", "1"
    data.ImageType, data.InstanceNumber = ["ORIGINAL", "PRIMARY", "AXIAL"], number + 1
    data.ImagePositionPatient, data.ImageOrientationPatient = [-180, -180, number], [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 1
    data.Rows = data.Columns = size
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.RescaleSlope, data.RescaleIntercept = 1, 0
    return data


def store(file: Path, data: Dataset) -> None:
    pydicom.dcmwrite(file, data, enforce_file_format=True)


def encoded(values: np.ndarray, syntax: uid.UID) -> bytes:
    """Pixel data of one slice, in the transfer syntax."""
    import imagecodecs

    if syntax == uid.ExplicitVRLittleEndian:
        return values.tobytes()
    if syntax == uid.JPEG2000Lossless:
        frame = imagecodecs.jpeg2k_encode(values, level=0, codecformat="J2K", reversible=True)
    elif syntax == uid.HTJ2KLossless:
        frame = imagecodecs.htj2k_encode(values, reversible=True)
    else:
        data = header(0, SIZE, "1.2")
        data.PixelData = values.tobytes()
        data["PixelData"].VR = "OW"
        data.compress(syntax)
        return data.PixelData
    return encapsulate([bytes(frame)])


def make_series(folder: Path, syntax: uid.UID, n_slices: int) -> None:
    """Write a series as scanners do: one file a slice, named by its number."""
    folder.mkdir()
    pixels = [encoded(slice_of(seed), syntax) for seed in range(min(DISTINCT, n_slices))]
    series = uid.generate_uid()[:50]
    for number in range(n_slices):
        data = header(number, SIZE, series)
        data.file_meta.TransferSyntaxUID = syntax
        data.PixelData = pixels[number % DISTINCT]
        data["PixelData"].VR = "OW" if syntax == uid.ExplicitVRLittleEndian else "OB"
        data["PixelData"].is_undefined_length = syntax != uid.ExplicitVRLittleEndian
        store(folder / f"{number:05}.dcm", data)


def by_medseg(folder: Path) -> np.ndarray:
    import medseg

    os.utime(next(folder.iterdir()))  # the headers of a tree are remembered while none of its files changes
    return medseg.read(folder).array[0]


def by_simpleitk(folder: Path) -> Any:
    """An image of int16, of which no array was made: that would take longer."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def compare_values(folder: Path) -> str:
    import SimpleITK as sitk

    import medseg

    ours, theirs = medseg.read(folder), by_simpleitk(folder)
    corner = np.array([ours.grid.shape[::-1]]) - 1
    far = np.abs(ours.grid.to_world(corner)[0] - theirs.TransformIndexToPhysicalPoint(corner[0].tolist())).max()
    same = np.array_equal(ours.array[0], sitk.GetArrayFromImage(theirs))
    return f"voxels {'equal' if same else 'DIFFER FROM'} SimpleITK's, the last voxel {far:.1e} mm apart"


def by_dicom2nifti(folder: Path) -> np.ndarray:
    import dicom2nifti

    return dicom2nifti.dicom_series_to_nifti(folder, None, reorient_nifti=False)["NII"].get_fdata()


def by_pylibjpeg(folder: Path) -> np.ndarray:
    """What a script with pydicom does: slices sorted by position, decoded by its plugin."""
    slices = [pydicom.dcmread(file) for file in folder.iterdir()]
    slices.sort(key=lambda data: float(data.ImagePositionPatient[2]))
    for data in slices:
        data.pixel_array_options(decoding_plugin="pylibjpeg")
    return np.stack([data.pixel_array for data in slices])


def readers(name: str) -> dict[str, Callable[[Path], Any]]:
    """Readers of a series that are installed and can read it."""
    chosen: dict[str, Callable[[Path], Any]] = {"medseg": by_medseg, "SimpleITK": by_simpleitk}
    for other, reader, series in (
        ("dicom2nifti", by_dicom2nifti, "uncompressed"),
        ("pylibjpeg", by_pylibjpeg, "HTJ2K"),
    ):
        if name != series:
            continue
        if importlib.util.find_spec(other):
            chosen[other] = reader
        else:
            print(f"{name}: {other} is not installed: left out")
    return chosen


def timed(reader: Callable[[Path], Any], folder: Path, n_slices: int) -> float:
    """Seconds of one reading. Memory, which a virtual machine fetches at the first touch, is touched before."""
    np.ones((2 * n_slices, SIZE, SIZE), np.float32)
    start = time.perf_counter()
    reader(folder)
    return time.perf_counter() - start


def compare(root: Path, repeats: int, n_slices: int) -> None:
    """Print the ratios of all readers of all series."""
    chosen = {name: readers(name) for name in SYNTAXES}
    for name in SYNTAXES:  # also warms up what is imported or cached at the first call
        print(f"{name}: {compare_values(root / name)}")
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(repeats):
        for name, found in chosen.items():
            in_turn = list(found.items())[:: 1 if number % 2 else -1]  # who follows whom should not matter
            for reader, read in in_turn:
                seconds.setdefault((name, reader), []).append(timed(read, root / name, n_slices))
    for (name, reader), theirs in sorted(seconds.items()):
        if reader == "medseg":
            continue
        ours = seconds[name, "medseg"]
        ratios = [slow / fast for slow, fast in zip(theirs, ours)]
        goal = f", goal {GOALS[name, reader]:g}x" if (name, reader) in GOALS else ""
        print(
            f"{name}: medseg {statistics.median(ours):.2f} s, {reader} {statistics.median(theirs):.2f} s: "
            f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}{goal})"
        )


def memory_mb(name: str) -> float:
    """Memory of this process alone: ``VmRSS`` now, or ``VmHWM`` at most (``getrusage`` may count the parent's)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(f"{name}:")) / 1024


def measure_memory(folder: Path, small: Path) -> None:
    """Print the memory of reading `folder` in this process, after `small` was read."""
    by_medseg(small)
    before = memory_mb("VmRSS")
    array = by_medseg(folder)
    peak, size = memory_mb("VmHWM"), array.nbytes / 2**20
    print(
        f"{folder.name}: peak {peak - before:.0f} MB above {before:.0f} MB before, array {size:.0f} MB: "
        f"{(peak - before) / size:.2f}x (goal 1.3x)"
    )


def group_headers(root: Path, count: int) -> None:
    """Print the seconds to read and group `count` headers: a hundred slices a series."""
    from medseg.imaging.dicom.headers import scan
    from medseg.imaging.dicom.series import series_of

    for number in range(count):
        series, place = divmod(number, 100)
        folder = root / f"{series:04}"
        folder.mkdir(parents=True, exist_ok=True)
        data = header(place, 16, f"1.2.826.0.1.{series + 2}")
        data.PixelData = bytes(16 * 16 * 2)
        data["PixelData"].VR = "OW"
        store(folder / f"{place:03}.dcm", data)
    start = time.perf_counter()
    groups = series_of(scan(root).images)
    seconds = time.perf_counter() - start
    print(f"{count} headers in {len(groups)} series: {seconds:.1f} s (goal 20 s for 10000)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--headers", type=int, default=10_000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--memory", nargs=2, type=Path, metavar=("SERIES", "SMALL"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        measure_memory(*given.memory)
        return
    if given.quick:
        given.slices, given.repeats, given.headers = min(given.slices, 40), min(given.repeats, 3), 500
    print(f"synthetic CT, {given.slices} x {SIZE} x {SIZE} int16; {os.cpu_count()} processors; {given.repeats} rounds")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name, syntax in SYNTAXES.items():
            make_series(root / name, syntax, given.slices)
        compare(root, given.repeats, given.slices)
        for name, syntax in SYNTAXES.items():
            make_series(root / f"small {name}", syntax, 4)
            command = [sys.executable, __file__, "--memory", root / name, root / f"small {name}"]
            subprocess.run([str(part) for part in command], check=True)
        group_headers(root / "headers", given.headers)
    slices = str(max(given.slices // 2, 10))
    writing = [sys.executable, str(Path(__file__).with_name("nifti.py")), "--slices", slices]
    subprocess.run(writing, check=True)


if __name__ == "__main__":
    main()
