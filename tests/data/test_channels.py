"""Series of a study become channels by rules; what is not certain fails, for that study alone."""

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_series import write_series
from pydantic import ValidationError

from medseg.data.channel_settings import ChannelRule
from medseg.data.channels import choose_channels
from medseg.data.settings import InputSettings
from medseg.data.stacking import stack_channels
from medseg.imaging import find_inputs, read
from medseg.imaging.dicom.instance import Frame, Instance
from medseg.imaging.dicom.series import Series
from medseg.imaging.find import ImageSource

PATIENT = "SMITH^JOHN"


def source(uid, description="", *, time="", number="", study="study", patient=PATIENT, modality="MR", part="", **more):
    """A series as it is found in a tree: only what choosing looks at is filled in."""
    facts = {
        "SeriesDescription": description, "ProtocolName": "", "SequenceName": "", "AcquisitionTime": time,
        "SeriesNumber": number, "FrameOfReferenceUID": "1.2.3",
    } | {name: value for name, value in more.items() if name != "keys"}  # fmt: skip
    keys = tuple(more.get("keys", {}).items())
    frame = Frame(Path("x"), 0, "1", None, None, None, None, (1.0, 0.0), keys)
    first = Instance(Path("x"), "", "1", uid, study, patient, modality, (), None, facts, (frame,))
    series = Series(uid, part, "volume", (first,), (frame,))
    return ImageSource(f"case{uid}", Path("/in"), series.name, patient, modality, series)


def rule(name, description=None, **settings):
    return ChannelRule(name=name, description=description, **settings)


LIVER = (
    source("1", "T1 VIBE pre", time="101500", number="4"),
    source("2", "T1 VIBE dynamic", time="102000", number="7"),
    source("3", "T1 VIBE dynamic", time="102030.5", number="6"),
    source("4", "T1 VIBE dynamic", time="102200", number="5"),
    source("5", "T1 VIBE hepatobiliary", time="104000", number="8"),
    source("6", "T2 HASTE", time="100000", number="3"),
)


def chosen(sources, *rules):
    (study,) = choose_channels(sources, rules)
    return study


def test_description_and_phase_order():
    """Three series share a description; their times say which is which, not their numbers."""
    study = chosen(
        LIVER[::-1],
        rule("pre", "vibe.*PRE"),
        rule("arterial", "dynamic", phase=1),
        rule("portal", "dynamic", phase=2, phases=3),
        rule("late", "dynamic", phase=-1),
        rule("t2", "^t2"),
    )
    assert study.error == ""
    assert study.images == ("/in#1", "/in#2", "/in#3", "/in#4", "/in#6")
    assert (study.study, study.patient_id, study.modality) == ("study", PATIENT, "MR")
    assert [note.message for note in study.notes][2] == "channel portal: series 6 (MR) (2 of 3 in time)"
    assert not any(note.warning for note in study.notes)


@pytest.mark.parametrize(
    ("settings", "uid"),
    [
        ({"description": "vibe", "exclude": "dynamic|hepato"}, "1"),
        ({"description": "ax_dwi"}, "8"),  # the protocol's name
        ({"description": "tfl2d"}, "9"),  # the sequence's name
        ({"modality": "CT"}, "10"),
        ({"part": "b-1000"}, "11/b-1000"),
        ({"description": "dwi", "part": "b-10+"}, "11/b-1000"),
    ],
)
def test_what_a_rule_looks_at(settings, uid):
    others = (
        source("8", "other", ProtocolName="AX_DWI"),
        source("9", "other", SequenceName="*tfl2d1"),
        source("10", "other", modality="CT"),
        source("11", "dwi", part="b-0"),
        source("11", "dwi", part="b-1000"),
        source("11", "dwi", part="b-10000x"),
    )
    study = chosen(LIVER + others[:3] + (others[3:] if "b-" in uid else ()), ChannelRule(name="it", **settings))
    assert study.images == (f"/in#{uid}",), study.error


def test_parts_of_one_series_are_ordered_by_what_tells_them_apart():
    """Phases of one dynamic series share time and number: the temporal position decides, as a number."""
    parts = [
        source("1", "dyn", time="100000", number="3", part=f"phase-{n}", keys={"phase": str(n)}) for n in (10, 2, 1)
    ]
    study = chosen(parts, *(rule(f"p{n}", "dyn", phase=n) for n in (1, 2, 3)))
    assert study.images == ("/in#1/phase-1", "/in#1/phase-2", "/in#1/phase-10")


def test_series_numbers_decide_where_times_are_the_same_or_not_all_known():
    same = [source("1", "d", time="100000", number="10"), source("2", "d", time="100000", number="9")]
    some = [source("1", "d", time="", number="10"), source("2", "d", time="110000", number="9")]
    for sources in (same, some):
        assert chosen(sources, rule("a", "d", phase=1), rule("b", "d", phase=2)).images == ("/in#2", "/in#1")


def test_old_and_short_times_are_understood():
    sources = [source("1", "d", time="10:05:00"), source("2", "d", time="1004"), source("3", "d", time="100300.25")]
    assert chosen(sources, rule("a", "d", phase=1), rule("b", "d", phase=-1)).images == ("/in#3", "/in#1")


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ([source("1", "d"), source("2", "d")], "order .* is not known"),
        ([source("1", "d", time="235950", number="1"), source("2", "d", time="000030", number="2")], "midnight"),
    ],
    ids=["no time, no number", "over midnight"],
)
def test_an_order_that_is_not_known_is_an_error(sources, says):
    study = chosen(sources, rule("a", "d", phase=1))
    assert study.images == ()
    assert re.search(says, study.error)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([rule("a", "dynamic")], "channel a: 3 series match: series 7 (MR), series 6 (MR), series 5 (MR)"),
        ([rule("a", "arterial")], "channel a: no series matches; the study holds series 4 (MR)"),
        ([rule("a", "dynamic", phase=4)], "phase 4 is asked for and 3 series match"),
        ([rule("a", "dynamic", phase=-4)], "phase -4 is asked for and 3 series match"),
        ([rule("a", "dynamic", phase=2, phases=4)], "expects 4 phases and 3 series match"),
        ([rule("a", "pre"), rule("b", "dynamic", phase=2, phases=4, fallback="a")], "expects 4 phases"),
        ([rule("a", "pre"), rule("b", "vibe", phase=1)], "channels a and b would both be series 4 (MR)"),
    ],
)
def test_what_is_missing_or_ambiguous_fails_and_lists_the_series(rules, says):
    study = chosen(LIVER, *rules)
    assert study.images == ()
    assert says in study.error
    assert PATIENT not in study.error


def test_a_missing_channel_with_a_fallback_is_none():
    study = chosen(LIVER, rule("pre", "pre"), rule("late", "delayed", fallback="pre"), rule("t2", "^t2"))
    assert study.images == ("/in#1", None, "/in#6")
    assert [note.message.split(":")[0] for note in study.notes] == ["channel pre", "channel t2"]


def test_one_study_fails_alone():
    """Studies are told apart by patient and UID; one that lacks a series does not stop the others."""
    sources = [
        *LIVER,
        source("21", "T2 HASTE", study="second", patient="B"),
        source("31", "T1 VIBE pre", study="third", patient="C"),
        ImageSource("scan", Path("/in/scan.nii.gz")),
    ]
    studies = {study.study: study for study in choose_channels(sources, [rule("pre", "pre")])}
    assert {name: study.images for name, study in studies.items()} == {
        "study": ("/in#1",), "second": (), "third": ("/in#31",)
    }  # fmt: skip
    assert "no series matches" in studies["second"].error


def test_series_without_a_study_uid_are_not_thrown_together():
    sources = [source("1", "pre", study=""), source("2", "late", study="")]
    studies = choose_channels(sources, [rule("pre", "pre"), rule("late", "late")])
    assert [study.study for study in studies] == ["1", "2"]
    assert all("no series matches" in study.error for study in studies)


def test_another_frame_of_reference_is_a_warning():
    sources = [source("1", "pre"), source("2", "late", FrameOfReferenceUID="4.5.6")]
    study = chosen(sources, rule("pre", "pre"), rule("late", "late"))
    (warning,) = [note for note in study.notes if note.warning]
    assert (warning.code, "channel late" in warning.message) == ("frame_of_reference", True)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([{"name": "a", "description": "x"}], "1 rule.* for 2 channel"),
        ([{"name": "a", "description": "x"}, {"name": "a", "description": "y"}], "two channels are named a"),
        ([{"name": "a", "description": "("}, {"name": "b", "description": "y"}], "not a regular expression"),
        ([{"name": "a"}, {"name": "b", "description": "y"}], "description, a modality or a part"),
        ([{"name": "a", "description": "x", "fallback": "zeros"}, {"name": "b", "description": "y"}], "first one"),
        ([{"name": "a", "description": "x"}, {"name": "b", "description": "y", "fallback": "c"}], "earlier channel"),
        ([{"name": "a", "description": "x"}, {"name": "b", "description": "y", "fallback": "b"}], "earlier channel"),
        ([{"name": "a", "description": "x"}, {"name": "zeros", "description": "y"}], "cannot be named zeros"),
        ([{"name": "a", "description": "x"}, {"name": "b", "description": "y", "phase": 0}], "counted from 1"),
        ([{"name": "a", "description": "x"}, {"name": "b", "description": "y", "phase": 3, "phases": 2}], "within it"),
    ],
)
def test_rules_that_cannot_mean_anything_are_refused(rules, says):
    with pytest.raises(ValidationError, match=says):
        InputSettings(channels=2, series=rules)


def test_registration_of_one_channel_is_refused():
    with pytest.raises(ValidationError, match="further channels"):
        InputSettings(registration="rigid")


def test_from_files_to_channels(tmp_path):
    """A study on disk: two phases and a third that is missing become one volume of three channels."""
    uids = {}
    for number, name in enumerate(("portal", "arterial"), start=1):
        uids[name] = write_series(tmp_path / "in" / name, patient_id=PATIENT, seed=number)
        for file in (tmp_path / "in" / name).iterdir():
            data = pydicom.dcmread(file)
            data.StudyInstanceUID, data.SeriesDescription = "1.2.3", f"liver {name}"
            data.save_as(file)
    rules = (
        rule("arterial", "arterial"), rule("portal", "portal"), rule("late", "late", fallback="portal"),
    )  # fmt: skip
    study = chosen(find_inputs(tmp_path / "in", name_series=lambda uid: f"s{uid[-8:]}"), *rules)
    assert study.error == ""
    volumes = [None if name is None else read(name) for name in study.images]
    stacked = stack_channels(volumes, "a", rules=rules)
    expected = [read(tmp_path / "in" / name).array[0] for name in ("arterial", "portal", "portal")]
    assert np.array_equal(stacked.array, np.stack(expected))
    assert not np.array_equal(expected[0], expected[1])
