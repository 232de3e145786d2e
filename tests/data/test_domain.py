"""What contradicts the domain that a model states, and what is merely unknown."""

import numpy as np
import pytest
from pydantic import ValidationError

from medseg.data.cache import CacheOptions, cache_key
from medseg.data.domain import Facts, contradiction, facts_of, unknown_facts, years
from medseg.data.domain_words import meaning
from medseg.data.manifest import Case
from medseg.data.settings import InputSettings
from medseg.volume import Grid, Volume

CHEST = InputSettings(modality=("DX", "CR"), body_part=("CHEST",), view=("PA", "AP"), age=(18, 120))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (Facts("CT"), "modality CT, the model is for DX or CR"),
        (Facts("CR", "SKULL"), "body part SKULL, the model is for CHEST"),
        (Facts("CR", "Thorax", "LL"), "view LL, the model is for PA or AP"),
        (Facts("CR", "CHEST", "lateral"), "view lateral, the model is for PA or AP"),
        (Facts("CR", "CHEST", "PA", 17.0), "age below 18 years, the model is for 18 to 120 years"),
        (Facts(age=120.5), "age above 120 years, the model is for 18 to 120 years"),
        (Facts("XR", "THORAX", "Postero-Anterior", 18.0), ""),
        (Facts("DX", "WHOLEBODY", "FRONTAL", 120.0), ""),
        (Facts(), ""),
        (Facts("DX", "ward 7", "routine"), ""),  # words that say nothing
    ],
)
def test_what_contradicts_the_domain(facts, reason):
    assert contradiction(facts, CHEST) == reason


def test_wide_words_are_what_they_may_be():
    liver = InputSettings(body_part=("LIVER",))
    assert contradiction(Facts(body_part="ABDOMEN"), liver) == ""
    assert contradiction(Facts(body_part="CHESTABDPELVIS"), liver) == ""
    assert contradiction(Facts(body_part="LUNG"), liver) == "body part LUNG, the model is for LIVER"
    assert contradiction(Facts(view="LL"), InputSettings(view=("LATERAL",))) == ""
    assert contradiction(Facts(view="RL"), InputSettings(view=("LL",))) != ""
    own = InputSettings(body_part=("Phantom A",))
    assert contradiction(Facts(body_part="PHANTOM-A"), own) == ""
    assert contradiction(Facts(body_part="KNEE"), own) != ""
    assert meaning("body_part", "ABDOMEN") > meaning("body_part", "LIVER")


def test_a_model_that_states_nothing_takes_everything():
    assert contradiction(Facts("CT", "KNEE", "AP", 3.0), InputSettings()) == ""
    assert unknown_facts(Facts(), InputSettings()) == []


def test_what_is_unknown_is_named():
    assert unknown_facts(Facts("CR", "", "routine", None), CHEST) == ["body_part", "view", "age"]
    assert unknown_facts(Facts("CR", "CHEST", "PA", 0.0), CHEST) == []


def test_the_manifest_comes_before_the_file():
    empty, grid = np.zeros((1, 1, 4, 4), np.float32), Grid.projection((4, 4))
    image = Volume(empty, grid, modality="DX", body_part="CHEST", view="LL", patient_age="012Y")
    assert facts_of(image) == Facts("DX", "CHEST", "LL", 12.0)
    row = Case(case_id="a", patient_id="p", images=("a.png",), view="PA", age="44")
    assert facts_of(image, row) == Facts("DX", "CHEST", "PA", 44.0)
    unread = Case(case_id="a", patient_id="p", images=("a.png",), age="old")
    assert facts_of(image, unread).age == 12.0


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("045Y", 45),
        ("018M", 1.5),
        ("052W", 52 * 7 / 365.25),
        ("000D", 0),
        ("7", 7),
        ("-3", None),
        ("", None),
        ("nan", None),
    ],
)
def test_ages(text, age):
    assert years(text) == (None if age is None else pytest.approx(age))


def test_a_name_in_a_wrong_place_is_not_repeated():
    reason = contradiction(Facts("DOE^JANE THE THIRD"), CHEST)
    assert reason == "modality of another kind, the model is for DX or CR"


def test_ages_must_rise():
    with pytest.raises(ValidationError, match="must rise"):
        InputSettings(age=(60, 18))


def test_a_stated_domain_changes_no_cached_image(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    case = Case(case_id="a", patient_id="p", images=(str(tmp_path / "a.png"),))
    keys = {
        cache_key(case, CacheOptions(input=InputSettings(**stated), spacing=None, classes=("lesion",)))
        for stated in ({}, {"view": ("PA",)}, {"body_part": ("CHEST",), "age": (18, 90)})
    }
    assert len(keys) == 1
