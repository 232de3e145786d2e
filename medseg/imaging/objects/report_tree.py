"""The content tree of a structured report (PS3.3 C.17.3): its items by their coded names, values, references."""

from collections.abc import Iterator, Sequence

import pydicom
from pydicom.sr.coding import Code

from medseg.imaging.objects.opened import coded_term, first_item
from medseg.imaging.objects.report_codes import MEASUREMENT_GROUP
from medseg.imaging.objects.settings import CodedTerm

__all__ = ["Image", "by_name", "children", "descendants", "image_of", "is_named", "measured", "text_of"]

Image = tuple[str, str, int]  # SOP Instance UID, SOP Class UID, number of the frame from 1


def is_named(item: pydicom.Dataset, *terms: CodedTerm) -> bool:
    """Whether the concept name of an item is one of the terms; codes of SNOMED RT (SRT) are those of SNOMED CT."""
    name = coded_term(item, "ConceptNameCodeSequence")
    if name is None:
        return False
    code = Code(name.value, name.scheme, name.meaning)
    return any(code == Code(term.value, term.scheme, term.meaning) for term in terms)


def children(item: pydicom.Dataset) -> list[pydicom.Dataset]:
    """Items below one."""
    return list(item.get("ContentSequence") or [])


def descendants(item: pydicom.Dataset) -> Iterator[pydicom.Dataset]:
    """All items below one, but not those of measurement groups within it."""
    waiting = children(item)[::-1]
    while waiting:
        found = waiting.pop()
        yield found
        if not is_named(found, MEASUREMENT_GROUP):
            waiting += children(found)[::-1]


def by_name(items: Sequence[pydicom.Dataset], *terms: CodedTerm) -> list[pydicom.Dataset]:
    """Items of one of the names, in the order of the terms."""
    return [item for term in terms for item in items if is_named(item, term)]


def text_of(item: pydicom.Dataset) -> str:
    """Text, UID or name that an item holds."""
    for keyword in ("TextValue", "UID", "PersonName"):
        if item.get(keyword):
            return str(item.get(keyword)).strip()
    return ""


def measured(item: pydicom.Dataset) -> tuple[float, str] | None:
    """Value and unit (UCUM) of a NUM item, in full precision where that is stored; None where it has no value."""
    value = first_item(item, "MeasuredValueSequence")
    number = value.get("FloatingPointValue")
    if number is None:
        number = value.get("NumericValue")
    unit = coded_term(value, "MeasurementUnitsCodeSequence")
    if number is None or number == "" or unit is None:
        return None
    return float(number), unit.value


def image_of(item: pydicom.Dataset, root: pydicom.Dataset) -> Image | None:
    """Image that the coordinates of an SCOORD item were selected from, by value or by reference within the tree."""
    for child in children(item):
        if child.get("ReferencedContentItemIdentifier") is not None:
            child = _item_at(root, child.ReferencedContentItemIdentifier)
        reference = first_item(child, "ReferencedSOPSequence")
        if reference.get("ReferencedSOPInstanceUID"):
            frames = reference.get("ReferencedFrameNumber")
            number = frames if isinstance(frames, int) else frames[0] if frames else 1
            return (
                str(reference.ReferencedSOPInstanceUID),
                str(reference.get("ReferencedSOPClassUID") or ""),
                int(number),
            )
    return None


def _item_at(root: pydicom.Dataset, path: int | Sequence[int]) -> pydicom.Dataset:
    """Item by its place in the tree: the root is 1, its third child 1, 3 (PS3.3 C.17.3.2.5)."""
    item = root
    for number in [] if isinstance(path, int) else list(path)[1:]:
        item = children(item)[int(number) - 1]
    return item
