"""A measurement group as a lesion: which of its sizes is the diameter."""

from typing import TYPE_CHECKING

import numpy as np

from medseg.imaging.objects import report_codes as codes
from medseg.imaging.objects.report_shapes import Shape
from medseg.imaging.objects.report_tree import by_name, descendants, measured
from medseg.lesion import Lesion, equivalent_diameter
from medseg.volume import Unit

if TYPE_CHECKING:
    import pydicom

__all__ = ["lesion_of"]


def lesion_of(
    group: "pydicom.Dataset", unit: Unit, shape: Shape, spacing: tuple[float, float] | None, name: str, reader: str
) -> Lesion:
    """Lesion of a group by its outline and its measurements, as `medseg.imaging.objects.read_report` describes."""
    outline = shape.diameter if shape.dimensions >= 2 else 0.0
    stated = _stated_diameters(group, unit, spacing)
    flat = unit == "px" or shape.dimensions == 2
    wanted = ("outline", "diameter") if unit == "px" else ("diameter", "outline")
    order = (*wanted, *(("area", "volume") if flat else ("volume", "area")), "length", "line")
    sizes = {**stated, "outline": outline, "line": shape.diameter}
    diameter = next((sizes[key] for key in order if sizes.get(key, 0.0) > 0), 0.0)
    x, y, z = (float(value) for value in shape.centre)
    return Lesion(x, y, z if unit == "mm" else 0.0, float(diameter), unit, name=name, reader=reader)


def _stated_diameters(group: "pydicom.Dataset", unit: Unit, spacing: tuple[float, float] | None) -> dict[str, float]:
    """Diameters that follow from the group's measurements, in the unit of the lesion."""
    items = [item for item in descendants(group) if item.get("ValueType") == "NUM"]
    kinds = {
        "diameter": ((codes.DIAMETER,), 1), "area": ((codes.AREA,), 2), "volume": ((codes.VOLUME,), 3),
        "length": (codes.LENGTHS, 1),
    }  # fmt: skip
    found = {}
    for key, (terms, dimensions) in kinds.items():
        for item in by_name(items, *terms):
            value = measured(item)
            scale = None if value is None else _scale(value[1], dimensions, unit, spacing)
            if value is not None and scale is not None and np.isfinite(value[0]) and value[0] > 0:
                size = value[0] * scale**dimensions
                found[key] = size if dimensions == 1 else float(equivalent_diameter(size, dimensions=dimensions))
                break
    return found


def _scale(ucum: str, dimensions: int, unit: Unit, spacing: tuple[float, float] | None) -> float | None:
    """Factor of lengths from a UCUM unit to that of the lesion; None where they cannot be compared."""
    if "pixel" in ucum.lower():
        return 1.0 if unit == "px" and dimensions < 3 else None
    power = str(dimensions) if dimensions > 1 else ""
    scale = next((mm for name, mm in codes.LENGTH_UNITS_MM.items() if ucum == name + power), None)
    if scale is None or unit == "mm":
        return scale
    return None if spacing is None or dimensions == 3 else scale / (spacing[0] * spacing[1]) ** 0.5
