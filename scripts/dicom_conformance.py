"""What medseg makes of DICOM series, beside SimpleITK and dcm2niix: a Markdown table.

    python scripts/dicom_conformance.py -o table.md [FOLDER ...] [--matrix quick|all|none]

Each folder below FOLDER that holds one DICOM series is one line, and each file where it holds several. The matrix is
generated: `quick` is one line a kind of series, `all` adds the count of the whole matrix (about a minute). The three
are compared in the world: the same value at the same position, whatever the order of the axes. Generated series state
the value of every position, so each reader is held against that; real ones against medseg, and where they differ
against the positions that the header of each slice states. Runs from a checkout, beside `tests/`.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from dicom_matrix import Case, Truth, TruthVolume, world_of
from dicom_matrix_cases import everything, quick
from dicom_matrix_check import check, name_of
from peer_readers import PeerRefused, PeerVolume, read_by_dcm2niix, read_by_simpleitk, same_in_world

from medseg.imaging import inspect, read

HEAD = ("what", "files", "medseg", "why", "SimpleITK", "dcm2niix")
LOSSY_TOLERANCE = 0.02  # of the range of values
IN_PLANE_MM = 0.1  # voxels nearer to the plane of a slice lie in it: headers round positions
SAME_VALUES = 0.99  # correlation of the pixels of a slice, interpolated, with the voxels that lie there


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="trees of real series")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--matrix", choices=["quick", "all", "none"], default="quick")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        real, generated = Path(scratch) / "real", Path(scratch) / "generated"
        real.mkdir()
        rows = [row for folder in options.folders for row in real_rows(folder, real)]
        if options.matrix != "none":
            rows += list(generated_rows(generated))
        text = table(rows)
        if options.matrix == "all":
            text += "\n" + whole_matrix(Path(scratch) / "all")
    options.output.write_text(text, encoding="utf-8")
    print(text)


def table(rows: list[tuple[str, ...]]) -> str:
    lines = [HEAD, tuple("---" for _ in HEAD), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |\n" for line in lines)


def real_rows(tree: Path, scratch: Path) -> Iterator[tuple[str, ...]]:
    """One row a folder with DICOM files, or one a file where a folder holds several series."""
    for folder in sorted({file.parent for file in tree.rglob("*.dcm")}):
        files = sorted(folder.glob("*.dcm"))
        name = folder.relative_to(tree.parent).as_posix()
        if len({entry["series_uid"] for entry in inspect([folder])["series"]}) == 1:
            yield real_row(name, folder, files, scratch / f"{len(list(scratch.iterdir()))}")
            continue
        for file in files:
            alone = scratch / f"{len(list(scratch.iterdir()))}"
            alone.mkdir()
            shutil.copy(file, alone)
            yield real_row(f"{name}/{file.name}", alone, [alone / file.name], scratch / f"{alone.name}nifti")


def real_row(name: str, folder: Path, files: list[Path], scratch: Path) -> tuple[str, ...]:
    """One row for a folder."""
    listing = inspect([folder])
    entries = listing["series"]
    if not entries:
        reasons = [item["reason"] for item in listing["unreadable"]] + [item["kind"] for item in listing["objects"]]
        return (name, str(len(files)), "no image", "; ".join(dict.fromkeys(reasons)), "", "")
    good = [entry for entry in entries if entry["status"] != "rejected"]
    volumes = [read(folder, series_uid=name_of(entry)) for entry in good]
    ours = [PeerVolume(volume.array[0], volume.affine_lps) for volume in volumes if not volume.is_projection]
    slices = list(placed_slices(files)) if ours or not good else []
    others = peers(folder, scratch, lambda found: against_ours(found, ours, slices))
    what, why = outcome(entries)
    if slices and ours:
        what += f", {in_place(ours, slices)}"
    return (name, str(len(files)), what, why.replace(f"{folder}/", ""), *others)


@dataclass(frozen=True, slots=True, eq=False)
class FileSlice:
    """A slice as its own file states it: `values` (y, x), and `affine` (x, y, distance from its plane, 1) -> LPS mm."""

    values: np.ndarray
    affine: np.ndarray


def placed_slices(files: list[Path]) -> Iterator[FileSlice]:
    """Each grey slice of a series."""
    import pydicom
    import SimpleITK as sitk

    for file in files:
        header = pydicom.dcmread(file, stop_before_pixels=True)
        if "ImagePositionPatient" not in header or header.SamplesPerPixel != 1 or "NumberOfFrames" in header:
            continue
        row, column = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        affine = np.eye(4)
        down, right = (float(value) for value in header.PixelSpacing)
        affine[:3, :3] = np.stack([row * right, column * down, np.cross(row, column)], axis=1)
        affine[:3, 3] = np.array(header.ImagePositionPatient, dtype=float)
        try:
            yield FileSlice(sitk.GetArrayFromImage(sitk.ReadImage(str(file)))[0], affine)
        except RuntimeError:  # pixels that SimpleITK cannot decode
            continue


def in_place(volumes: list[PeerVolume], slices: list[FileSlice]) -> str:
    """How many slices of the files are found in one of the volumes where their headers say."""
    count = sum(any(lies_in(volume, one) for volume in volumes) for one in slices)
    return f"{count} of {len(slices)} slices in place"


def lies_in(volume: PeerVolume, one: FileSlice) -> bool:
    """Whether voxels of a volume lie in the plane of a slice and have the values that its pixels have there."""
    from scipy.ndimage import map_coordinates

    to_slice = np.linalg.inv(one.affine) @ volume.affine  # index of a voxel -> pixel and distance
    axis = int(np.abs(to_slice[2, :3]).argmax())
    centre = np.linalg.inv(to_slice) @ [one.values.shape[1] / 2, one.values.shape[0] / 2, 0, 1]
    last = np.array(volume.array.shape[::-1]) - 1
    plane = round(centre[axis])
    if not 0 <= plane <= last[axis]:
        return False
    ranges = [np.arange(0, size + 1, 3) for size in last]
    ranges[axis] = np.array([plane])
    index = np.stack(np.meshgrid(*ranges), axis=-1).reshape(-1, 3)
    x, y, distance = (to_slice[:3, :3] @ index.T + to_slice[:3, 3:]).round(6)
    inside = (x >= 0) & (y >= 0) & (x <= one.values.shape[1] - 1) & (y <= one.values.shape[0] - 1)
    # half of the pixels (each third of both axes was taken) must be covered
    if np.abs(distance).max() > IN_PLANE_MM or inside.sum() < one.values.size / 9 / 2:
        return False
    expected = map_coordinates(one.values.astype(np.float32), np.stack([y, x])[:, inside], order=1)
    found = volume.array[tuple(index[inside, ::-1].T)]
    return bool(np.corrcoef(found, expected)[0, 1] > SAME_VALUES)


def outcome(entries: list[dict]) -> tuple[str, str]:
    """What medseg did, and why."""
    words = []
    reasons: dict[str, None] = {}
    for entry in entries:
        codes = [problem["code"] for problem in entry["problems"]]
        resampled = any(code.endswith("_resampled") for code in codes)
        done = "resampled" if resampled else "read" if entry["kind"] == "volume" else f"read as {entry['kind']}"
        words.append("rejected" if entry["status"] == "rejected" else done)
        reasons |= {f"{problem['code']}: {problem['message']}": None for problem in entry["problems"]}
    counts = Counter(words)
    text = ", ".join(word if count == 1 else f"{word} as {count} volumes" for word, count in counts.items())
    return text, "; ".join(reasons)


def peers(folder: Path, scratch: Path, judge: Callable[[list[PeerVolume]], str]) -> tuple[str, str]:
    """Verdicts on SimpleITK and dcm2niix."""
    verdicts = []
    for reader in (lambda: read_by_simpleitk(folder), lambda: read_by_dcm2niix(folder, scratch)):
        try:
            verdicts.append(judge(reader()))
        except PeerRefused as error:
            verdicts.append(f"refuses: {str(error).replace(f'{folder}/', ''):.90}")
    return verdicts[0], verdicts[1]


def against_ours(found: list[PeerVolume], ours: list[PeerVolume], slices: list[FileSlice]) -> str:
    """Whether volumes of another reader equal those of medseg; else how many slices lie where the headers say."""
    if ours and len(found) == len(ours) and all(any(same_in_world(a, b) for a in found) for b in ours):
        return "equal"
    shapes = ", ".join(" x ".join(map(str, volume.array.shape)) for volume in found)
    return f"{shapes}: {in_place(found, slices)}" if slices else f"reads {shapes}"


def generated_rows(scratch: Path) -> Iterator[tuple[str, ...]]:
    """One row a kind of series; where random numbering decides, a second one with numbers that follow the position."""
    for number, case in enumerate(quick()):
        variants = [case]
        if case.split or case.tilt or case.enhanced:
            variants.append(replace(case, ordered=True))
        for variant in variants:
            folder = scratch / f"{number}{'o' * variant.ordered}"
            truth = check(folder, variant)
            files = len(list(folder.iterdir()))
            judge = lambda found, truth=truth: against_truth(found, truth)  # noqa: E731
            others = peers(folder, scratch / "nifti" / folder.name, judge)
            yield (variant.name, str(files), *outcome(inspect([folder])["series"]), *others)


def against_truth(found: list[PeerVolume], truth: Truth) -> str:
    """Whether the volumes of another reader have the values of their positions."""
    references = [PeerVolume(volume.array, volume.affine) for volume in truth.volumes]
    tolerance = LOSSY_TOLERANCE * float(np.ptp(references[0].array)) if truth.case.syntax else 1e-2
    if len(found) == len(references) and all(
        any(same_in_world(other, reference, tolerance=tolerance) for other in found) for reference in references
    ):
        return "equal"
    wrong = [min(wrong_share(other, volume, truth) for volume in truth.volumes) for other in found]
    shapes = ", ".join(f"{len(other.array)} slices: {share:.0%} wrong" for other, share in zip(found, wrong))
    return shapes


def wrong_share(other: PeerVolume, volume: TruthVolume, truth: Truth) -> float:
    """Share of the voxels, of those within the acquired slices, without the value of their position."""
    world = world_of(other.affine, other.array.shape)
    inverse = np.linalg.inv(volume.affine)
    index = world @ inverse[:3, :3].T + inverse[:3, 3]
    last = np.array(volume.array.shape[::-1]) - 1
    inside = ((index > -0.5) & (index < last + 0.5)).all(-1)
    # what linear interpolation between slices may miss of the blob
    allowed = truth.content.scale * 300 / 6.0**2 * 3.0**2 / 8 + 1.5
    wrong = np.abs(other.array - truth.content.at(world, volume.number)) > allowed
    outside = ~inside & (other.array > other.array.min())  # a background value where nothing was acquired is right
    return float((wrong & inside | outside).mean())


def whole_matrix(scratch: Path) -> str:
    """Counts of the whole matrix; an error where one series is not read as it should be."""
    cases: list[Case] = everything()
    counts = Counter(check(scratch / str(number), case).outcome for number, case in enumerate(cases))
    parts = ", ".join(f"{count} {word}" for word, count in counts.most_common())
    return f"Whole matrix: {len(cases)} series, as expected: {parts}.\n"


if __name__ == "__main__":
    main()
