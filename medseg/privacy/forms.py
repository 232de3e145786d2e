"""Forms of an identifier, by its kind."""

from medseg.privacy.dates import date_forms, parse_date
from medseg.privacy.folding import plain
from medseg.privacy.identifiers import Identifier
from medseg.privacy.names import name_forms
from medseg.privacy.numbers import hash_forms, id_forms, phone_forms, text_forms
from medseg.privacy.spelling import Form

__all__ = ["forms_of"]

NAMES = ("patient_name", "person_name")


def forms_of(identifier: Identifier, *, names: str = "family") -> list[Form]:
    """Forms of an identifier; none where it is too short to be searched. UIDs have one form and are not for here."""
    kind, value = identifier.kind, plain(identifier.value)
    hashed = {value, identifier.value}
    if kind in NAMES:
        forms = name_forms(value, parts=names)
        return forms + (hash_forms({*hashed, *value.split("=")}) if kind == "patient_name" and forms else [])
    if kind in ("birth_date", "study_date"):
        day = parse_date(value)
        return [] if day is None else date_forms(day)
    if kind == "telephone":
        return phone_forms(value)
    if kind in ("address", "institution"):
        return text_forms(value)
    forms = id_forms(value)
    return forms + (hash_forms(hashed) if forms else [])
