"""The shipped pipeline of liver MR: which series are its phases, and what is drawn."""

import pytest
from pydicom.sr.codedict import codes

from medseg.config import load_pipeline
from medseg.data.channels import choose_channels
from medseg.errors import ConfigError
from medseg.imaging.dicom.instance import Frame, Instance
from medseg.imaging.dicom.series import Series
from medseg.imaging.find import ImageSource

PHASES = ("native", "arterial", "portal", "late")


def study_of(tmp_path, descriptions):
    sources = []
    for number, description in enumerate(descriptions):
        facts = {"SeriesDescription": description, "SeriesNumber": str(number), "FrameOfReferenceUID": "1.2"}
        frame = Frame(tmp_path, 0, "1", None, None, None, None, (1.0, 0.0), ())
        first = Instance(tmp_path, "", "1", str(number), "study", "P", "MR", (), None, facts, (frame,))
        series = Series(str(number), "", "volume", (first,), (frame,))
        sources.append(ImageSource(f"case{number}", tmp_path, series.name, "P", "MR", series))
    (study,) = choose_channels(sources, load_pipeline("liver_mr_nodule").input.channel_rules)
    chosen = [None if name is None else descriptions[int(name.split("#")[1])] for name in study.images]
    return study.error, dict(zip(PHASES, chosen))


@pytest.mark.parametrize(
    "descriptions",
    [
        ("t1_vibe_fs_tra_pre", "t1_vibe_fs_tra_art", "t1_vibe_fs_tra_portalvenous", "t1_vibe_fs_tra_20min"),
        ("Ax LAVA", "Ax LAVA ARTERIAL", "Ax LAVA VENOUS", "Ax LAVA HBP"),
        ("THRIVE nativ", "THRIVE arteriell", "THRIVE venoes", "THRIVE hepatobiliaer"),
    ],
)
def test_usual_names_of_series_become_phases(tmp_path, descriptions):
    others = ("t2_haste_cor", "ep2d_diff_b800", "localizer", "vibe sub art-pre")
    error, chosen = study_of(tmp_path, (*others, *reversed(descriptions)))
    assert error == ""
    assert tuple(chosen.values()) == descriptions


def test_a_missing_phase_is_none_and_a_missing_native_one_or_two_of_one_name_fail(tmp_path):
    error, chosen = study_of(tmp_path, ("vibe pre", "vibe portal"))
    assert (error, chosen) == ("", {"native": "vibe pre", "arterial": None, "portal": "vibe portal", "late": None})
    assert "channel native: no series matches" in study_of(tmp_path, ("vibe art", "vibe portal"))[0]
    assert "channel arterial: 2 series match" in study_of(tmp_path, ("vibe pre", "vibe art 1", "vibe art 2"))[0]


def test_terms_are_those_of_the_standard_and_the_colour_is_magenta():
    pipeline = load_pipeline("liver_mr_nodule")
    assert pipeline.results.site is not None
    for term, code in ((pipeline.results.finding, codes.SCT.Nodule), (pipeline.results.site, codes.SCT.Liver)):
        assert (term.value, term.scheme, term.meaning) == (code.value, code.scheme_designator, code.meaning)
    assert (pipeline.drawing.found_colour, pipeline.drawing.layout) == ("#ff00ff", "side_by_side")


def test_a_channel_that_is_not_there_cannot_be_drawn():
    with pytest.raises(ConfigError, match="drawing.channel=5: there are 4 channel"):
        load_pipeline("liver_mr_nodule", ["drawing.channel=5"])
