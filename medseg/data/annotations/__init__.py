"""Masks, boxes and points of one or several readers as `Lesion` lists."""

from medseg.data.annotations.agreement import agreed_lesions
from medseg.data.annotations.masks import (
    LabelledMask,
    lesions_of_mask,
    mask_grid,
    mask_names,
    read_labels,
    read_mask,
)
from medseg.data.annotations.reading import read_lesions, read_readings, unplaced_lesions
from medseg.data.annotations.tables import (
    BOX_COLUMNS,
    MASK_COLUMNS,
    POINT_COLUMNS,
    annotation_rows,
    case_rows,
    check_annotations,
)

__all__ = [
    "BOX_COLUMNS",
    "MASK_COLUMNS",
    "POINT_COLUMNS",
    "LabelledMask",
    "agreed_lesions",
    "annotation_rows",
    "case_rows",
    "check_annotations",
    "lesions_of_mask",
    "mask_grid",
    "mask_names",
    "read_labels",
    "read_lesions",
    "read_mask",
    "read_readings",
    "unplaced_lesions",
]
