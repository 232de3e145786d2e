"""Generated series of every kind: the right voxels at the right place, or the right reason."""

from itertools import product

import numpy as np
import pytest
from dicom_matrix import ORIENTATIONS, Case, write_matrix_series
from dicom_matrix_cases import MISSING, everything, quick
from dicom_matrix_check import check
from peer_readers import DCM2NIIX, PeerVolume, read_by_dcm2niix, read_by_simpleitk, same_in_world

from medseg.errors import GeometryError, ImageError
from medseg.imaging import read


@pytest.mark.parametrize("case", quick(), ids=lambda case: case.name)
def test_series_of_each_kind(tmp_path, case):
    check(tmp_path, case)


@pytest.mark.parametrize("tilt", [0.0, 10.0])
@pytest.mark.parametrize("missing", MISSING[1:])
def test_missing_slices_are_interpolated_where_that_is_allowed(tmp_path, missing, tilt):
    case = Case(missing=missing, tilt=tilt)
    truth = write_matrix_series(tmp_path, case)
    with pytest.raises(GeometryError, match="mm"):
        read(tmp_path)
    volume = read(tmp_path, allow_irregular=True)
    codes = {note.code for note in volume.notes if note.warning}
    assert codes >= {"irregular_resampled"} | ({"tilt_resampled"} if tilt else set())
    assert volume.array.shape[1] == case.slices
    if not tilt:
        assert np.allclose(volume.affine_lps, truth.volumes[0].affine, atol=1e-4)
        kept = [index for index in range(case.slices) if index not in missing]
        assert np.allclose(volume.array[0, kept], truth.volumes[0].array[kept], atol=1e-2)
        for index in missing:
            between = (truth.volumes[0].array[index - 1] + truth.volumes[0].array[index + 1]) / 2
            assert np.allclose(volume.array[0, index], between, atol=1e-2)


REGULAR = [Case(orientation=name, flipped=flip) for name, flip in product(ORIENTATIONS, (False, True))]
REGULAR += [Case(syntax="RLELossless"), Case(syntax="JPEG2000Lossless"), Case(bits=12, signed=False, rescale="ct")]


@pytest.mark.parametrize("case", REGULAR, ids=lambda case: case.name)
def test_regular_series_equal_simpleitk(tmp_path, case):
    write_matrix_series(tmp_path, case)
    (other,) = read_by_simpleitk(tmp_path)
    volume = read(tmp_path)
    assert same_in_world(PeerVolume(volume.array[0], volume.affine_lps), other)


@pytest.mark.skipif(DCM2NIIX is None, reason="dcm2niix is not installed")
@pytest.mark.parametrize("case", REGULAR, ids=lambda case: case.name)
def test_regular_series_equal_dcm2niix(tmp_path, case):
    write_matrix_series(tmp_path / "series", case)
    (other,) = read_by_dcm2niix(tmp_path / "series", tmp_path / "nifti")
    volume = read(tmp_path / "series")
    assert same_in_world(PeerVolume(volume.array[0], volume.affine_lps), other)


@pytest.mark.slow
def test_the_whole_matrix(tmp_path):
    failures = []
    cases = everything()
    for number, case in enumerate(cases):
        try:
            check(tmp_path / str(number), case)
        except (AssertionError, ImageError, pytest.fail.Exception) as error:
            failures.append(f"{case.name}: {error!s:.300}")
    assert not failures, f"{len(failures)} of {len(cases)}:\n" + "\n".join(failures)
