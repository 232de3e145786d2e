"""Grey values as a screen should show them: windows and VOI lookup tables (PS3.3 C.11.2)."""

from typing import Any

import numpy as np

from medseg.errors import ImageError
from medseg.imaging.dicom.values import LookupTable

__all__ = ["voi_lut"]


def voi_lut(values: np.ndarray, dataset: Any, *, index: int = 0, prefer_table: bool = True) -> np.ndarray:
    """Map modality values to display values from 0, black, to 1, white. For display: reading does not apply it.

    Polarity is not part of it: see `medseg.imaging.dicom.values.is_inverted`.

    Parameters
    ----------
    values : ndarray
        After rescaling or the Modality LUT.
    dataset : pydicom.Dataset
        With Window Center and Width, or VOI LUT Sequence: the image, or an item of its functional groups.
    index : int
        Which of several windows or tables.
    prefer_table : bool
        Whether a table goes before a window where there are both.

    Returns
    -------
    ndarray of float32
        Of the shape of `values`.

    Raises
    ------
    ImageError
        When there is neither, or it is not what the standard allows.
    """
    tables, centres, widths = (_listed(dataset.get(name)) for name in ("VOILUTSequence", "WindowCenter", "WindowWidth"))
    if tables and (prefer_table or not centres):
        return _by_table(values, _chosen(tables, index, "VOI LUT Sequence"))
    if not centres or not widths:
        raise ImageError("its header states neither a window nor a VOI lookup table")
    centre, width = (float(_chosen(found, index, "windows")) for found in (centres, widths))
    function = str(dataset.get("VOILUTFunction", "") or "LINEAR").strip().upper()
    return _by_window(values.astype(np.float64), centre, width, function).astype(np.float32)


def _listed(value: Any) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def _chosen(found: list[Any], index: int, name: str) -> Any:
    if not 0 <= index < len(found):
        raise ImageError(f"its header states {len(found)} {name}, number {index} was asked for")
    return found[index]


def _by_table(values: np.ndarray, item: Any) -> np.ndarray:
    table = LookupTable.of(item, signed=bool(values.size) and float(values.min()) < 0)
    shown = np.empty(values.shape, np.float32)
    table.apply(values, shown)
    return shown / np.float32((1 << table.bits) - 1)


def _by_window(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """C.11.2.1.2.1 (LINEAR), C.11.2.1.3.1 (SIGMOID), C.11.2.1.3.2 (LINEAR_EXACT), with output from 0 to 1."""
    least = 1.0 if function == "LINEAR" else 0.0
    if not (width >= least if least else width > 0) or not np.isfinite([centre, width]).all():
        raise ImageError(f"damaged DICOM header: a window of width {width} at {centre}")
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))  # exp overflows beyond
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise ImageError(f"damaged DICOM header: VOILUTFunction {function}, expected LINEAR, LINEAR_EXACT or SIGMOID")
    if width == 0:
        return (values > centre).astype(np.float64)
    return np.clip((values - centre) / width + 0.5, 0, 1)
