"""Whether an image is one that a model is for, by what its file and the manifest say of it."""

import math
import re
from dataclasses import dataclass
from typing import Protocol

from medseg.data.domain_words import meaning, plain
from medseg.data.manifest import Case
from medseg.data.settings import InputSettings

__all__ = ["Facts", "contradiction", "facts_of", "unknown_facts", "years"]

FACTS = ("modality", "body_part", "view", "age")
_PER_YEAR = {"Y": 1.0, "M": 12.0, "W": 365.25 / 7, "D": 365.25}


class _Stated(Protocol):
    """What an image says of itself: a `Volume` or a `SlabReader`."""

    @property
    def modality(self) -> str: ...
    @property
    def body_part(self) -> str: ...
    @property
    def view(self) -> str: ...
    @property
    def patient_age(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an image; empty or None where it is not.

    Parameters
    ----------
    age : float or None
        Of the patient, in years.
    """

    modality: str = ""
    body_part: str = ""
    view: str = ""
    age: float | None = None


def years(text: str) -> float | None:
    """Age in years of ``045Y``, ``006M``, ``003W``, ``010D`` (DICOM PS3.5, Age String) or a plain number of years.

    Examples
    --------
    >>> years("045Y"), years("006M"), years("62.5"), years("unknown")
    (45.0, 0.5, 62.5, None)
    """
    match = re.fullmatch(r"([0-9]{1,3})([YMWD])", text.strip().upper())
    if match:
        return int(match[1]) / _PER_YEAR[match[2]]
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def facts_of(image: _Stated, case: Case | None = None) -> Facts:
    """Take each fact from the manifest's row where its cell has a value, else from the file.

    Cells are often corrections of what a header says wrongly, so they come first. The manifest has no body part.
    """
    row = {} if case is None else {"modality": case.modality, "view": case.view, "age": case.age}
    age = years(row.get("age", ""))
    return Facts(
        modality=row.get("modality", "") or image.modality,
        body_part=image.body_part,
        view=row.get("view", "") or image.view,
        age=years(image.patient_age) if age is None else age,
    )


def contradiction(facts: Facts, settings: InputSettings) -> str:
    """Say which fact is none that the model is for; empty where none contradicts it.

    What is not known, or is a word that says nothing, contradicts nothing: see `unknown_facts`.
    """
    for name in ("modality", "body_part", "view"):
        allowed, found = getattr(settings, name), getattr(facts, name)
        if allowed and found and _excluded(name, found, allowed):
            return f"{name.replace('_', ' ')} {_shown(found)}, the model is for {' or '.join(allowed)}"
    if settings.age is not None and facts.age is not None:
        low, high = settings.age
        if not low <= facts.age <= high:  # the age itself is not written: high ones identify a patient
            found = f"below {low:g}" if facts.age < low else f"above {high:g}"
            return f"age {found} years, the model is for {low:g} to {high:g} years"
    return ""


def _excluded(name: str, found: str, allowed: tuple[str, ...]) -> bool:
    if plain(found) in map(plain, allowed):
        return False
    narrow = meaning(name, found)
    return bool(narrow) and not any(narrow & meaning(name, word) for word in allowed)


def unknown_facts(facts: Facts, settings: InputSettings) -> list[str]:
    """Names of the facts that the model states and that are not known of an image, so that they were not checked."""
    unknown = []
    for name in FACTS:
        stated, found = getattr(settings, name), getattr(facts, name)
        if not stated:
            continue
        if name == "age":
            known = found is not None
        else:
            known = bool(found) and (bool(meaning(name, found)) or plain(found) in map(plain, stated))
        if not known:
            unknown.append(name)
    return unknown


def _shown(text: str) -> str:
    """A word of the table, or what looks like a modality; anything else might be a name."""
    known = any(meaning(name, text) for name in ("body_part", "view"))
    return text if known or re.fullmatch(r"[A-Za-z0-9]{1,8}", text) else "of another kind"
