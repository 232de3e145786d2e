"""Which frames are one volume: series built by hand, no files."""

from pathlib import Path

import pytest

from medseg.imaging.dicom.decode_format import PixelFormat
from medseg.imaging.dicom.geometry import Problem
from medseg.imaging.dicom.instance import FACTS, Frame, Instance
from medseg.imaging.dicom.series import homes_of, series_of

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
FORM = PixelFormat("1.2.840.10008.1.2.1", 0, 16, 16, 1, 1, 16, 16, 15, False, 0, "MONOCHROME2")


def image(number, z=None, *, keys=(), folder="a", modality="MR", frames=1, **changes):
    path = Path(f"/{folder}/{number}.dcm")
    position = None if z is None else (0.0, 0.0, float(z))
    places = tuple(
        Frame(path, k, str(number), position, AXIAL if position else None, (1.0, 1.0), 3.0, (1.0, 0.0), tuple(keys))
        for k in range(frames)
    )
    facts = dict.fromkeys(FACTS, "") | {
        "FrameOfReferenceUID": changes.pop("space", "1.9"),
        "Units": changes.pop("units", ""),
    }
    about = {
        "patient_id": "p",
        "study_uid": "1.1",
        "series_uid": "1.2",
        "image_type": ("ORIGINAL", "PRIMARY"),
    } | changes
    return Instance(
        path=path, sop_class="1.2.840.10008.5.1.4.1.1.4", sop_uid=str(number), modality=modality, format=FORM,
        facts=facts, frames=places, **about,
    )  # fmt: skip


def problem(series):
    found = series.placement
    found = found if isinstance(found, Problem) else found.problem
    return found.code if found else ""


def test_two_repetitions_at_two_times_are_two_volumes():
    images = [image(10 * rep + k, 3 * k, keys=[("time", f"10000{rep}")]) for rep in range(2) for k in range(5)]
    parts = series_of(images)
    assert [(part.part, len(part.frames), problem(part)) for part in parts] == [
        ("time-100000", 5, ""),
        ("time-100001", 5, ""),
    ]


def test_slices_that_are_taken_at_once_are_no_volume_of_their_own():
    # multiband: 12 slices twice, every fourth at one time; split by time they would be 12 mm apart instead of 3
    images = [
        image(100 * rep + k, 3 * k, keys=[("time", f"1000{rep * 4 + k % 4:02d}")])
        for rep in range(2)
        for k in range(12)
    ]
    (series,) = series_of(images)
    assert problem(series) == "doubled_slices"


@pytest.mark.parametrize("key", ["time", "acquisition"])
def test_table_positions_are_no_volumes_and_hide_no_missing_slice(key):
    places = [0, 1, 2, 3, 5, 6, 7, 8]  # slice 4 is missing between the two positions of the table
    images = [
        image(100 * turn + k, 3 * z, keys=[(key, str(turn * 2 + k // 4))])
        for turn in range(3)
        for k, z in enumerate(places)
    ]
    (series,) = series_of(images)
    assert problem(series) == "doubled_slices"


def test_an_echo_that_lacks_a_slice_is_found_out():
    images = [
        image(10 * echo + k, 3 * k, keys=[("echo", str(echo))])
        for echo in (1, 2)
        for k in range(6)
        if (echo, k) != (2, 3)
    ]
    assert [(part.part, problem(part)) for part in series_of(images)] == [("echo-1", ""), ("echo-2", "missing_slices")]


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"patient_id": "q"}, "mixed_patients", "images of 2 patients under"),
        ({"patient_id": ""}, "mixed_patients", "images of 1 patients and some that state none"),
        ({"study_uid": "1.3"}, "mixed_studies", "2 studies"),
        ({"space": "1.8"}, "mixed_frames_of_reference", "2 frames of reference"),
        ({"units": "BQML"}, "mixed_units", "images of 1 units and some that state none"),
        ({"modality": "CT"}, "mixed_modalities", "2 modalities"),
    ],
)
def test_what_cannot_be_one_series_is_refused(change, code, words):
    (series,) = series_of([image(0, 0), image(1, 3), image(2, 6), image(3, 9, **change)])
    assert problem(series) == code
    assert words in series.placement.message


def test_radiographs_are_numbered_over_their_series():
    views = [image(1, modality="XA", frames=3), image(2, modality="XA", frames=5, folder="b")]
    parts = series_of(views)
    assert [part.part for part in parts] == [f"image-{n}" for n in range(1, 9)]
    assert (parts[3].frames[0].path.name, parts[3].frames[0].number) == ("2.dcm", 0)
    assert homes_of(parts) == {"1.2": Path("/")}  # where all of them are found again, and numbered alike


def test_tomosynthesis_is_no_radiograph():
    (series,) = series_of([image(1, 0, modality="MG", frames=4)])
    assert series.kind == "volume"


def test_mosaics_and_localizers_are_named():
    kinds = [("ORIGINAL", "PRIMARY", "MOSAIC"), ("ORIGINAL", "PRIMARY", "LOCALIZER")]
    assert [s.kind for s in series_of([image(k, k, image_type=kind) for k, kind in enumerate(kinds)])] == [
        "mosaic",
        "localizer",
    ]
