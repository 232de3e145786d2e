"""Whether medseg reads a series of the matrix as it should: right voxels at the right place, or the right reason."""

from pathlib import Path

import numpy as np
import pytest
from dicom_matrix import SPACING, Case, Truth, TruthVolume, world_of, write_matrix_series
from dicom_matrix_cases import LOSSY

from medseg.errors import GeometryError, ImageError
from medseg.imaging import inspect, read
from medseg.volume import Volume

LOSS = 0.02  # of the range of values, in a lossy transfer syntax


def check(folder: Path, case: Case) -> Truth:
    """Write a series, look at it and read it; a failed check names the case."""
    truth = write_matrix_series(folder, case)
    entries = inspect([folder])["series"]
    if truth.outcome == "rejected":
        check_rejected(entries, truth, folder)
    elif truth.outcome == "copies":
        assert any(entry["status"] != "ok" for entry in entries), case.name
        if all(entry["status"] != "rejected" for entry in entries):
            check_volumes(folder, entries, truth)
    else:
        check_volumes(folder, entries, truth)
    return truth


def check_rejected(entries: list[dict], truth: Truth, folder: Path) -> None:
    """Check that the fault is named, and that no volume with it is read."""
    bad = [entry for entry in entries if entry["status"] == "rejected"]
    if not truth.case.split:  # of two interleaved volumes the one without fault may be read
        assert len(bad) == len(entries) == 1, (truth.case.name, entries)
    assert bad, (truth.case.name, entries)
    for entry in bad:
        assert entry["problems"][0]["code"] in truth.codes, (truth.case.name, entry["problems"])
        with pytest.raises((ImageError, GeometryError), match="mm|slice|matri|orientation"):
            read(entry["path"] if len(entries) == 1 else folder, series_uid=name_of(entry))
    for entry in entries:
        if entry["status"] != "rejected":
            check_volume(read(folder, series_uid=name_of(entry)), truth, truth.volumes)


def name_of(entry: dict) -> str:
    """Name of an entry of `inspect` for `read`."""
    return f"{entry['series_uid']}/{entry['part']}" if entry["part"] else entry["series_uid"]


def check_volumes(folder: Path, entries: list[dict], truth: Truth) -> None:
    """Check that each volume of the series is there, once, and as it should be."""
    assert len(entries) == len(truth.volumes), (truth.case.name, entries)
    if len(entries) > 1:
        with pytest.raises(ImageError, match="choose one"):
            read(folder)
    found = [check_volume(read(folder, series_uid=name_of(entry)), truth, truth.volumes) for entry in entries]
    assert sorted(found) == [volume.number for volume in truth.volumes], truth.case.name
    for entry in entries:
        codes = [problem["code"] for problem in entry["problems"]]
        assert entry["status"] in (("warning",) if truth.codes else ("ok", "warning")), (truth.case.name, entry)
        assert set(truth.codes) <= set(codes), (truth.case.name, entry)


def check_volume(volume: Volume, truth: Truth, candidates: tuple[TruthVolume, ...]) -> int:
    """Check the voxels at their places; return which of the volumes it is."""
    if truth.case.tilt and truth.case.odd != "one":
        errors = [resampled_error(volume, truth, candidate) for candidate in candidates]
    else:
        errors = [stored_error(volume, truth, candidate) for candidate in candidates]
    best = int(np.argmin(errors))
    assert errors[best] == 0, (truth.case.name, errors)
    return candidates[best].number


def stored_error(volume: Volume, truth: Truth, candidate: TruthVolume) -> float:
    """0 where grid and voxels are those of the file."""
    if volume.array.shape[1:] != candidate.array.shape or not np.allclose(
        volume.affine_lps, candidate.affine, atol=1e-4
    ):
        return np.inf
    error = float(np.abs(volume.array[0] - candidate.array).max())
    allowed = LOSS * np.ptp(candidate.array) if truth.case.syntax in LOSSY else 1e-3
    return error if error > allowed else 0.0


def resampled_error(volume: Volume, truth: Truth, candidate: TruthVolume) -> float:
    """0 where voxels within the acquired slices have the value of their place, on a grid with right angles."""
    matrix = volume.affine_lps[:3, :3] / np.linalg.norm(volume.affine_lps[:3, :3], axis=0)
    assert np.allclose(matrix.T @ matrix, np.eye(3), atol=1e-6), truth.case.name
    assert np.allclose(volume.spacing_mm[1:], SPACING, atol=1e-4), truth.case.name
    world = world_of(volume.affine_lps, volume.array.shape[1:])
    inverse = np.linalg.inv(candidate.affine)
    index = world @ inverse[:3, :3].T + inverse[:3, 3]  # in the sheared grid of the file
    last = np.array(candidate.array.shape[::-1]) - 1
    inside = ((index >= -1e-6) & (index <= last + 1e-6)).all(-1)
    assert inside.sum() > 0.9 * np.prod(candidate.array.shape[:2]) * (last[0] - 1), truth.case.name  # nothing is lost
    error = np.abs(volume.array[0] - truth.content.at(world, candidate.number))[inside].max()
    # linear interpolation of the blob: second derivative x spacing^2 / 8; rounding of the stored values
    allowed = truth.content.scale * 300 / 6.0**2 * max(SPACING) ** 2 / 8 + 1.0
    return float(error) if error > allowed else 0.0
