"""DICOM Parametric Maps: writing probabilities and other values in the geometry of the volume (PS3.3 A.75)."""

from typing import TYPE_CHECKING

import numpy as np

from medseg.errors import OutputError
from medseg.imaging.dicom.source import SourceSeries
from medseg.imaging.objects.building import building
from medseg.imaging.objects.codes import to_coded_concept
from medseg.imaging.objects.provenance import Provenance
from medseg.imaging.objects.references import refer_to_source
from medseg.imaging.objects.settings import CodedTerm
from medseg.imaging.objects.template import (
    ResultIdentity,
    check_size,
    identity,
    plane_positions,
    slice_step_mm,
    template,
)
from medseg.volume import Grid

if TYPE_CHECKING:
    import pydicom
    from highdicom import VOILUTTransformation
    from highdicom.pm import RealWorldValueMapping

__all__ = ["NO_UNITS", "PROBABILITY", "build_parametric_map"]

NO_UNITS = CodedTerm(value="1", scheme="UCUM", meaning="no units")
# what a value of each voxel may be: PS3.16 CID 7180
PROBABILITY = CodedTerm(value="110854", scheme="DCM", meaning="Fractional Probabilistic Segmentation")
DERIVATION = CodedTerm(value="112187", scheme="DCM", meaning="Unspecified method of calculation")


def build_parametric_map(
    values: np.ndarray,
    grid: Grid,
    source: SourceSeries,
    *,
    provenance: Provenance,
    quantity: CodedTerm = PROBABILITY,
    unit: CodedTerm = NO_UNITS,
    result: ResultIdentity = ResultIdentity(series_number=9002),  # noqa: B008 - immutable
) -> "pydicom.Dataset":
    """Build a DICOM Parametric Map of 32 bit floating point values, which mean what they are.

    Parameters
    ----------
    values : ndarray of float32, shape (z, y, x)
        Finite.
    grid : Grid
        Where they lie, in mm.
    source : SourceSeries
        Images that they were made from.
    provenance : Provenance
        The algorithm.
    quantity, unit : CodedTerm
        What the values are (of PS3.16 CID 7180 where it has it), and their unit (UCUM).
    result : ResultIdentity
        Numbers and UIDs.

    Raises
    ------
    OutputError
        For a projection image: the Frame of Reference is mandatory in a Parametric Map (PS3.3 table A.75.3-1), and a
        radiograph has none. When values are not finite, or larger than DICOM holds.
    """
    if grid.unit == "px":
        text = "a DICOM Parametric Map needs patient coordinates (PS3.3 A.75.3), which a projection image has not"
        raise OutputError(f"{text}; save a fractional segmentation or NIfTI instead")
    if values.shape != grid.shape:
        raise OutputError(f"the map has the shape {values.shape} (z, y, x), its grid {grid.shape}")
    if values.dtype != np.float32:
        raise OutputError(f"a map holds 32 bit floating point values, found {values.dtype}")
    check_size(values.nbytes, "map")
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise OutputError("the map holds values that are not finite numbers")
    import highdicom as hd

    with building("map"):
        parametric_map = hd.pm.ParametricMap(
            source_images=[template(source, grid)],
            pixel_array=values,
            real_world_value_mappings=[_mapping(lowest, highest, quantity, unit)],
            voi_lut_transformations=[_window(lowest, highest)],
            contains_recognizable_visual_features=False,
            content_label="MAP",
            content_qualification="RESEARCH",
            plane_positions=plane_positions(grid, np.arange(grid.shape[0])),
            derivation=to_coded_concept(DERIVATION),
            **identity(source, provenance, "map", given=result, texts=[quantity.meaning, unit.meaning]),
        )
        parametric_map.Laterality = source.datasets[0].get("Laterality") or ""  # type 2C (PS3.3 C.7.3.1)
        refer_to_source(parametric_map, source, DERIVATION, step_mm=slice_step_mm(grid))
    return parametric_map


def _mapping(lowest: float, highest: float, quantity: CodedTerm, unit: CodedTerm) -> "RealWorldValueMapping":
    from highdicom.pm import RealWorldValueMapping

    return RealWorldValueMapping(
        lut_label=quantity.meaning[:16],  # VR SH
        lut_explanation=quantity.meaning,
        unit=to_coded_concept(unit),
        value_range=(lowest, highest),
        slope=1.0,
        intercept=0.0,
        quantity_definition=to_coded_concept(quantity),
    )


def _window(lowest: float, highest: float) -> "VOILUTTransformation":
    """Window for display over all values; exact, because the usual one has a width of 1 and more (PS3.3 C.11.2.1.3)."""
    from highdicom import VOILUTTransformation

    width = max(highest - lowest, 1e-6)  # above 0 for a map of one value too
    return VOILUTTransformation((lowest + highest) / 2, width, voi_lut_function="LINEAR_EXACT")
