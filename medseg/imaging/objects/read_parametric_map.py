"""Reading DICOM Parametric Maps in the values that they mean (PS3.3 C.8.23, C.7.6.16.2.11)."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import GeometryError, ImageError
from medseg.imaging.objects.multiframe import multiframe_of
from medseg.imaging.objects.opened import coded_term, damage_named, first_item, open_object
from medseg.volume import Grid, Note, Volume

if TYPE_CHECKING:
    import pydicom

__all__ = ["read_parametric_map"]

CLASSES = {"1.2.840.10008.5.1.4.1.1.30": "Parametric Map Storage"}


def read_parametric_map(path: str | Path, *, grid: Grid | None = None) -> Volume:
    """Read a DICOM Parametric Map of one quantity.

    Parameters
    ----------
    path : str or Path
        The file.
    grid : Grid, optional
        Of the image it belongs to; without it the regular grid of its frames.

    Returns
    -------
    Volume
        One channel of float32, real world values. A note names quantity and unit.

    Raises
    ------
    AnnotationError
        When the file is missing, something else or damaged.
    ImageError
        When it holds several quantities, or values that its mapping does not cover.
    GeometryError
        When frames are missing, or do not lie on the grid.
    """
    path = Path(path)
    header, offset = open_object(path, CLASSES, "a DICOM Parametric Map")
    with damage_named(path):
        frames = multiframe_of(path, header, offset)
        placing = frames.placing(grid)
        if frames.planes is None:
            raise GeometryError(f"{path}: its frames do not say where they lie in the patient", code="no_position")
        mappings = [_mapping(path, header, number) for number in range(frames.format.frames)]
        if len({tuple(place) for place in placing.origins.tolist()}) < len(mappings):
            raise ImageError(f"{path}: holds several values at one place (quantities, points in time); one is read")
        array = np.zeros(placing.grid.shape, np.float32)
        covered = np.zeros(placing.grid.shape, bool)
        for number, values, view in frames.on_grid(array, placing, range(frames.format.frames)):
            view[...] = _real_values(values, mappings[number])
            placing.target(covered, number, frames.shape)[1][...] = True
        empty = int((~covered).any(axis=(1, 2)).sum())
        if empty:
            raise GeometryError(f"{path}: has no values for {empty} of {len(array)} slices", code="missing_slices")
        return Volume(array[None], placing.grid, modality=str(header.get("Modality") or ""), notes=_notes(mappings[0]))


def _mapping(path: Path, header: "pydicom.Dataset", number: int) -> "pydicom.Dataset":
    """Real World Value Mapping of a frame; of several, which are other units or scales of the same, the first."""
    own = header.PerFrameFunctionalGroupsSequence[number]
    found = first_item(own, "RealWorldValueMappingSequence")
    found = found or first_item(first_item(header, "SharedFunctionalGroupsSequence"), "RealWorldValueMappingSequence")
    if not found:
        raise ImageError(f"{path}: does not say what its values mean (no Real World Value Mapping)")
    return found


def _real_values(values: np.ndarray, mapping: "pydicom.Dataset") -> np.ndarray:
    table = mapping.get("RealWorldValueLUTData")
    if table is not None:
        first = int(mapping.RealWorldValueFirstValueMapped)
        index = values.astype(np.int64) - first
        if index.min() < 0 or index.max() >= len(table):
            raise ImageError("its values are not all in its table of real world values")
        return np.asarray(table, dtype=np.float32)[index]
    slope, intercept = float(mapping.RealWorldValueSlope), float(mapping.RealWorldValueIntercept)
    if not (np.isfinite(slope) and np.isfinite(intercept)) or slope == 0:
        raise ImageError(f"its mapping to real world values has the slope {slope}, the intercept {intercept}")
    if slope == 1 and intercept == 0:
        return values  # bit for bit
    return values.astype(np.float64) * slope + intercept


def _notes(mapping: "pydicom.Dataset") -> tuple[Note, ...]:
    unit = coded_term(mapping, "MeasurementUnitsCodeSequence")
    quantity = coded_term(first_item(mapping, "QuantityDefinitionSequence"), "ConceptCodeSequence")
    named = quantity.meaning if quantity else str(mapping.get("LUTExplanation") or "a quantity that is not named")
    return (Note("quantity", f"holds {named}, unit {unit.meaning if unit else 'not stated'}"),)
